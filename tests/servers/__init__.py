"""Servers for tests: real sockets on 127.0.0.1 that do what a test tells them, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

BODY = b'{"status": "success", "env": "staging", "RRT": "0.08 ms"}'

Handler = Callable[[socket.socket], None]


def reply(body: bytes = BODY, status: str = "200 OK", *headers: str) -> bytes:
    """Return the bytes of a whole HTTP/1.1 reply."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_request(connection: socket.socket) -> bytes:
    """Read one request without a body; empty where the client has closed."""
    request = b""
    while b"\r\n\r\n" not in request:
        more = connection.recv(4096)
        if not more:
            return b""
        request += more
    return request


def answer(raw: bytes) -> Handler:
    """Answer every request of a connection with the same bytes."""

    def handler(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(raw)

    return handler


def answer_once(raw: bytes) -> Handler:
    """Answer the first request of a connection, and close it."""

    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(raw)

    return handler


def answer_api(ping: bytes, connection: bytes, seen: list[str]) -> Handler:
    """Answer the two endpoints with bytes of their own, and note what was asked for."""

    def handler(client: socket.socket) -> None:
        while request := read_request(client):
            path = request.split(b" ", 2)[1].decode()
            seen.append(path.rpartition("/")[2])
            client.sendall(ping if path.endswith("/ping.json") else connection)

    return handler


def refuse_tls(connection: socket.socket) -> None:
    """Answer a TLS handshake as a plain HTTP server does."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def hang(connection: socket.socket) -> None:
    """Read, and never answer."""
    while connection.recv(4096):
        pass


def answer_then_hang(raw: bytes, count: int) -> Handler:
    """Answer some requests of a connection, and then no more."""

    def handler(connection: socket.socket) -> None:
        for _ in range(count):
            if not read_request(connection):
                return
            connection.sendall(raw)
        hang(connection)

    return handler


def drip(first: bytes, then: bytes, every_s: float = 0.05) -> Handler:
    """Answer with some bytes, and then with some more again and again, for ever."""

    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(first)
        while True:
            time.sleep(every_s)
            connection.sendall(then)

    return handler


def reset(connection: socket.socket) -> None:
    """Read a request, and close without a word, with RST instead of FIN."""
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


class Server:
    """Listens, and gives each connection to a handler in a thread of its own; a context manager.

    Parameters
    ----------
    port
        One that was free, as for a server that is started again; 0 for any.

    Attributes
    ----------
    connections : int
        How many were accepted.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        tls: ssl.SSLContext | None = None,
        family: socket.AddressFamily = socket.AF_INET,
        port: int = 0,
    ) -> None:
        self._handler = handler
        self._tls = tls
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self._listener = socket.create_server((host, port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._open: list[socket.socket] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def url(self) -> str:
        """The base URL: by name, so that a certificate for localhost fits; IPv6 by number, as few machines name it."""
        host = "[::1]" if self._listener.family == socket.AF_INET6 else "localhost"
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Threads end before what they use is closed: the next server may get the same number for a file, and a thread
        # of this one would serve its connections.
        self._ended.set()
        # Where the system lets a shutdown wake accept(), nobody waits for its time-out.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(2)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2)
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                self._listener.settimeout(0.1)
                connection, _address = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.connections += 1
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True)
                self._open.append(connection)
            self._handler(connection)
        with contextlib.suppress(OSError):
            connection.close()


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Reserve a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]
