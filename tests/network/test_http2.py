"""Given a server that ends its HTTP/2 connections in a usual way, each valid reply is taken, and asked for once."""

from __future__ import annotations

import math
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable

import pandas as pd
import pytest

from donutwork_magics import Client, DonutworkError, collect
from tests.faults.calls import target_of
from tests.servers import BODY, Server, read_request, reply
from tests.servers import http2_faults as h2
from tests.servers.programs import caddy, need, nginx
from tests.servers.tls import Tls

ANY_STREAM = 2**31 - 1


def series(url: str, ca_pem: str | None, count: int) -> pd.DataFrame:
    return collect(count, rate_hz=None, timeout_s=5.0, http="2", target=target_of(url, ca_pem))


class Ending:
    """Answers one request of each connection as it is told, and counts the requests."""

    def __init__(self, answer: Callable[[h2.Peer, int], None]) -> None:
        self._answer = answer
        self.requests = 0

    def __call__(self, connection: socket.socket) -> None:
        peer = h2.Peer(connection)
        peer.send(h2.settings())
        while stream := peer.request():
            self.requests += 1
            self._answer(peer, stream)


def ahead(last: Callable[[int], int], after_s: float) -> Callable[[h2.Peer, int], None]:
    """Send GOAWAY, and the reply a while later."""

    def answer(peer: h2.Peer, stream: int) -> None:
        peer.send(h2.goaway(last(stream)))
        time.sleep(after_s)
        peer.send(h2.headers(stream), h2.data(stream))

    return answer


def within(peer: h2.Peer, stream: int) -> None:
    peer.send(h2.headers(stream))
    peer.send(h2.goaway(stream))
    time.sleep(0.02)
    peer.send(h2.data(stream))


def behind(peer: h2.Peer, stream: int) -> None:
    peer.send(h2.headers(stream), h2.data(stream), h2.goaway(stream))


def twice(peer: h2.Peer, stream: int) -> None:
    """As Envoy and Go end a connection: first with a number beyond any request, then with that of the last one."""
    peer.send(h2.goaway(ANY_STREAM))
    time.sleep(0.02)
    peer.send(h2.goaway(stream))
    time.sleep(0.02)
    peer.send(h2.headers(stream), h2.data(stream))


def one_write(peer: h2.Peer, stream: int) -> None:
    peer.send(h2.goaway(stream), h2.headers(stream), h2.data(stream))


def byte_by_byte(peer: h2.Peer, stream: int) -> None:
    for byte in h2.goaway(stream) + h2.headers(stream) + h2.data(stream):
        peer.send(bytes((byte,)))


def with_reserved_bits(peer: h2.Peer, stream: int) -> None:
    for frame in (h2.goaway(stream), h2.headers(stream), h2.data(stream)):
        peer.send(frame[:5] + bytes((frame[5] | 0x80,)) + frame[6:])


@pytest.mark.parametrize(
    "answer",
    [
        ahead(lambda stream: stream, 0.0),
        ahead(lambda stream: stream, 0.005),
        ahead(lambda stream: stream, 0.2),
        ahead(lambda _: ANY_STREAM, 0.0),
        ahead(lambda _: ANY_STREAM, 0.2),
        one_write,
        within,
        behind,
        twice,
        byte_by_byte,
        with_reserved_bits,
    ],
    ids=[
        "ahead",
        "5 ms ahead",
        "200 ms ahead",
        "any stream",
        "any stream, 200 ms ahead",
        "one write",
        "within",
        "behind",
        "twice",
        "byte by byte",
        "reserved bits",
    ],
)
def test_a_reply_around_goaway_is_taken_and_asked_for_once(
    answer: Callable[[h2.Peer, int], None], tls_http2: Tls
) -> None:
    ending = Ending(answer)
    with Server(ending, tls=tls_http2.server) as server:
        df = series(server.url, tls_http2.ca_pem, 4)
    assert df.error.isna().all(), df.error.value_counts()
    assert not df.retried.any()
    assert not df.reused.any()
    assert ending.requests == server.connections == 4
    assert (df.body_bytes == len(BODY)).all()


def test_what_the_connection_itself_says_is_no_first_byte(tls_http2: Tls) -> None:
    with Server(Ending(ahead(lambda stream: stream, 0.1)), tls=tls_http2.server) as server:
        df = series(server.url, tls_http2.ca_pem, 2)
    assert (df.ttfb_ms >= 100).all()
    assert (df.receive_ms < df.ttfb_ms).all()


