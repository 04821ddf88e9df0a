"""Given these bytes on a connection, the sandbox answers, waits, or says 400 and closes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from donutwork_magics.sandbox.process import Sandbox
from donutwork_magics.sandbox.server import MAX_BODY_BYTES, MAX_HEAD_BYTES

from .conftest import PING, Start, address


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[socket.socket]:
    with closing(socket.create_connection(address(sandbox), timeout=5)) as connected:
        yield connected


def a_ping(sandbox: Sandbox, *extra: str, version: str = "1.1") -> bytes:
    lines = (f"GET {PING} HTTP/{version}", "Host: x", f"Authorization: Bearer {sandbox.key_for()}", *extra)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_until_closed(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def read_bodies(client: socket.socket, count: int) -> bytes:
    said = b""
    while said.count(b'"}') < count:
        received = client.recv(65536)
        assert received, "the connection was closed early"
        said += received
    return said


def test_one_connection_serves_many_requests(sandbox: Sandbox, client: socket.socket) -> None:
    for _ in range(3):
        client.sendall(a_ping(sandbox))
        assert read_bodies(client, 1).startswith(b"HTTP/1.1 200 OK\r\n")


def test_pipelined_requests_are_answered_in_order(sandbox: Sandbox, client: socket.socket) -> None:
    client.sendall(a_ping(sandbox) + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" + a_ping(sandbox, "Connection: close"))
    statuses = [reply[:3] for reply in read_until_closed(client).split(b"HTTP/1.1 ")[1:]]

    assert statuses == [b"200", b"404", b"200"]


def test_pipelined_requests_that_wait_for_their_time_are_answered_in_order(start: Start) -> None:
    slow = start(latency="1ms", server_time="1ms")
    requests = [a_ping(slow), b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"] * 3
    with closing(socket.create_connection(address(slow), timeout=5)) as client:
        client.sendall(b"".join(requests))
        client.shutdown(socket.SHUT_WR)
        statuses = [reply[:3] for reply in read_until_closed(client).split(b"HTTP/1.1 ")[1:]]

    assert statuses == [b"200", b"404"] * 3


def test_more_than_it_buffers_is_answered_all_the_same(start: Start) -> None:
    slow = start(server_time="100us")
    request = a_ping(slow, f"X-Padding: {'x' * 10_000}")
    count = 60
    with closing(socket.create_connection(address(slow), timeout=5)) as client:
        client.sendall(request * count)
        client.shutdown(socket.SHUT_WR)

        assert read_until_closed(client).count(b"HTTP/1.1 200 OK") == count


def test_a_request_in_single_bytes_is_one_request(sandbox: Sandbox, client: socket.socket) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in a_ping(sandbox):
        client.sendall(bytes([byte]))

    assert read_bodies(client, 1).count(b"HTTP/1.1 200 OK") == 1


def test_a_body_is_read_past_and_not_taken_for_a_request(sandbox: Sandbox, client: socket.socket) -> None:
    inner = a_ping(sandbox)
    post = f"POST {PING} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(inner)}\r\n\r\n".encode() + inner
    client.sendall(post + a_ping(sandbox, "Connection: close"))
    statuses = [reply[:3] for reply in read_until_closed(client).split(b"HTTP/1.1 ")[1:]]

    assert statuses == [b"405", b"200"]


@pytest.mark.parametrize(
    ("version", "extra", "kept"),
    [
        ("1.1", (), True),
        ("1.1", ("Connection: close",), False),
        ("1.0", (), False),
        ("1.0", ("Connection: Keep-Alive",), True),
    ],
)
def test_a_connection_is_kept_as_the_client_asks(
    sandbox: Sandbox, client: socket.socket, version: str, extra: tuple[str, ...], kept: bool
) -> None:
    client.sendall(a_ping(sandbox, *extra, version=version))
    said = read_bodies(client, 1)

    assert (b"\r\nConnection: keep-alive\r\n" if kept else b"\r\nConnection: close\r\n") in said
    if not kept:
        assert client.recv(1) == b""


MALFORMED = {
    "no request at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "two blanks in the first line": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "another version": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "a blank before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
    "a signed length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\nx",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
    "a chunked body": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a head that is too large": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * MAX_HEAD_BYTES,
    "a whole head that is too large": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n",
    "a body that is too large": f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode(),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_request_is_a_bad_request_and_the_end(sandbox: Sandbox, client: socket.socket, what: str) -> None:
    client.sendall(MALFORMED[what])
    said = read_until_closed(client)

    assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert said.count(b"\r\nDate: ") == 1
    assert b"\r\nConnection: close\r\n" in said
    assert b'{"error": "Bad request: ' in said


def test_nothing_after_a_malformed_request_is_answered(sandbox: Sandbox, client: socket.socket) -> None:
    client.sendall(b"nonsense\r\n\r\n" + a_ping(sandbox))

    assert read_until_closed(client).count(b"\r\nDate: ") == 1


def listening_addresses(pid: int) -> set[str]:
    """Return the local addresses, as the kernel writes them, on which a process listens."""
    descriptors = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            descriptors.add(str(descriptor.readlink()))
    tables = [Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    return {row[1].partition(":")[0] for row in rows if f"socket:[{row[9]}]" in descriptors and row[3] == "0A"}


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="reads the kernel's table of sockets")
def test_it_listens_on_127_0_0_1_only(sandbox: Sandbox) -> None:
    assert listening_addresses(sandbox.pid) == {"0100007F"}
