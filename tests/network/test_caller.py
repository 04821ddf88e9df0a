"""Given a server that answers like this, the exchange says that."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar, cast

import httpx
import pytest

from donutwork_magics.network import connection, sockets
from donutwork_magics.network.caller import Caller
from donutwork_magics.network.connection import Connection
from donutwork_magics.network.exchange import (
    CallCancelledError,
    Deadline,
    Exchange,
    NetworkFaultError,
    Phases,
    Reply,
    Timestamps,
    prepare,
)
from donutwork_magics.network.sockets import tls_context
from donutwork_magics.types import Http
from tests.servers import (
    BODY,
    Server,
    answer,
    answer_once,
    hang,
    read_request,
    refuse_tls,
    reply,
    reset,
)
from tests.servers.http2 import answer_http2, goaway_on_second, goaway_when_idle
from tests.servers.tls import Tls

KEY = b"Bearer the-test-key"

T = TypeVar("T")


_made: list[Caller] = []


@pytest.fixture(autouse=True)
def _closed_callers() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def caller_for(
    url: str,
    tls: Tls | None = None,
    *,
    http: Http = "auto",
    family: socket.AddressFamily = socket.AF_UNSPEC,
    timeout_s: float = 5.0,
    cold: bool = False,
) -> Caller:
    context = tls_context(http, tls.ca_pem if tls else None) if url.startswith("https") else None
    caller = Caller(
        httpx.URL(url), lambda: KEY, context=context, http=http, family=family, timeout_s=timeout_s, cold=cold
    )
    _made.append(caller)
    return caller


def call(caller: Caller, url: str) -> tuple[Reply, Exchange]:
    outcome, exchange = caller.call(prepare(httpx.Request("GET", f"{url}/ping.json")))
    assert isinstance(outcome, Reply)
    return outcome, exchange


def failing_call(caller: Caller, url: str) -> tuple[NetworkFaultError, Exchange]:
    outcome, exchange = caller.call(prepare(httpx.Request("GET", f"{url}/ping.json")))
    assert isinstance(outcome, NetworkFaultError)
    return outcome, exchange


def exchange_of(caller: Caller, url: str) -> Exchange:
    return call(caller, url)[1]


def exchanges(server: Server, count: int, tls: Tls | None = None, **options: object) -> list[Exchange]:
    caller = caller_for(server.url, tls, **options)  # type: ignore[arg-type]
    return [exchange_of(caller, server.url) for _ in range(count)]


def fault_of(server: Server, tls: Tls | None = None, **options: object) -> tuple[NetworkFaultError, Exchange]:
    return failing_call(caller_for(server.url, tls, **options), server.url)  # type: ignore[arg-type]


PAUSE_S = 0.004


def late(function: Callable[..., T]) -> Callable[..., T]:
    """Return a function that does the same a little later."""

    def call_late(*arguments: object) -> T:
        time.sleep(PAUSE_S)
        return function(*arguments)

    return call_late


@dataclass(frozen=True)
class HaltingSocket:
    """The socket of a server that takes its time to answer, and halts within each answer."""

    connection: socket.socket

    def recv(self, most: int) -> bytes:
        data = self.connection.recv(most)
        time.sleep(PAUSE_S)
        return data

    def sendall(self, data: bytes) -> None:
        half = len(data) // 2
        self.connection.sendall(data[:half])
        time.sleep(PAUSE_S)
        self.connection.sendall(data[half:])


class TestPhases:
    def test_a_new_connection_has_them_all_and_a_kept_one_only_the_exchange(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "known_addresses", lambda *_name: [])
        with Server(answer(reply())) as server:
            first, second = exchanges(server, 2)
        assert not first.reused
        assert first.phases.dns_ms > 0
        assert first.phases.connect_ms > 0
        assert second.reused
        assert second.phases[:3] == (0, 0, 0)
        assert second.phases.ttfb_ms > 0
        assert server.connections == 1

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_a_numeric_host_and_localhost_need_no_resolution(self, host: str) -> None:
        with Server(answer(reply())) as server:
            url = f"http://{host}:{server.port}"
            exchange = exchange_of(caller_for(url, cold=True), url)
        assert exchange.phases.dns_ms == 0
        assert exchange.peer == "127.0.0.1"

    @pytest.mark.parametrize("cold", [False, True], ids=["kept", "cold"])
    @pytest.mark.parametrize("spoken", ["1.1 in the clear", "1.1", "2"])
    def test_they_add_up_to_the_duration_within_five_percent(
        self, cold: bool, spoken: str, tls: Tls, tls_http2: Tls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Each phase but `send` takes a few milliseconds, beside which the client's own microseconds are small.
        monkeypatch.setattr(connection, "known_addresses", lambda *_name: [])
        monkeypatch.setattr(connection, "resolve", late(sockets.resolve))
        monkeypatch.setattr(connection, "connect_first", late(sockets.connect_first))
        offered = tls_http2 if spoken == "2" else tls
        encrypted = "clear" not in spoken
        handler = answer_http2 if spoken == "2" else answer(reply())

        def serve(connection: socket.socket) -> None:
            if encrypted:
                time.sleep(PAUSE_S)
                connection = offered.server.wrap_socket(connection, server_side=True)
            handler(cast("socket.socket", HaltingSocket(connection)))
            connection.close()

        with Server(serve) as server:
            url = server.url.replace("http:", "https:") if encrypted else server.url
            caller = caller_for(url, offered, cold=cold)
            measured = [exchange_of(caller, url) for _ in range(12)][1:]
            caller.close()
        assert all(exchange.http_version == spoken.split(maxsplit=1)[0] for exchange in measured)
        assert all(exchange.reused is not cold for exchange in measured)
        typical = Phases(*(statistics.median(times) for times in zip(*(each.phases for each in measured), strict=True)))
        assert {name: time_ms > PAUSE_S * 1000 / 2 for name, time_ms in typical._asdict().items()} == {
            "dns_ms": cold,
            "connect_ms": cold,
            "tls_ms": cold and encrypted,
            "send_ms": False,
            "ttfb_ms": True,
            "receive_ms": True,
        }
        assert all((each.phases.tls_ms > 0) == (cold and encrypted) for each in measured)
        shares = [sum(exchange.phases) / exchange.duration_ms for exchange in measured]
        assert 0.95 <= statistics.median(shares) <= 1.0

    def test_time_that_the_server_takes_is_time_to_the_first_byte(self) -> None:
        def slow(connection: socket.socket) -> None:
            while read_request(connection):
                time.sleep(0.05)
                connection.sendall(reply())

        with Server(slow) as server:
            (exchange,) = exchanges(server, 1)
        assert exchange.phases.ttfb_ms > 45
        assert exchange.phases.receive_ms < 50

    def test_an_announcement_is_no_first_byte(self) -> None:
        def announce(connection: socket.socket) -> None:
            while read_request(connection):
                connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
                time.sleep(0.1)
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" + reply())

        with Server(announce) as server:
            for exchange in exchanges(server, 2):
                assert exchange.phases.ttfb_ms >= 100
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

    @pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux")
    def test_the_time_of_a_slow_server_is_not_in_the_round_trip(self) -> None:
        def slow(connection: socket.socket) -> None:
            while read_request(connection):
                time.sleep(0.03)
                connection.sendall(reply())

        with Server(slow) as server:
            last = exchanges(server, 8)[-1]
        assert last.phases.ttfb_ms > 30
        assert 0 < last.tcp_rtt_ms < 15

    def test_a_reply_that_is_noticed_after_the_deadline_is_a_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        receive = Connection._receive

        def receive_late(connection: Connection, patience_s: float | None) -> bytes | None:
            data = receive(connection, patience_s)
            # As on a machine that has other things to do.
            time.sleep(0.25)
            return data

        monkeypatch.setattr(Connection, "_receive", receive_late)
        with Server(answer(reply())) as server:
            fault, exchange = fault_of(server, timeout_s=0.2)
        assert fault.kind == "timeout"
        assert exchange.duration_ms >= 200

    def test_ipv6(self) -> None:
        with Server(answer(reply()), family=socket.AF_INET6) as server:
            (exchange,) = exchanges(server, 1, family=socket.AF_INET6)
        assert exchange.peer == "::1"

    def test_the_family_that_is_asked_for_is_the_only_one_tried(self) -> None:
        with Server(answer(reply()), family=socket.AF_INET6) as server:
            url = f"http://localhost:{server.port}"
            fault, _exchange = failing_call(caller_for(url, family=socket.AF_INET), url)
        assert fault.kind == "connect"

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
            caller = caller_for(server.url, offered)
            opened = caller.connect()
            first, second = (exchange_of(caller, server.url) for _ in range(2))
        assert opened.fault is None
        assert opened.exchange.phases.connect_ms > 0
        assert opened.exchange.phases.tls_ms > 0
        assert math.isnan(opened.exchange.phases.send_ms)
        assert first.phases[:3] == second.phases[:3] == (0, 0, 0)
        assert first.http_version == version
        assert opened.alpn == ("h2" if version == "2" else "http/1.1")
        assert (opened.certificate_ends_s or 0) > time.time()
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
            caller = caller_for(server.url, offered)
            caller.connect()
            caller.close()
            assert ended.wait(2)

    def test_a_fault_is_a_value(self, tls: Tls) -> None:
        with Server(refuse_tls) as server:
            opened = caller_for(f"https://localhost:{server.port}", tls).connect()
        assert opened.fault is not None
        assert opened.fault.kind == "tls"
        assert opened.fault.__traceback__ is None
        assert opened.exchange.phases.connect_ms > 0
        assert math.isnan(opened.exchange.phases.tls_ms)

    def test_a_call_that_is_lost_on_it_goes_out_once(self) -> None:
        with Server(reset) as server:
            caller = caller_for(server.url)
            caller.connect()
            fault, exchange = failing_call(caller, server.url)
        assert fault.kind == "connection_lost"
        assert not exchange.retried
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

    def test_a_server_that_changes_its_mind_gets_what_it_chose(self, tls: Tls, tls_http2: Tls) -> None:
        contexts = {"2": tls_http2.server, "1.1": tls.server}
        handlers = {"2": answer_http2, "1.1": answer(reply())}
        plan = ["1.1", "2", "2", "1.1", "1.1", "2"]
        accepted = iter(plan)

        def serve(connection: socket.socket) -> None:
            version = next(accepted)
            with contexts[version].wrap_socket(connection, server_side=True) as encrypted:
                handlers[version](encrypted)

        roots = Tls(tls.server, tls.ca_pem + tls_http2.ca_pem)
        with Server(serve) as server:
            url = server.url.replace("http:", "https:")
            caller = caller_for(url, roots, cold=True)
            measured = [exchange_of(caller, url) for _ in plan]
        assert [each.http_version for each in measured] == plan
        assert server.connections == len(plan)
        assert not any(each.retried for each in measured)

    def test_it_is_not_spoken_where_1_1_is_asked_for(self, tls: Tls) -> None:
        with Server(answer(reply()), tls=tls.server) as server:
            (exchange,) = exchanges(server, 1, tls, http="1.1")
        assert exchange.http_version == "1.1"

    def test_asked_for_and_not_offered_is_a_named_fault(self, tls: Tls) -> None:
        with Server(answer(reply()), tls=tls.server) as server:
            fault, _exchange = fault_of(server, tls, http="2")
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
    """What each fault is called is in tests/faults."""

    def test_a_fault_does_not_touch_the_next_call(self) -> None:
        handlers = iter([answer_once(reply()[:-5]), answer(reply())])

        def next_one(connection: socket.socket) -> None:
            next(handlers)(connection)

        with Server(next_one) as server:
            caller = caller_for(server.url)
            failing_call(caller, server.url)
            assert call(caller, server.url)[0].body == BODY


def answer_at_once(_host: str, port: int, family: socket.AddressFamily) -> list[sockets.Address]:
    return [sockets.Address(family, ("127.0.0.1", port))]


def lookup(timeout_s: float) -> list[sockets.Address]:
    return sockets.resolve("hangs.invalid", 80, socket.AF_INET, Deadline(timeout_s, threading.Event()))


def resolving() -> int:
    """Return how many threads are in a lookup."""
    return len(sockets._resolver._hanging) and sockets._resolver._threads - sockets._resolver.parked


class TestResolver:
    @pytest.fixture
    def hanging(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
        """A system that does not answer for one host until the event is set, with a resolver of its own."""
        released = threading.Event()

        def getaddrinfo(host: str, port: int, family: socket.AddressFamily) -> list[sockets.Address]:
            if host == "hangs.invalid":
                released.wait(30)
            return answer_at_once(host, port, family)

        monkeypatch.setattr(sockets, "_resolver", sockets._Resolver())
        monkeypatch.setattr(sockets, "_getaddrinfo", getaddrinfo)
        yield released
        released.set()

    def test_threads_that_resolve_are_kept_for_the_next_and_stay_few(self) -> None:
        def resolve() -> None:
            sockets.resolve("localhost", 80, socket.AF_INET, Deadline(5.0, threading.Event()))

        for _ in range(5):
            askers = [threading.Thread(target=resolve) for _ in range(8)]
            for asker in askers:
                asker.start()
            for asker in askers:
                asker.join()
        assert 1 <= sockets._resolver.parked <= sockets._MOST_PARKED + 1
        before = threading.active_count()
        for _ in range(20):
            resolve()
        assert threading.active_count() <= before

    def test_one_that_hangs_does_not_cost_a_thread_for_each_that_asks(self, hanging: threading.Event) -> None:
        for _ in range(40):
            with pytest.raises(NetworkFaultError, match="timeout"):
                lookup(0.01)
        assert resolving() == 1
        hanging.set()
        assert lookup(5.0)[0].sockaddr == ("127.0.0.1", 80)

    def test_who_still_waits_gets_its_late_answer(self, hanging: threading.Event) -> None:
        with pytest.raises(NetworkFaultError, match="timeout"):
            lookup(0.01)
        threading.Timer(0.2, hanging.set).start()
        assert lookup(5.0)[0].sockaddr == ("127.0.0.1", 80)
        assert resolving() == 0

    def test_one_that_never_ends_is_left_alone_after_a_while(
        self, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sockets, "_NO_ANSWER_S", 0.1)
        with pytest.raises(NetworkFaultError, match="timeout"):
            lookup(0.2)
        # The system answers again, but not what it was asked before.
        monkeypatch.setattr(sockets, "_getaddrinfo", answer_at_once)
        assert lookup(5.0)[0].sockaddr == ("127.0.0.1", 80)
        assert not hanging.is_set()

    def test_another_question_is_not_held_up(self, hanging: threading.Event) -> None:
        with pytest.raises(NetworkFaultError, match="timeout"):
            lookup(0.01)
        deadline = Deadline(5.0, threading.Event())
        assert sockets.resolve("another.invalid", 80, socket.AF_INET, deadline)[0].sockaddr == ("127.0.0.1", 80)
        assert not hanging.is_set()

    def test_there_is_a_limit_to_all_of_them(self, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sockets, "_MOST_THREADS", 3)
        monkeypatch.setattr(sockets, "_NO_ANSWER_S", 0.0)
        outcomes = []
        for _ in range(6):
            with pytest.raises(NetworkFaultError) as caught:
                lookup(0.01)
            outcomes.append(caught.value.kind)
        assert outcomes == ["timeout"] * 3 + ["dns"] * 3
        hanging.set()

    def test_a_process_that_can_start_no_thread(self, hanging: threading.Event) -> None:
        def refuse(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(NetworkFaultError) as caught:
                lookup(5.0)
        assert (caught.value.kind, caught.value.reason) == ("dns", "this process can start no further thread")
        hanging.set()
        assert lookup(5.0)


class TestCancel:
    def test_a_call_is_given_up_from_another_thread(self) -> None:
        with Server(hang) as server:
            caller = caller_for(server.url, timeout_s=10)
            threading.Timer(0.2, caller.cancel).start()
            began_s = time.monotonic()
            with pytest.raises(CallCancelledError):
                call(caller, server.url)
            assert time.monotonic() - began_s < 8


class TestKeptConnection:
    def test_one_that_the_server_closed_meanwhile_is_replaced_without_a_failed_try(self) -> None:
        with Server(answer_once(reply())) as server:
            caller = caller_for(server.url)
            call(caller, server.url)
            time.sleep(0.05)
            exchange = exchange_of(caller, server.url)
        assert not exchange.reused
        assert not exchange.retried

    def test_one_that_closes_as_we_send_is_replaced_once_and_marked(self) -> None:
        def answer_one_and_read_one(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(reply())
            read_request(connection)

        with Server(answer_one_and_read_one) as server:
            caller = caller_for(server.url)
            call(caller, server.url)
            exchange = exchange_of(caller, server.url)
        assert exchange.retried
        assert server.connections == 2

    def test_one_that_the_server_ended_over_http2_meanwhile_is_replaced_without_a_failed_try(
        self, tls_http2: Tls
    ) -> None:
        with Server(goaway_when_idle, tls=tls_http2.server) as server:
            caller = caller_for(server.url, tls_http2)
            call(caller, server.url)
            time.sleep(0.3)
            second = exchange_of(caller, server.url)
        assert not second.retried
        assert not second.reused

    def test_a_request_that_the_server_kept_for_long_goes_out_once(self) -> None:
        requests = []

        def keep_and_close(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(reply())
            requests.append(read_request(connection))
            time.sleep(0.4)

        with Server(keep_and_close) as server:
            caller = caller_for(server.url)
            call(caller, server.url)
            fault, _exchange = failing_call(caller, server.url)
        assert fault.kind == "connection_lost"
        assert len(requests) == 1

    def test_one_is_kept_however_long_it_rests(self, tls_http2: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
        real = time.monotonic
        with Server(answer_http2, tls=tls_http2.server) as server:
            caller = caller_for(server.url, tls_http2)
            call(caller, server.url)
            monkeypatch.setattr(time, "monotonic", lambda: real() + 7200)
            assert exchange_of(caller, server.url).reused
        with Server(answer(reply())) as server:
            caller = caller_for(server.url)
            call(caller, server.url)
            monkeypatch.setattr(time, "monotonic", lambda: real() + 14400)
            assert exchange_of(caller, server.url).reused

    def test_a_cold_one_resumes_no_tls_session(self, tls: Tls) -> None:
        resumed = []

        def look(connection: socket.socket) -> None:
            assert isinstance(connection, ssl.SSLSocket)
            resumed.append(connection.session_reused)
            answer(reply())(connection)

        with Server(look, tls=tls.server) as server:
            assert all(each.phases.tls_ms > 0 for each in exchanges(server, 4, tls, cold=True))
        assert resumed == [False] * 4


def test_nothing_is_known_of_a_call_that_was_ended_before_it_began() -> None:
    # What another thread raises may come at any moment.
    assert all(map(math.isnan, Timestamps().phases(complete=False)))


class TestKey:
    def test_it_is_sent_as_a_bearer_token_and_is_in_no_request_or_reply(self) -> None:
        seen: list[bytes] = []

        def record(connection: socket.socket) -> None:
            seen.append(read_request(connection))
            connection.sendall(reply())

        with Server(record) as server:
            request = prepare(httpx.Request("GET", f"{server.url}/ping.json"))
            answered = caller_for(server.url).call(request)
        assert b"\r\nAuthorization: Bearer the-test-key\r\n" in seen[0]
        assert "the-test-key" not in repr((request, answered))

    def test_it_is_not_in_the_traceback_of_an_interrupt(self) -> None:
        def interrupting() -> bytes:
            raise KeyboardInterrupt

        with Server(answer(reply())) as server:
            caller = Caller(httpx.URL(server.url), interrupting)
            with pytest.raises(KeyboardInterrupt) as caught:
                call(caller, server.url)
        # That of the decorator: none of those that send is left.
        assert [entry.name for entry in caught.traceback][-1] == "whole"
