"""A request that cannot be sent in full: the libraries have the header in their frames then, and none survives."""

from __future__ import annotations

import logging
import socket
import threading

import httpx
import pytest

from donutwork_magics.network.caller import Caller, CallFaultError
from donutwork_magics.network.exchange import prepare
from tests.leaks import KEY
from tests.leaks.search import Search
from tests.servers import Server

# Far beyond what the buffers of both sides take; the client's own requests have three hundred bytes.
PADDING = "x" * 30_000_000


@pytest.mark.slow
def test_nothing_of_it_is_in_the_exception_or_the_log(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()

    def never_read(_connection: socket.socket) -> None:
        released.wait(10)

    caplog.set_level(logging.DEBUG)
    with Server(never_read) as server:
        caller = Caller(httpx.URL(server.url), f"Bearer {KEY}".encode, timeout_s=0.5)
        request = httpx.Request("GET", f"{server.url}/ping.json", headers={"X-Padding": PADDING})
        with pytest.raises(CallFaultError) as caught:
            caller.call(prepare(request))
        released.set()
    assert caught.value.kind == "timeout"
    assert not caught.value.exchange.phases.ttfb_ms > 0
    # The first frame is this test's own.
    frames = caught.traceback[1:]
    assert [frame.name for frame in frames] == ["whole", "call"]
    assert not [name for frame in frames for name, value in frame.locals.items() if KEY in repr(value)]
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert Search(KEY).text(repr(caught.value) + caplog.text) == set()
