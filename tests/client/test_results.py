"""Given a single call, its value has what a row has, by name."""

from __future__ import annotations

import copy
import pickle

import pytest

from donutwork_magics import Client, Connection, Ping
from donutwork_magics.client.settings import sandbox_target
from tests.servers import Server, answer, answer_api, reply

KEY = "dw_test_Kx81mZq0vTnR57yE"


@pytest.fixture
def ping() -> Ping:
    with Server(answer(reply())) as server, Client(sandbox_target(server.url, KEY, None)) as client:
        return client.ping()


def test_what_timing_has_is_an_attribute_too(ping: Ping) -> None:
    assert ping.duration_ms == ping.timing["duration_ms"] > 0
    assert ping.peer == "127.0.0.1"
    assert {"duration_ms", "ttfb_ms", "status", "to_dict"} <= set(dir(ping))
    with pytest.raises(AttributeError, match="'Ping' object has no attribute 'duration_s'"):
        _ = ping.duration_s


def test_it_becomes_a_dict_of_plain_values(ping: Ping) -> None:
    found = ping.to_dict()
    known = {name: value for name, value in ping.timing.items() if name not in {"timestamp", "tcp_rtt_ms"}}
    assert found.items() >= {"status": "success", "env": "staging", "rrt": "0.08 ms", "paused_ms": 0.0, **known}.items()
    assert set(ping.timing) <= set(found)
    assert "raw" not in found
    assert "timing" not in found


def test_it_is_copied_and_pickled(ping: Ping) -> None:
    assert copy.copy(ping) == copy.deepcopy(ping) == pickle.loads(pickle.dumps(ping)) == ping


def test_a_connection_has_them_too() -> None:
    body = b'{"client": {"userAgent": "x", "ips": {"ipv4": "1.2.3.4"}}, "endpoint": '
    body += b'{"apiVersion": "2026-02-01", "env": "staging", "protocol": "HTTP2"}}'
    seen: list[str] = []
    with (
        Server(answer_api(reply(), reply(body), seen)) as server,
        Client(sandbox_target(server.url, KEY, None)) as client,
    ):
        connection: Connection = client.connection()
    assert connection.duration_ms > 0
    assert connection.to_dict()["ipv4"] == "1.2.3.4"
