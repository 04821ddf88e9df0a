"""Given a reply in several pieces and a parser that takes long, no phase has the parser's time in it."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from donutwork_magics import Client
from donutwork_magics.network.http1 import _Reading
from donutwork_magics.network.http2 import Http2
from tests.faults.calls import target_of
from tests.faults.cases import reset_now
from tests.servers import BODY, Server, answer, read_request, reply
from tests.servers import http2_faults as h2
from tests.servers.tls import Tls

SLOW_S = 0.05
LARGE = BODY + b" " * (40 * 1024)
"""More than is received at once."""


def slowed(method: Callable[..., Any]) -> Callable[..., Any]:
    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(SLOW_S)
        return method(*args, **options)

    return slow


def quickest(url: str, ca_pem: str | None = None) -> tuple[float, float, float]:
    """Return the shortest wait for the first byte, time to receive, and duration.

    The pieces may happen to arrive apart, when other work holds the server up: not each time.
    """
    with Client(target_of(url, ca_pem), timeout_s=10.0) as client:
        samples = [client.sample() for _ in range(5)]
    assert [sample.error for sample in samples] == [None] * 5
    phases = [sample.exchange.phases for sample in samples[1:]]
    durations = [sample.exchange.duration_ms for sample in samples[1:]]
    return min(one.ttfb_ms for one in phases), min(one.receive_ms for one in phases), min(durations)


def test_two_records_of_http2(tls_http2: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Http2, "_take", slowed(Http2._take))

    def answer_in_two(peer: h2.Peer, stream: int) -> None:
        peer.send(h2.headers(stream))
        peer.send(h2.data(stream))

    with Server(h2.on_request(answer_in_two), tls=tls_http2.server) as server:
        ttfb_ms, receive_ms, duration_ms = quickest(server.url, tls_http2.ca_pem)
    assert ttfb_ms < SLOW_S * 1e3
    assert 0 < receive_ms < SLOW_S * 1e3
    assert duration_ms < SLOW_S * 1e3


@pytest.mark.parametrize("chunked", [False, True])
def test_several_pieces_of_http1(chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Reading, "feed", slowed(_Reading.feed))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(LARGE), LARGE) if chunked else reply(LARGE)
    with Server(answer(raw)) as server:
        ttfb_ms, receive_ms, duration_ms = quickest(server.url)
    assert ttfb_ms < SLOW_S * 1e3
    assert 0 < receive_ms < SLOW_S * 1e3
    assert duration_ms < SLOW_S * 1e3


@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows drops what was received before a reset")
def test_a_whole_reply_is_taken_although_a_reset_follows_it(body: bytes) -> None:
    def answer_and_reset(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(reply(body))
        reset_now(connection)

    with Server(answer_and_reset) as server, Client(target_of(server.url), timeout_s=5.0) as client:
        samples = [client.sample() for _ in range(20)]
    assert [sample.error for sample in samples] == [None] * 20
    assert server.connections == 20