def test_a_request_above_the_last_one_goes_out_again_at_once(tls_http2: Tls) -> None:
    def answer(peer: h2.Peer, stream: int) -> None:
        if stream == 1:
            peer.send(h2.headers(stream), h2.data(stream))
        else:
            # And the connection stays open.
            peer.send(h2.goaway(stream - 2))

    ending = Ending(answer)
    with Server(ending, tls=tls_http2.server) as server:
        df = series(server.url, tls_http2.ca_pem, 6)
    assert df.error.isna().all()
    assert list(df.retried) == [False, True, True, True, True, True]
    assert ending.requests == 6 + df.retried.sum()
    assert df.duration_ms.max() < 1000


def test_a_reply_that_is_whole_is_not_spoilt_by_what_follows_it(tls_http2: Tls) -> None:
    ending = Ending(lambda peer, stream: peer.send(h2.headers(stream), h2.data(stream), b"\xff" * 50))
    with Server(ending, tls=tls_http2.server) as server:
        df = series(server.url, tls_http2.ca_pem, 3)
    assert df.error.isna().all()
    assert not df.reused.any()


class TestFirstByte:
    """The first byte that counts is that of the reply's own head."""

    @pytest.mark.parametrize("together", [1, 8, 9, 10, 15])
    def test_an_announcement_is_none_however_it_is_cut(self, together: int, tls_http2: Tls) -> None:
        def answer(peer: h2.Peer, stream: int) -> None:
            hints = h2.headers(stream, [(":status", "103")])
            peer.send(hints[:together])
            time.sleep(0.02)
            peer.send(hints[together:])
            time.sleep(0.1)
            peer.send(h2.headers(stream), h2.data(stream))

        with Server(Ending(answer), tls=tls_http2.server) as server:
            df = series(server.url, tls_http2.ca_pem, 2)
        assert (df.ttfb_ms >= 120).all()
        assert (df.receive_ms < df.ttfb_ms).all()

    def test_it_counts_where_it_comes_with_the_end_of_an_announcement(self, tls_http2: Tls) -> None:
        def answer(peer: h2.Peer, stream: int) -> None:
            hints, head = h2.headers(stream, [(":status", "103")]), h2.headers(stream)
            peer.send(hints + head[:1])
            time.sleep(0.2)
            peer.send(head[1:] + h2.data(stream))

        with Server(Ending(answer), tls=tls_http2.server) as server:
            df = series(server.url, tls_http2.ca_pem, 2)
        assert (df.receive_ms > df.ttfb_ms).all()

    def test_it_counts_where_the_head_goes_on_in_another_frame(self, tls_http2: Tls) -> None:
        def answer(peer: h2.Peer, stream: int) -> None:
            block = h2.block(h2.OK)
            peer.send(h2.raw_frame(1, 0, stream, block[:3]))
            time.sleep(0.2)
            peer.send(h2.raw_frame(9, 4, stream, block[3:]), h2.data(stream))

        with Server(Ending(answer), tls=tls_http2.server) as server:
            df = series(server.url, tls_http2.ca_pem, 2)
        assert (df.receive_ms > df.ttfb_ms).all()

    @pytest.mark.parametrize("together", [1, 9, 12])
    @pytest.mark.parametrize("at_once", [True, False])
    def test_it_never_comes_before_the_request(self, at_once: bool, together: int, tls_http2: Tls) -> None:
        def answer(peer: h2.Peer, stream: int) -> None:
            early = together if stream > 1 else 0
            following = h2.headers(stream + 2)[:together]
            peer.send(h2.headers(stream)[early:], h2.data(stream), following if at_once else b"")
            if not at_once:
                time.sleep(0.02)
                peer.send(following)

        with (
            Server(Ending(answer), tls=tls_http2.server) as server,
            Client(target_of(server.url, tls_http2.ca_pem), http="2", timeout_s=5.0) as client,
        ):
            for _ in range(3):
                sample = client.sample()
                assert sample.error is None
                phases = sample.exchange.phases
                assert phases.ttfb_ms > 0
                assert 0 <= phases.receive_ms <= sample.exchange.duration_ms
                time.sleep(0.05)


