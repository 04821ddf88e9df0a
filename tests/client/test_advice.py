"""Given a reply that is no success, the error's one line says what happened and what to do."""

from __future__ import annotations

import pytest

from donutwork_magics.client.client import Client
from donutwork_magics.client.settings import read_setup
from donutwork_magics.errors import DonutworkError
from tests.servers import BODY, Server, answer_once, reply

KEY = "dw_test_Kx81mZq0vTnR57yE"


@pytest.mark.parametrize(
    ("raw", "kind", "says"),
    [
        (reply(b'{"error": "Invalid token"}', "401 Unauthorized"), "unauthorized", "Invalid token"),
        (reply(b'{"error": "Invalid token"}', "400 Bad Request"), "unauthorized", "DONUTWORK_API_KEY"),
        (reply(b"{}", "403 Forbidden"), "forbidden", "ping:read"),
        (reply(b"", "404 Not Found"), "not_found", "DONUTWORK_BASE_URL"),
        (reply(b"", "302 Found", "Location: https://elsewhere.example/"), "redirect", "one origin"),
        (reply(b"", "429 Too Many Requests", "Retry-After: 7"), "rate_limited", "Wait 7 s"),
        (reply(b"", "503 Service Unavailable"), "server_error", "503"),
        (reply(b"", "418 Teapot"), "unexpected_status", "418"),
        (reply(b"<html>hello</html>"), "invalid_body", "DONUTWORK_BASE_URL"),
        (reply(b'{"status": "success"}'), "schema", "not as documented"),
        (reply(BODY.replace(b"success", b"failure")), "schema", "status"),
        (reply()[:-3], "connection_lost", "lost"),
    ],
)
def test_it_names_the_kind_and_what_to_do(raw: bytes, kind: str, says: str) -> None:
    with Server(answer_once(raw)) as server:
        target = read_setup({"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": server.url}).usable()
        with Client(target) as client, pytest.raises(DonutworkError) as caught:
            client.ping()
    assert caught.value.kind == kind
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_connection_names_its_own_permission() -> None:
    with Server(answer_once(reply(b"{}", "403 Forbidden"))) as server:
        target = read_setup({"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": server.url}).usable()
        with Client(target) as client, pytest.raises(DonutworkError, match="connection:read"):
            client.connection()
