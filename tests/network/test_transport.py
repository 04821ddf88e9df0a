"""Given a server that answers like this, the exchange says that."""

from __future__ import annotations

import contextlib
import math
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from donutwork_magics.network.faults import CallCancelledError, NetworkKind
from donutwork_magics.network.tls import Http, tls_context
from donutwork_magics.network.transport import EXCHANGE, MAX_BODY_BYTES, Exchange, TimedTransport, TransportFaultError
from tests.network.conftest import Tls
from tests.servers import (
    BODY,
    Handler,
    Server,
    answer,
    answer_once,
    closed_port,
    drip,
    hang,
    read_request,
    refuse_tls,
    reply,
    reset,
)
from tests.servers.http2 import answer_http2, goaway_on_second

KEY = b"Bearer the-test-key"


_made: list[TimedTransport] = []


@pytest.fixture(autouse=True)
def _closed_transports() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def transport_for(
    url: str,
    tls: Tls | None = None,
    *,
    http: Http = "auto",
    family: socket.AddressFamily = socket.AF_UNSPEC,
    timeout_s: float = 5.0,
    cold: bool = False,
) -> TimedTransport:
    context = tls_context(http, tls.ca_pem if tls else None) if url.startswith("https") else None
    transport = TimedTransport(
        httpx.URL(url), lambda: KEY, context=context, http=http, family=family, timeout_s=timeout_s, cold=cold
    )
    _made.append(transport)
    return transport


def call(transport: TimedTransport, url: str) -> httpx.Response:
    return transport.handle_request(httpx.Request("GET", f"{url}/ping.json"))


def exchange_of(response: httpx.Response) -> Exchange:
    exchange = response.extensions[EXCHANGE]
    assert isinstance(exchange, Exchange)
    return exchange


def exchanges(server: Server, count: int, tls: Tls | None = None, **options: object) -> list[Exchange]:
    transport = transport_for(server.url, tls, **options)  # type: ignore[arg-type]
    return [exchange_of(call(transport, server.url)) for _ in range(count)]


def fault_of(server: Server, tls: Tls | None = None, **options: object) -> TransportFaultError:
    transport = transport_for(server.url, tls, **options)  # type: ignore[arg-type]
    with pytest.raises(TransportFaultError) as caught:
        call(transport, server.url)
    return caught.value


class TestPhases:
    def test_a_new_connection_has_them_all_and_a_kept_one_only_the_exchange(self) -> None:
        with Server(answer(reply())) as server:
            first, second = exchanges(server, 2)
        assert not first.reused
        assert first.phases.dns_ms > 0
        assert first.phases.connect_ms > 0
        assert second.reused
        assert second.phases[:3] == (0, 0, 0)
        assert second.phases.ttfb_ms > 0
        assert server.connections == 1

    def test_a_numeric_host_needs_no_resolution(self) -> None:
        with Server(answer(reply())) as server:
            url = f"http://127.0.0.1:{server.port}"
            exchange = exchange_of(call(transport_for(url, cold=True), url))
        assert exchange.phases.dns_ms == 0
        assert exchange.peer == "127.0.0.1"

    @pytest.mark.parametrize("cold", [False, True])
    @pytest.mark.parametrize("encrypted", [False, True])
    def test_they_add_up_to_the_duration_within_five_percent(self, cold: bool, encrypted: bool, tls: Tls) -> None:
        with Server(answer(reply()), tls=tls.server if encrypted else None) as server:
            measured = exchanges(server, 30, tls, cold=cold)[1:]
        shares = [sum(exchange.phases) / exchange.duration_ms for exchange in measured]
        assert 0.95 <= statistics.median(shares) <= 1.0
        assert all(exchange.reused is not cold for exchange in measured)
        assert all((exchange.phases.tls_ms > 0) == (encrypted and cold) for exchange in measured)

    def test_time_that_the_server_takes_is_time_to_the_first_byte(self) -> None:
        def slow(connection: socket.socket) -> None:
            while read_request(connection):
                time.sleep(0.05)
                connection.sendall(reply())

        with Server(slow) as server:
            (exchange,) = exchanges(server, 1)
        assert exchange.phases.ttfb_ms > 45
        assert exchange.phases.receive_ms < 50

    def test_time_between_first_and_last_byte_is_time_to_receive(self) -> None:
        def halting(connection: socket.socket) -> None:
            while read_request(connection):
                connection.sendall(reply()[:-10])
                time.sleep(0.05)
                connection.sendall(reply()[-10:])

        with Server(halting) as server:
            (exchange,) = exchanges(server, 1)
        assert exchange.phases.receive_ms > 45
        assert exchange.duration_ms > 45

    @pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux")
    def test_the_kernel_has_its_own_view_of_the_round_trip(self) -> None:
        with Server(answer(reply())) as server:
            (exchange,) = exchanges(server, 1)
        assert 0 < exchange.tcp_rtt_ms < 1000
        assert exchange.tcp_retransmits == 0

    def test_ipv6(self) -> None:
        with Server(answer(reply()), family=socket.AF_INET6) as server:
            (exchange,) = exchanges(server, 1, family=socket.AF_INET6)
        assert exchange.peer == "::1"

    def test_the_family_that_is_asked_for_is_the_only_one_tried(self) -> None:
        with Server(answer(reply()), family=socket.AF_INET6) as server:
            url = f"http://localhost:{server.port}"
            with pytest.raises(TransportFaultError) as caught:
                call(transport_for(url, family=socket.AF_INET), url)
        assert caught.value.kind == "connect"

    def test_a_dead_first_address_does_not_cost_the_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Server(answer(reply())) as server, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            # A listener whose queue is full does not answer a further SYN: like an address behind a dead route.
            stuck = [socket.socket() for _ in range(4)]
            for each in stuck:
                each.setblocking(False)
                each.connect_ex(full.getsockname())
            both = [
                (socket.AF_INET, socket.SOCK_STREAM, 0, "", address)
                for address in (full.getsockname(), ("127.0.0.1", server.port))
            ]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_args: both)
            (exchange,) = exchanges(server, 1)
            for each in stuck:
                each.close()
        assert exchange.duration_ms < 4000