class TestAcknowledging:
    def test_settings_and_pings_are_answered_while_the_reply_is_waited_for(self, tls_http2: Tls) -> None:
        seen: list[tuple[int, int]] = []

        def answer(connection: socket.socket) -> None:
            peer = h2.Peer(connection)
            peer.send(h2.settings())
            stream = peer.request()
            peer.send(h2.settings(), h2.raw_frame(6, 0, 0, b"12345678"))
            # The acknowledgement of the SETTINGS before may come first.
            while (6, 1) not in seen or Counter(seen)[4, 1] < 2:
                seen.append(peer.frame())
            peer.send(h2.headers(stream), h2.data(stream))
            peer.wait()

        with Server(answer, tls=tls_http2.server) as server:
            df = series(server.url, tls_http2.ca_pem, 1)
        assert df.error.isna().all()

    def test_settings_that_come_with_the_reply_are_answered_before_the_next(self, tls_http2: Tls) -> None:
        answered = threading.Event()

        def answer(connection: socket.socket) -> None:
            peer = h2.Peer(connection)
            stream = peer.request()
            peer.send(h2.settings(), h2.headers(stream), h2.data(stream))
            while peer.frame() != (4, 1):
                pass
            answered.set()
            peer.wait()

        with (
            Server(answer, tls=tls_http2.server) as server,
            Client(target_of(server.url, tls_http2.ca_pem), timeout_s=5.0) as client,
        ):
            assert client.sample().error is None
            assert answered.wait(2)

    def test_the_window_never_closes(self, tls_http2: Tls) -> None:
        """Far more is received than the window of a connection holds."""
        full = BODY + b" " * (64 * 1024 - len(BODY))

        def answer(peer: h2.Peer, stream: int) -> None:
            peer.send(h2.headers(stream), *(h2.data(stream, full[at : at + 16384], end=at == 49152) for at in STEPS))

        ending = Ending(answer)
        with Server(ending, tls=tls_http2.server) as server:
            df = series(server.url, tls_http2.ca_pem, 600)
        assert df.error.isna().all()
        assert server.connections == 1


STEPS = range(0, 64 * 1024, 16384)


class TestPrograms:
    def test_nginx_ends_a_connection_after_ten_requests(self) -> None:
        need("nginx")
        with nginx(tls=True, http2=True, keepalive_requests=10) as program:
            assert program.ca_file is not None
            df = series(program.url, program.ca_file.read_text(), 60)
            answered = program.requests()
        assert df.error.isna().all(), df.error.value_counts()
        assert set(df.http_version) == {"2"}
        assert not df.retried.any()
        assert (~df.reused).sum() == 6
        assert answered == 60

    def test_nginx_without_it_refuses_the_handshake(self) -> None:
        need("nginx")
        with nginx(tls=True) as program:
            assert program.ca_file is not None
            target = target_of(program.url, program.ca_file.read_text())
            with Client(target, http="2") as client, pytest.raises(DonutworkError, match="does not offer") as caught:
                client.ping()
            with Client(target) as client:
                assert client.ping().timing["http_version"] == "1.1"
        assert caught.value.kind == "protocol"

    @pytest.mark.timed
    def test_the_phases_of_a_single_call_add_up_where_nginx_chooses_the_version(self) -> None:
        need("nginx")
        calls = []
        with nginx(tls=True, http2=True) as program:
            assert program.ca_file is not None
            target = target_of(program.url, program.ca_file.read_text())
            for _ in range(40):
                with Client(target, timeout_s=5.0) as client:
                    exchange = client.sample().exchange
                assert exchange.http_version == "2"
                calls.append((exchange.duration_ms, sum(exchange.phases) / exchange.duration_ms))
        # In the quickest, as what is missing would be a smaller share of a call that other work slowed down.
        assert 0.96 <= statistics.median(share for _duration_ms, share in sorted(calls)[:8]) <= 1.0

    def test_caddy_is_told_to_end_while_it_works_on_a_request(self) -> None:
        need("caddy")
        arrived = threading.Event()

        def slow(connection: socket.socket) -> None:
            while read_request(connection):
                arrived.set()
                time.sleep(0.5)
                connection.sendall(reply())

        with Server(slow) as upstream, caddy(f"127.0.0.1:{upstream.port}") as program:
            assert program.ca_file is not None
            target = target_of(program.url, program.ca_file.read_text())
            with Client(target, http="2", timeout_s=5.0) as client:
                threading.Thread(target=lambda: program.end() if arrived.wait(5) else None).start()
                sample = client.sample()
        assert sample.error is None, sample
        assert sample.exchange.http_version == "2"
        assert not sample.exchange.retried
        assert sample.exchange.phases.ttfb_ms >= 500
        assert not math.isnan(sample.rrt_ms)
