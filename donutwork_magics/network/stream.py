"""The network stream at which the time is taken: it sees each byte leave and arrive, beneath every HTTP library."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from typing import Any, NamedTuple

import httpcore

from donutwork_magics.network.deadline import POLL_S, Deadline
from donutwork_magics.network.faults import NetworkFaultError, os_reason, ssl_reason
from donutwork_magics.network.marks import Marks
from donutwork_magics.network.opener import Opener
from donutwork_magics.network.tcp_info import TcpInfo, tcp_info

_HTTP1 = b"HTTP/1."
_MOST_BYTES = 16 * 1024
"""What is received at once: the deadline is looked at in between, and thousands of tiny frames take a while to read."""
_MOST_UNREAD_BYTES = 64 * 1024


class OtherVersionChosenError(Exception):
    """The server chose another HTTP version (ALPN) than was about to be written; the connection stays open."""


class Agreed(NamedTuple):
    """What a TLS handshake settled; None where there was no TLS, or where it does not say."""

    alpn: str | None
    """The protocol that the server chose of those offered (RFC 7301)."""
    certificate_ends_s: float | None
    """When the server's certificate ends, since the epoch."""


class TimedStream(httpcore.NetworkStream):
    """One connection, opened by its first write, that notes when bytes pass and never blocks past the deadline.

    It opens late so that the request is already serialised when the connection is ready: otherwise the client's own
    work would stand between the last handshake and the first byte sent.

    Parameters
    ----------
    http2
        Whether HTTP/2 is what will be written, unless the server chooses otherwise.
    only
        It may not choose otherwise.
    """

    def __init__(self, opener: Opener, *, http2: bool = False, only: bool = False) -> None:
        self._opener = opener
        self.http2 = http2
        """Whether what is written is HTTP/2."""
        self._only = only
        self._handed_over = False
        self._deadline: Deadline
        self._marks: Marks
        self._socket: socket.socket | None = None
        self._wait_s = 0.0
        """What the socket was told last."""
        self._tcp_info: TcpInfo | None = None
        self._greeted = False
        self._unread = b""
        self.peer: str | None = None
        self.tls_version: str | None = None
        self.ended = False
        """The peer closed its side."""

    def begin(self, deadline: Deadline, marks: Marks) -> None:
        """Attach the stream to the next call."""
        self._deadline = deadline
        self._marks = marks

    def open(self) -> socket.socket:
        """Open the connection unless it is open."""
        if self._socket is None:
            self._socket = sock = self._opener.open(self._deadline, self._marks)
            self._wait_s = 0.0
            self.peer = _peer(sock)
            if isinstance(sock, ssl.SSLSocket):
                self.tls_version = sock.version()
                chose_http2 = sock.selected_alpn_protocol() == "h2"
                if chose_http2 != self.http2:
                    if self._only:
                        raise NetworkFaultError("protocol", "the server does not offer HTTP/2")
                    # httpcore closes what it could not write to; the connection for HTTP/1.1 goes on with it.
                    self._handed_over = self.http2
                    self.http2 = chose_http2
                    raise OtherVersionChosenError
        return self._socket

    def open_ahead(self) -> None:
        """Open the connection before there is a request, and settle for the protocol that the server chose."""
        with contextlib.suppress(OtherVersionChosenError):
            self.open()
        # Nothing was about to be written.
        self._handed_over = False

    def agreed(self) -> Agreed:
        """Return what the TLS handshake of the open connection agreed on."""
        sock = self._socket
        if not isinstance(sock, ssl.SSLSocket):
            return Agreed(None, None)
        ends = (sock.getpeercert() or {}).get("notAfter")
        try:
            ends_s = ssl.cert_time_to_seconds(ends) if isinstance(ends, str) else None
        except ValueError:
            # OpenSSL takes times that it cannot write down.
            ends_s = None
        return Agreed(sock.selected_alpn_protocol(), ends_s)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send all of `buffer`."""
        # httpcore ends each request with a write of nothing: it is no network act and must not move the marks.
        if not buffer:
            return
        sock = self.open()
        marks = self._marks
        now_ns = marks.start()
        # What HTTP/2 writes after the first read (acknowledgements) is no part of the request.
        is_request = not marks.first_byte_ns
        if is_request and not marks.send_start_ns:
            marks.send_start_ns = now_ns
        handed_ns = self._send(sock, buffer)
        if is_request:
            marks.send_end_ns = handed_ns

    def _send(self, sock: socket.socket, buffer: bytes) -> int:
        """Send all, and return the moment before the kernel was given the last of it.

        The moment after would be too late: on this machine a server can be woken, and answer, before the call returns,
        and what it took would seem to be time of sending.
        """
        sent = 0
        handed_ns = 0
        failure: OSError
        while sent < len(buffer):
            self._limit_wait(sock)
            handed_ns = time.perf_counter_ns()
            try:
                sent += sock.send(buffer[sent:] if sent else buffer)
                continue
            except TimeoutError:
                continue
            except OSError as error:
                failure = error
            # httpcore and we go on to read after this one: the server may have answered before it closed.
            raise httpcore.WriteError(os_reason(failure))
        return handed_ns

    def _limit_wait(self, sock: socket.socket) -> None:
        """Let the next operation wait until the deadline at most, and not so long that nobody could wake it.

        Raises
        ------
        CallCancelledError, NetworkFaultError
            It is not to begin at all.
        """
        wait_s = min(POLL_S, self._deadline.remaining_s())
        # Setting it costs a system call, between a byte and its time.
        if wait_s != self._wait_s:
            sock.settimeout(wait_s)
            self._wait_s = wait_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Receive some bytes, `max_bytes` at most, or nothing where the peer has closed its side."""
        sock = self._socket
        if sock is None:
            raise NetworkFaultError("connection_lost", "closed")
        if self._unread:
            data, self._unread = self._unread[:max_bytes], self._unread[max_bytes:]
            return data
        data = self._receive(sock, min(max_bytes, _MOST_BYTES))
        now_ns = time.perf_counter_ns()
        if data:
            if self.http2 and not self._greeted and data.startswith(_HTTP1):
                # h2 would take it for the length of a frame, and wait for megabytes.
                raise NetworkFaultError("protocol", "the server does not speak HTTP/2")
            self._greeted = True
            marks = self._marks
            if not marks.first_byte_ns:
                marks.first_byte_ns = now_ns
            marks.last_byte_ns = now_ns
        else:
            self.ended = True
        return data

    def _receive(self, sock: socket.socket, max_bytes: int) -> bytes:
        fault: NetworkFaultError
        while True:
            self._limit_wait(sock)
            try:
                return sock.recv(max_bytes)
            except TimeoutError:
                continue
            except ssl.SSLError as error:
                fault = NetworkFaultError("tls", ssl_reason(error))
            except OSError as error:
                fault = NetworkFaultError("connection_lost", os_reason(error))
            raise fault

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._handed_over:
            self._handed_over = False
        elif self._socket is not None:
            self._tcp_info = tcp_info(self._socket)
            self._socket.close()
            self._socket = None

    def tcp_info(self) -> TcpInfo | None:
        """Return the kernel's view of the connection, the last one where it is closed."""
        return self._tcp_info if self._socket is None else tcp_info(self._socket)

    def get_extra_info(self, info: str) -> Any:
        """Answer what httpcore asks of an idle connection."""
        return self.is_stale() if info == "is_readable" else None

    def is_stale(self) -> bool:
        """Tell whether an idle connection was closed, or says what nobody asked for."""
        sock = self._socket
        if sock is None:
            return True
        if not _readable(sock):
            return False
        # Readable is not yet closed: TLS 1.3 may deliver session tickets and key updates at any time.
        sock.settimeout(0)
        self._wait_s = 0.0
        try:
            sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True

    def has_ended(self) -> bool:
        """Tell whether the peer has closed an idle connection; what it said before is kept for the next read.

        HTTP/2 has frames of the connection itself, which may come at any time.
        """
        sock = self._socket
        while sock is not None and _readable(sock):
            sock.settimeout(0)
            self._wait_s = 0.0
            try:
                data = sock.recv(_MOST_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            except OSError:
                return True
            self._unread += data
            if not data or len(self._unread) > _MOST_UNREAD_BYTES:
                return True
        return sock is None


def _peer(sock: socket.socket) -> str | None:
    try:
        host: str = sock.getpeername()[0]
    except OSError:
        # It has been reset already, as the first write is about to find out.
        return None
    return host


def _readable(sock: socket.socket) -> bool:
    # select() cannot take descriptors of 1024 and above; Windows has no poll(), and no such limit.
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])