class TestOpenedAhead:
    @pytest.mark.parametrize("version", ["1.1", "2"])
    def test_the_first_call_goes_out_on_it_and_has_no_phases_of_its_own(
        self, version: str, tls: Tls, tls_http2: Tls
    ) -> None:
        offered, handler = (tls_http2, answer_http2) if version == "2" else (tls, answer(reply()))
        with Server(handler, tls=offered.server) as server:
            transport = transport_for(server.url, offered)
            opened = transport.connect()
            first, second = (exchange_of(call(transport, server.url)) for _ in range(2))
        assert opened.fault is None
        assert opened.exchange.phases.connect_ms > 0
        assert opened.exchange.phases.tls_ms > 0
        assert math.isnan(opened.exchange.phases.send_ms)
        assert first.phases[:3] == second.phases[:3] == (0, 0, 0)
        assert first.http_version == version
        assert opened.agreed.alpn == ("h2" if version == "2" else "http/1.1")
        assert (opened.agreed.certificate_ends_s or 0) > time.time()
        assert server.connections == 1

    @pytest.mark.parametrize("version", ["1.1", "2"])
    def test_closing_it_unused_really_closes_it(self, version: str, tls: Tls, tls_http2: Tls) -> None:
        ended = threading.Event()

        def wait_for_the_end(connection: socket.socket) -> None:
            # The session tickets of TLS 1.3 that nobody read make it a reset.
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
            ended.set()

        offered = tls_http2 if version == "2" else tls
        with Server(wait_for_the_end, tls=offered.server) as server:
            transport = transport_for(server.url, offered)
            transport.connect()
            transport.close()
            assert ended.wait(2)

    def test_a_fault_is_a_value(self, tls: Tls) -> None:
        with Server(refuse_tls) as server:
            opened = transport_for(f"https://localhost:{server.port}", tls).connect()
        assert opened.fault is not None
        assert opened.fault.kind == "tls"
        assert opened.fault.__traceback__ is None
        assert opened.exchange.phases.connect_ms > 0
        assert math.isnan(opened.exchange.phases.tls_ms)

    def test_a_call_that_is_lost_on_it_goes_out_once(self) -> None:
        with Server(reset) as server:
            transport = transport_for(server.url)
            transport.connect()
            with pytest.raises(TransportFaultError) as caught:
                call(transport, server.url)
        assert caught.value.kind == "connection_lost"
        assert not caught.value.exchange.retried
        assert server.connections == 1


