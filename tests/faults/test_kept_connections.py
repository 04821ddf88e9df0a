"""Given a server that ends the connections it kept, no ping is lost, and what was sent twice says so."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable

import pandas as pd
import pytest

from donutwork_magics import collect
from tests.faults.calls import target_of
from tests.faults.cases import reset_now
from tests.servers import Handler, Server, read_request, reply
from tests.servers import http2_faults as h2
from tests.servers.tls import Tls

pytestmark = pytest.mark.slow

COUNT = 400
FEWER = 120
"""Where a handshake for each ping would take long."""


class Requests:
    """How many requests a server has read."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.seen = 0

    def read(self, connection: socket.socket) -> bytes:
        request = read_request(connection)
        with self._lock:
            self.seen += bool(request)
        return request


def ends_after(requests: Requests, *, at_once: bool, by_reset: bool) -> Handler:
    """Answer a connection's first request, and end it at once or as the next one comes."""

    def handler(connection: socket.socket) -> None:
        requests.read(connection)
        connection.sendall(reply())
        if at_once and by_reset:
            # The client has to have the reply before.
            connection.settimeout(0.002)
        if by_reset or not at_once:
            with contextlib.suppress(TimeoutError):
                requests.read(connection)
        if by_reset:
            reset_now(connection)

    return handler


def check(df: pd.DataFrame, count: int) -> None:
    assert len(df) == count
    assert df.error.isna().all(), df.error.value_counts()
    assert (df.duration_ms > 0).all()
    assert not (df.retried & df.reused).any()


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("by_reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "at the next"])
def test_as_many_rows_as_pings(at_once: bool, by_reset: bool, encrypted: bool, tls: Tls) -> None:
    requests, count = Requests(), FEWER if encrypted else COUNT
    handler = ends_after(requests, at_once=at_once, by_reset=by_reset)
    with Server(handler, tls=tls.server if encrypted else None) as server:
        target = target_of(server.url, tls.ca_pem if encrypted else None)
        df = collect(count, rate_hz=None, timeout_s=5.0, target=target)
    check(df, count)
    # A request that was written into a connection that was being closed may never have been read.
    assert count <= requests.seen <= count + df.retried.sum()
    if not at_once:
        assert df.retried.sum() == count - 1
        assert requests.seen == count + df.retried.sum()


def answers_once(*behind: Callable[[int], bytes], then: Callable[[h2.Peer, int], None] | None = None) -> Handler:
    """Answer a connection's first request over HTTP/2, and do something at the next; without `then`, close."""

    def handler(connection: socket.socket) -> None:
        peer = h2.Peer(connection)
        peer.send(h2.settings())
        first = peer.request()
        peer.send(h2.headers(first), h2.data(first), *(make(first) for make in behind))
        if then is not None:
            if second := peer.request():
                then(peer, second)
            peer.wait()

    return handler


def refuses_late(peer: h2.Peer, stream: int) -> None:
    # Longer than a loss may take to be heard of.
    time.sleep(0.2)
    peer.send(h2.reset_stream(7)(stream))


@pytest.mark.parametrize(
    ("handler", "retried"),
    [
        (answers_once(then=lambda peer, stream: peer.send(h2.goaway(stream - 2))), FEWER - 1),
        (answers_once(then=lambda peer, stream: peer.send(h2.reset_stream(7)(stream))), FEWER - 1),
        (answers_once(h2.goaway, then=lambda _peer, _stream: None), None),
        (answers_once(), None),
        # Nothing of the refused request was sent, so nothing went out twice.
        (h2.no_streams(answers=1), 0),
    ],
    ids=["GOAWAY at the next", "refused", "GOAWAY at once", "FIN", "no more streams"],
)
def test_as_many_rows_as_pings_over_http2(handler: Handler, retried: int | None, tls_http2: Tls) -> None:
    with Server(handler, tls=tls_http2.server) as server:
        df = collect(FEWER, rate_hz=None, timeout_s=5.0, target=target_of(server.url, tls_http2.ca_pem))
    check(df, FEWER)
    assert set(df.http_version) == {"2"}
    assert retried is None or df.retried.sum() == retried


def test_what_a_server_says_it_did_not_process_goes_out_again_however_late_it_says_so(tls_http2: Tls) -> None:
    with Server(answers_once(then=refuses_late), tls=tls_http2.server) as server:
        df = collect(3, rate_hz=None, timeout_s=5.0, target=target_of(server.url, tls_http2.ca_pem))
    assert df.error.isna().all()
    assert list(df.retried) == [False, True, True]


def test_a_new_connection_that_fails_is_not_tried_again() -> None:
    requests = Requests()

    def unanswered(connection: socket.socket) -> None:
        requests.read(connection)

    with Server(unanswered) as server:
        df = collect(3, rate_hz=None, timeout_s=5.0, target=target_of(server.url))
    assert list(df.error) == ["connection_lost"] * 3
    assert not df.retried.any()
    assert requests.seen == 3


def test_an_answer_that_breaks_off_on_a_kept_connection_is_not_asked_for_again() -> None:
    requests = Requests()

    def half(connection: socket.socket) -> None:
        requests.read(connection)
        connection.sendall(reply())
        requests.read(connection)
        connection.sendall(reply()[:-5])

    with Server(half) as server:
        df = collect(2, rate_hz=None, timeout_s=5.0, target=target_of(server.url))
    assert [None if pd.isna(each) else each for each in df.error] == [None, "connection_lost"]
    assert not df.retried.any()
    assert requests.seen == 2
