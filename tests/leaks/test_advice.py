"""The line of a failed call is made of our own words: no text of the server is in it, whatever the server sends."""

from __future__ import annotations

from base64 import b64encode

import pytest

from donutwork_magics.client.client import Client
from donutwork_magics.client.settings import read_setup
from donutwork_magics.errors import DonutworkError
from donutwork_magics.types import Http
from tests.leaks.scenes import FAILURES
from tests.leaks.servers import Echo
from tests.servers import Server

# Too short for its slices to be redacted, and repeated by the server in every text that it sends.
MARK = "MARKMARK"
PARTS = ["MARK", *(b64encode(b"x" * shift + MARK.encode()).decode()[3:9] for shift in range(3))]


@pytest.mark.parametrize("http", ["1.1", "2"])
@pytest.mark.parametrize("scene", FAILURES)
def test_it_repeats_nothing_of_the_server(scene: str, http: Http) -> None:
    echo = Echo("http://127.0.0.1:9")
    with Server(echo.http2 if http == "2" else echo.http1) as server:
        target = read_setup({"DONUTWORK_API_KEY": MARK, "DONUTWORK_BASE_URL": f"{server.url}/{scene}"}).usable()
        for name in ("ping", "connection"):
            with Client(target, http=http, timeout_s=5) as client, pytest.raises(DonutworkError) as caught:
                getattr(client, name)()
            assert caught.value.kind
            assert "\n" not in str(caught.value)
            assert not [part for part in PARTS if part in str(caught.value)]
        assert set(echo.received) == {f"Bearer {MARK}"}
