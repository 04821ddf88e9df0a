"""Given a server that cannot be reached, or not securely, the row and the one line say why, within the deadline."""

from __future__ import annotations

import gc
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings

import pytest

from donutwork_magics import Client, SettingsError, collect
from donutwork_magics.errors import Kind, OutOfFilesError
from donutwork_magics.network import connection, sockets
from donutwork_magics.network.exchange import Deadline
from donutwork_magics.network.sockets import Address, connect_first
from donutwork_magics.sampling.__main__ import warm_up
from tests.faults.calls import GRACE_S, KEY, Ended, assert_one_line, call_both, single, target_of
from tests.faults.cases import reset_now
from tests.servers import Handler, Server, answer, closed_port, hang, read_request, reply
from tests.servers.tls import Tls, expired, named_in_the_subject_only, self_signed, trusted

pytestmark = pytest.mark.slow

SHORT_S = 0.2
LONG_S = 5.0


def check(ended: Ended, kind: Kind, says: str = "", within_s: float = LONG_S) -> None:
    assert ended.error is not None
    assert_one_line(ended.error)
    assert says in str(ended.error)
    assert [ended.error.kind, *ended.df.error] == [kind] * 3
    assert ended.took_s < within_s + GRACE_S
    assert (ended.df.duration_ms < (within_s + GRACE_S) * 1e3).all()
    assert ended.df.ttfb_ms.isna().all()


def secure(server: Server) -> str:
    return server.url.replace("http:", "https:")


