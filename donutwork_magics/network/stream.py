"""The network stream at which the time is taken: it sees each byte leave and arrive, beneath every HTTP library."""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import NamedTuple

from donutwork_magics.network.deadline import POLL_S, Deadline
from donutwork_magics.network.faults import NetworkFaultError, os_reason, ssl_reason
from donutwork_magics.network.marks import Marks
from donutwork_magics.network.opener import Opener
from donutwork_magics.network.tcp_info import TcpInfo, tcp_info

_MOST_BYTES = 16 * 1024
"""What is received at once: the deadline is looked at in between, and thousands of tiny frames take a while to read.

It is also the most that a TLS record holds, so that nothing received stays behind in OpenSSL, where poll() is blind.
"""


class Agreed(NamedTuple):
    """What a TLS handshake settled; None where there was no TLS, or where it does not say."""

    alpn: str | None
    """The protocol that the server chose of those offered (RFC 7301)."""
    certificate_ends_s: float | None
    """When the server's certificate ends, since the epoch."""


class TimedStream:
    """One connection that notes when bytes pass and never blocks past the deadline.

    Parameters
    ----------
    opener
        Opens the connection.
    """

    marks: Marks
    """The moments of the current call."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._deadline: Deadline
        self._socket: socket.socket | None = None
        self._wait_s = 0.0
        """What the socket was told last."""
        self._tcp_info: TcpInfo | None = None
        self.alpn: str | None = None
        """The protocol that the server chose in the TLS handshake."""
        self.peer: str | None = None
        """The address that was connected to."""

    def begin(self, deadline: Deadline, marks: Marks) -> None:
        """Attach the stream to the next call."""
        self._deadline = deadline
        self.marks = marks

    def open(self) -> None:
        """Open the connection.

        Raises
        ------
        NetworkFaultError, CallCancelledError
            As `Opener.connect` and `Opener.secure`.
        """
        sock, self.peer = self._opener.connect(self._deadline, self.marks)
        self._socket = sock = self._opener.secure(sock, self._deadline, self.marks)
        if isinstance(sock, ssl.SSLSocket):
            self.alpn = sock.selected_alpn_protocol()

    @property
    def tls_version(self) -> str | None:
        """The version of TLS of the open connection, as OpenSSL names it."""
        return self._socket.version() if isinstance(self._socket, ssl.SSLSocket) else None

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
        return Agreed(self.alpn, ends_s)

    def send(self, request: bytes) -> str:
        """Send all of a request, and note when.

        Returns
        -------
        str
            Why it could not be sent, or nothing. Go on to read in any case: the server may have answered before it
            closed.
        """
        marks = self.marks
        marks.send_start_ns = marks.start()
        handed_ns, failure = self._write(request)
        if not failure:
            marks.send_end_ns = handed_ns
        return failure

    def write(self, buffer: bytes) -> str:
        """Send without timing what is no part of a request; return why it could not be sent, or nothing."""
        return self._write(buffer)[1]

    def _write(self, buffer: bytes) -> tuple[int, str]:
        """Send all; return the moment before the kernel was given the last of it, and why it could not be sent.

        The moment after would be too late: on this machine a server can be woken, and answer, before the call returns,
        and what it took would seem to be time of sending.
        """
        sock = self._socket
        assert sock is not None
        sent = 0
        handed_ns = 0
        while sent < len(buffer):
            self._limit_wait(sock, POLL_S)
            handed_ns = time.perf_counter_ns()
            try:
                sent += sock.send(buffer[sent:] if sent else buffer)
            except TimeoutError:
                continue
            except OSError as error:
                return handed_ns, os_reason(error)
        return handed_ns, ""

    def _limit_wait(self, sock: socket.socket, most_s: float) -> None:
        """Let the next operation wait until the deadline at most, and not so long that nobody could wake it.

        Raises
        ------
        CallCancelledError, NetworkFaultError
            It is not to begin at all.
        """
        wait_s = min(most_s, self._deadline.remaining_s())
        # Setting it costs a system call, between a byte and its time.
        if wait_s != self._wait_s:
            sock.settimeout(wait_s)
            self._wait_s = wait_s

    def read(self, patience_s: float | None = None) -> bytes | None:
        """Receive some bytes.

        Parameters
        ----------
        patience_s
            How long to wait, at most a few milliseconds; None to wait until the deadline.

        Returns
        -------
        bytes or None
            No bytes if the peer has closed its side, None if nothing came within `patience_s`.

        Raises
        ------
        NetworkFaultError, CallCancelledError
            ``connection_lost``, ``tls`` or ``timeout``.
        """
        data = self._receive(patience_s)
        now_ns = time.perf_counter_ns()
        if data:
            self.marks.last_byte_ns = now_ns
        return data

    def _receive(self, patience_s: float | None) -> bytes | None:
        sock = self._socket
        assert sock is not None
        while True:
            self._limit_wait(sock, POLL_S if patience_s is None else patience_s)
            try:
                return sock.recv(_MOST_BYTES)
            except TimeoutError:
                if patience_s is not None:
                    return None
            except ssl.SSLError as error:
                raise NetworkFaultError("tls", ssl_reason(error)) from None
            except OSError as error:
                raise NetworkFaultError("connection_lost", os_reason(error)) from None

    def waiting(self) -> bytes | None:
        """Return what has arrived on an idle connection: None if nothing has, no bytes if it was closed."""
        sock = self._socket
        if sock is None:
            return b""
        if not _readable(sock):
            return None
        sock.settimeout(0)
        self._wait_s = 0.0
        try:
            return sock.recv(_MOST_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            # Readable is not yet closed: TLS 1.3 may deliver session tickets and key updates at any time.
            return None
        except OSError:
            return b""

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._socket is not None:
            self._tcp_info = tcp_info(self._socket)
            self._socket.close()
            self._socket = None

    def tcp_info(self) -> TcpInfo | None:
        """Return the kernel's view of the connection, the last one where it is closed."""
        return self._tcp_info if self._socket is None else tcp_info(self._socket)


def _readable(sock: socket.socket) -> bool:
    # select() cannot take descriptors of 1024 and above; Windows has no poll(), and no such limit.
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])