class TestHttp2:
    def test_it_is_spoken_where_the_server_offers_it(self, tls_http2: Tls) -> None:
        with Server(answer_http2, tls=tls_http2.server) as server:
            first, second = exchanges(server, 2, tls_http2)
        assert [first.http_version, second.http_version] == ["2", "2"]
        assert [first.reused, second.reused] == [False, True]
        assert first.tls_version == "TLSv1.3"
        assert second.phases.send_ms > 0
        assert second.phases.ttfb_ms > 0

    def test_the_phases_of_a_kept_connection_add_up(self, tls_http2: Tls) -> None:
        with Server(answer_http2, tls=tls_http2.server) as server:
            measured = exchanges(server, 30, tls_http2)[1:]
        shares = [sum(exchange.phases) / exchange.duration_ms for exchange in measured]
        assert 0.95 <= statistics.median(shares) <= 1.0

    def test_it_is_not_spoken_where_1_1_is_asked_for(self, tls: Tls) -> None:
        with Server(answer(reply()), tls=tls.server) as server:
            (exchange,) = exchanges(server, 1, tls, http="1.1")
        assert exchange.http_version == "1.1"

    def test_asked_for_and_not_offered_is_a_named_fault(self, tls: Tls) -> None:
        with Server(answer(reply()), tls=tls.server) as server:
            fault = fault_of(server, tls, http="2")
        assert fault.kind in {"protocol", "tls"}

    def test_in_the_clear_it_needs_to_be_asked_for(self) -> None:
        with Server(answer_http2) as server:
            (exchange,) = exchanges(server, 1, http="2")
        assert exchange.http_version == "2"

    def test_a_connection_that_the_server_ends_is_made_anew_once(self, tls_http2: Tls) -> None:
        with Server(goaway_on_second, tls=tls_http2.server) as server:
            first, second = exchanges(server, 2, tls_http2)
        assert [first.retried, second.retried] == [False, True]
        assert server.connections == 2


class TestFaults:
    @pytest.mark.parametrize(
        ("handler", "kind"),
        [
            (lambda connection: None, "connection_lost"),
            (reset, "connection_lost"),
            (answer_once(b"HTTP/1.1 200 OK\r\nContent-Le"), "connection_lost"),
            (answer_once(reply()[:-5]), "connection_lost"),
            (
                answer_once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"),
                "connection_lost",
            ),
            (answer_once(b"220 mail.example ESMTP\r\n\r\n"), "protocol"),
            (answer_once(b"\x00" * 100), "protocol"),
            (answer_once(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000), "protocol"),
            (answer_once(reply(b"x" * (MAX_BODY_BYTES + 1))), "too_large"),
            (answer_once(reply(BODY, "200 OK", "Content-Encoding: gzip")), "invalid_body"),
        ],
        ids=[
            "closes",
            "resets",
            "cut in the headers",
            "cut in the body",
            "cut in a chunk",
            "another protocol",
            "noise",
            "endless header",
            "large body",
            "compressed",
        ],
    )
    def test_each_has_its_own_name(self, handler: Handler, kind: NetworkKind) -> None:
        with Server(handler) as server:
            assert fault_of(server).kind == kind

    def test_nobody_listens(self) -> None:
        with closed_port() as port, pytest.raises(TransportFaultError) as caught:
            call(transport_for(f"http://127.0.0.1:{port}"), f"http://127.0.0.1:{port}")
        assert caught.value.kind == "connect"
        assert math.isnan(caught.value.exchange.phases.ttfb_ms)

    def test_a_name_that_does_not_exist(self) -> None:
        with pytest.raises(TransportFaultError) as caught:
            call(transport_for("http://donutwork.invalid"), "http://donutwork.invalid")
        assert caught.value.kind == "dns"

    def test_an_unknown_authority(self, tls: Tls) -> None:
        with Server(answer(reply()), tls=tls.server) as server:
            fault = fault_of(server)
        assert fault.kind == "tls"
        assert "certificate" in fault.reason

    def test_a_certificate_for_another_host(self, tls_wrong_host: Tls) -> None:
        with Server(answer(reply()), tls=tls_wrong_host.server) as server:
            fault = fault_of(server, tls_wrong_host)
        assert fault.kind == "tls"
        assert "localhost" in fault.reason

    def test_a_server_without_tls(self, tls: Tls) -> None:
        with Server(refuse_tls) as server:
            url = server.url.replace("http:", "https:")
            with pytest.raises(TransportFaultError) as caught:
                call(transport_for(url, tls), url)
        assert caught.value.kind == "tls"

    def test_tls_that_is_cut_in_a_body_without_a_length(self, tls: Tls) -> None:
        def cut(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)
            # Beneath TLS: without a close_notify.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

        with Server(cut, tls=tls.server) as server:
            assert fault_of(server, tls).kind == "invalid_body"

    def test_a_body_without_a_length_ends_with_the_connection(self) -> None:
        with Server(answer_once(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)) as server:
            transport = transport_for(server.url)
            assert call(transport, server.url).content == BODY

    def test_a_fault_does_not_touch_the_next_call(self) -> None:
        handlers = iter([answer_once(reply()[:-5]), answer(reply())])

        def next_one(connection: socket.socket) -> None:
            next(handlers)(connection)

        with Server(next_one) as server:
            transport = transport_for(server.url)
            with pytest.raises(TransportFaultError):
                call(transport, server.url)
            assert call(transport, server.url).content == BODY