def hello_then(raw: bytes) -> Handler:
    """Read the client's first TLS record, answer with these bytes, and close."""

    def handler(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(raw)

    return handler


def drip_records(connection: socket.socket) -> None:
    """Begin a TLS record, and send it a byte at a time."""
    connection.recv(65536)
    connection.sendall(b"\x16\x03\x03\x40\x00")
    while True:
        time.sleep(0.05)
        connection.sendall(b"\x02")


def reset_after_reading(connection: socket.socket) -> None:
    connection.recv(10)
    reset_now(connection)


def record(kind: int, payload: bytes) -> bytes:
    return struct.pack("!BHH", kind, 0x0303, len(payload)) + payload


@pytest.mark.parametrize("handler", [hang, drip_records])
def test_a_tls_handshake_that_hangs(handler: Handler, tls: Tls) -> None:
    with Server(handler) as server:
        ended = call_both(target_of(secure(server), tls.ca_pem), timeout_s=SHORT_S)
    check(ended, "timeout", "in the TLS handshake", within_s=SHORT_S)
    assert ended.df.tls_ms.isna().all()
    assert (ended.df.connect_ms > 0).all()


@pytest.mark.parametrize(
    "handler",
    [
        hello_then(b""),
        reset_now,
        reset_after_reading,
        hello_then(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        hello_then(b"220 mail.example ESMTP\r\n"),
        hello_then(bytes(300)),
        hello_then(record(21, b"\x02\x28")),
        hello_then(record(22, b"\x02\x00\x00\x04\x03\x03ab")),
    ],
    ids=["FIN", "RST at once", "RST", "HTTP", "another protocol", "zeros", "alert", "nonsense in a record"],
)
def test_a_tls_handshake_that_fails(handler: Handler, tls: Tls) -> None:
    with Server(handler) as server:
        ended = call_both(target_of(secure(server), tls.ca_pem), timeout_s=LONG_S)
    check(ended, "tls", "No secure connection")


def test_a_reset_between_connect_and_tls_handshake(monkeypatch: pytest.MonkeyPatch, tls: Tls) -> None:
    def connect_and_be_reset(addresses: list[Address], deadline: Deadline) -> tuple[socket.socket, str]:
        sock, peer = connect_first(addresses, deadline)
        assert select.select([sock], [], [], LONG_S)[0]
        return sock, peer

    monkeypatch.setattr(connection, "connect_first", connect_and_be_reset)
    with Server(reset_now) as server, warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        error, _took_s = single(target_of(secure(server), tls.ca_pem), LONG_S)
        gc.collect()
    assert error is not None
    assert_one_line(error)
    assert error.kind == "tls"
    assert [str(warning.message) for warning in seen] == []


@pytest.mark.parametrize(
    ("tls", "known", "says"),
    [
        (expired(), True, "certificate has expired"),
        (self_signed(), True, "self-signed certificate"),
        (trusted("elsewhere.example"), True, "not valid for 'localhost'"),
        (named_in_the_subject_only(), True, "not valid for 'localhost'"),
        (trusted(), False, "unable to get local issuer certificate"),
    ],
    ids=["expired", "self-signed", "for another host", "with a common name only", "of an unknown authority"],
)
def test_a_certificate(tls: Tls, known: bool, says: str) -> None:
    seen: list[bytes] = []

    def record_request(connection: socket.socket) -> None:
        seen.append(read_request(connection))

    with Server(record_request, tls=tls.server) as server:
        ended = call_both(target_of(server.url, tls.ca_pem if known else None), timeout_s=LONG_S)
    check(ended, "tls", says)
    assert not [request for request in seen if request]


def test_plain_http_to_a_tls_port(tls: Tls) -> None:
    with Server(answer(reply()), tls=tls.server) as server:
        ended = call_both(target_of(server.url.replace("https:", "http:")), timeout_s=LONG_S)
    assert ended.error is not None
    assert_one_line(ended.error)
    # The server may close, reset, or answer with a TLS alert.
    assert {ended.error.kind, *ended.df.error} <= {"connection_lost", "protocol"}


def test_nobody_listens() -> None:
    with closed_port() as port:
        check(call_both(target_of(f"http://127.0.0.1:{port}"), timeout_s=LONG_S), "connect", "Connection refused")


def test_a_name_that_does_not_exist() -> None:
    check(call_both(target_of("https://donutwork.invalid"), timeout_s=LONG_S), "dns", "donutwork.invalid")


@pytest.mark.usefixtures("in_process")
def test_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    real = socket.getaddrinfo

    def hanging(*args: object, **kwargs: object) -> object:
        if "donutwork.invalid" in args and socket.AI_NUMERICHOST not in args[3:]:
            released.wait(10)
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    ended = call_both(target_of("https://donutwork.invalid"), timeout_s=SHORT_S)
    released.set()
    check(ended, "timeout", "while resolving the name", within_s=SHORT_S)


def resolving() -> int:
    return [thread.name for thread in threading.enumerate()].count("donutwork-resolver")


@pytest.mark.usefixtures("in_process")
def test_a_series_whose_resolver_hangs_costs_no_thread_a_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    warm_up()
    released = threading.Event()
    monkeypatch.setattr(sockets, "_getaddrinfo", lambda *_question: released.wait(30) and [])
    monkeypatch.setattr(connection, "known_addresses", lambda *_question: [])
    before = resolving()
    df = collect(60, rate_hz=None, timeout_s=0.02, target=target_of("http://localhost:9"))
    assert resolving() <= before + 1
    released.set()
    assert df.error.tolist() == ["timeout"] * 60
    assert df.duration_ms.median() < 20 + GRACE_S * 1e3


def test_an_address_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        # A listener whose queue is full does not answer a further SYN.
        stuck = [socket.socket() for _ in range(4)]
        for each in stuck:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        ended = call_both(target_of(f"http://127.0.0.1:{full.getsockname()[1]}"), timeout_s=SHORT_S)
        for each in stuck:
            each.close()
    check(ended, "timeout", "while connecting", within_s=SHORT_S)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_process_with_too_many_open_files() -> None:
    import resource

    with Server(answer(reply())) as server, Client(target_of(f"http://127.0.0.1:{server.port}")) as client:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = os.dup(0)
        os.close(spare)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
        try:
            with pytest.raises(OutOfFilesError, match=r"^This process has reached its limit of open files\."):
                client.ping()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert client.ping().status == "success"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_series_with_too_many_open_files_is_no_outage_of_the_api() -> None:
    script = """
import resource
from donutwork_magics import SeriesError, collect, sandbox
with sandbox(latency="200ms"):
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
    try:
        collect(500, concurrency=100, rate_hz=None)
    except SeriesError as error:
        [run] = error.df.attrs["donutwork"]["runs"].values()
        print(run["ended"], run["outages"]["count"], error.df["error"].isna().all(), error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("out_of_files 0 True "), done.stdout + done.stderr
    assert "ulimit -n" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no file descriptors are passed on there")
def test_a_process_that_has_closed_its_stdin_and_stdout_measures_too() -> None:
    script = """
import os
os.close(0)
os.close(1)
from donutwork_magics import collect, sandbox
with sandbox():
    os.write(2, b"%d" % len(collect(3)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == "3"


class TestHostsThatCannotBe:
    @pytest.fixture(autouse=True)
    def _key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DONUTWORK_API_KEY", KEY)
        # Whatever asks a resolver, or connects, has gone too far.
        monkeypatch.setattr(socket, "getaddrinfo", None)
        monkeypatch.setattr(socket, "socket", None)

    @pytest.mark.parametrize(
        "url",
        [
            "https://a..b",
            "https://.a",
            "https://-a.example",
            "https://" + "a" * 64 + ".example",
            "https://" + "a." * 130 + "example",
            "https://a b.example",
            "https://xn--a.example\u3002\u3002b",
            "https://\ud800.example",
            "https://a\x00b",
            "https://[::1",
            "https://example.com:99999",
            "https://example.com:0",
            "https://example.com:-1",
            "https://example.com:port",
            "https://",
            "https:///path",
            "//example.com",
        ],
    )
    def test_they_are_refused_before_anything_is_sent(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        environ = {**os.environ, "DONUTWORK_BASE_URL": url}
        monkeypatch.setattr(os, "environ", environ)
        for make in (Client, lambda: collect(1)):
            with pytest.raises(SettingsError) as caught:
                make()
            assert "DONUTWORK_BASE_URL" in str(caught.value)
            assert str(caught.value).isprintable()
            assert caught.value.__context__ is None