class TestDeadline:
    @pytest.mark.parametrize(
        "handler",
        [
            hang,
            drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
            drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", every_s=0.0),
            drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
        ],
        ids=["silence", "header by header", "endless 1xx", "byte by byte"],
    )
    def test_it_is_total_whatever_the_server_does(self, handler: Handler) -> None:
        with Server(handler) as server:
            began_s = time.monotonic()
            fault = fault_of(server, timeout_s=0.5)
            took_s = time.monotonic() - began_s
        assert fault.kind in {"timeout", "protocol"}
        assert took_s < 1.5

    def test_silence_in_the_tls_handshake(self, tls: Tls) -> None:
        with Server(hang) as server:
            url = server.url.replace("http:", "https:")
            with pytest.raises(TransportFaultError) as caught:
                call(transport_for(url, tls, timeout_s=0.5), url)
        assert caught.value.kind == "timeout"
        assert math.isnan(caught.value.exchange.phases.tls_ms)
        assert 500 <= caught.value.exchange.duration_ms < 1500

    def test_a_resolver_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        released = threading.Event()
        real = socket.getaddrinfo

        def hanging(*args: object, **kwargs: object) -> object:
            released.wait(10)
            return real("127.0.0.1", 80)

        monkeypatch.setattr(socket, "getaddrinfo", _only_names(hanging, real))
        with pytest.raises(TransportFaultError) as caught:
            call(transport_for("http://donutwork.invalid", timeout_s=0.5), "http://donutwork.invalid")
        released.set()
        assert caught.value.kind == "timeout"
        assert caught.value.exchange.duration_ms < 1500

    def test_a_call_is_given_up_from_another_thread(self) -> None:
        with Server(hang) as server:
            transport = transport_for(server.url, timeout_s=10)
            threading.Timer(0.2, transport.cancel).start()
            began_s = time.monotonic()
            with pytest.raises(CallCancelledError):
                call(transport, server.url)
            assert time.monotonic() - began_s < 2


class TestKeptConnection:
    def test_one_that_the_server_closed_meanwhile_is_replaced_without_a_failed_try(self) -> None:
        with Server(answer_once(reply())) as server:
            transport = transport_for(server.url)
            call(transport, server.url)
            time.sleep(0.05)
            exchange = exchange_of(call(transport, server.url))
        assert not exchange.reused
        assert not exchange.retried

    def test_one_that_closes_as_we_send_is_replaced_once_and_marked(self) -> None:
        def answer_one_and_read_one(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(reply())
            read_request(connection)

        with Server(answer_one_and_read_one) as server:
            transport = transport_for(server.url)
            call(transport, server.url)
            exchange = exchange_of(call(transport, server.url))
        assert exchange.retried
        assert server.connections == 2

    def test_a_new_one_that_closes_is_not_tried_again(self) -> None:
        def read_and_close(connection: socket.socket) -> None:
            read_request(connection)

        with Server(read_and_close) as server:
            assert fault_of(server).kind == "connection_lost"
        assert server.connections == 1


class TestKey:
    def test_it_is_sent_as_a_bearer_token_and_is_in_no_request_or_response_object(self) -> None:
        seen: list[bytes] = []

        def record(connection: socket.socket) -> None:
            seen.append(read_request(connection))
            connection.sendall(reply())

        with Server(record) as server:
            transport = transport_for(server.url)
            request = httpx.Request("GET", f"{server.url}/ping.json")
            response = transport.handle_request(request)
        assert b"\r\nAuthorization: Bearer the-test-key\r\n" in seen[0]
        assert "authorization" not in request.headers
        assert "the-test-key" not in repr(vars(response))

    def test_it_goes_to_no_other_origin(self) -> None:
        with Server(answer(reply())) as own, Server(answer(reply())) as other:
            transport = transport_for(own.url)
            with pytest.raises(TransportFaultError):
                call(transport, other.url)
        assert other.connections == 0

    def test_it_is_not_in_the_traceback_of_an_interrupt(self) -> None:
        def interrupting() -> bytes:
            raise KeyboardInterrupt

        with Server(answer(reply())) as server:
            transport = TimedTransport(httpx.URL(server.url), interrupting)
            with pytest.raises(KeyboardInterrupt) as caught:
                call(transport, server.url)
        assert [entry.name for entry in caught.traceback][-1] == "handle_request"


def _only_names(hanging: Callable[..., object], real: Callable[..., object]) -> Callable[..., object]:
    def getaddrinfo(*args: object, **kwargs: object) -> object:
        numeric = len(args) > 5 and args[5] == socket.AI_NUMERICHOST
        return real(*args, **kwargs) if numeric else hanging(*args, **kwargs)

    return getaddrinfo
