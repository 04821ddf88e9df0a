"""One connection: it is opened phase by phase, notes when bytes pass, and never blocks past the deadline.

What the bytes mean is for its `Driver` to know.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Final

from donutwork_magics.network.exchange import (
    CUT_OFF,
    NOT_OFFERED,
    POLL_S,
    Deadline,
    Driver,
    NetworkFaultError,
    Prepared,
    Reply,
    Timestamps,
    os_reason,
)
from donutwork_magics.network.sockets import TcpInfo, connect_first, known_addresses, resolve, start_tls, tcp_info

_MOST_BYTES: Final = 16 * 1024
"""What is received at once; the deadline is looked at in between.

It is also the most that a TLS record holds. So no data stays behind in OpenSSL, where poll() does not see it.
"""
_MOST_IDLE_BYTES: Final = 64 * 1024
"""A connection on which more arrives between two requests is replaced, as parsing would delay the next call."""
_VIEW_EVERY_NS: Final = 5_000_000

Authorization = Callable[[], bytes] | None
"""Gives the value of the Authorization header; None for no header."""


class Connection:
    """One connection, used for one call at a time; without a context of TLS it is in the clear.

    `drivers` are by the server's answer to ALPN; None stands for no answer, and for no TLS.
    """

    deadline: Deadline
    """That of the current call, as are its timestamps."""
    timestamps: Timestamps

    def __init__(
        self,
        host: str,
        port: int,
        family: socket.AddressFamily,
        context: ssl.SSLContext | None,
        drivers: Mapping[str | None, Driver],
    ) -> None:
        self._address = host, port, family
        self._context = context
        self._drivers = drivers
        self._driver: Driver | None = None
        self._socket: socket.socket | None = None
        self._wait_s = -1.0
        """The timeout that the socket has."""
        self._usable = False
        self._poll: Callable[[int], object] | None = None
        self._viewed_ns = 0
        self.tcp_info: TcpInfo | None = None
        """What the kernel said when it was asked last."""
        self.has_served = False
        """Whether a request was sent on it."""
        self.peer: str | None = None
        """The address that was connected to."""

    def open(self) -> Driver:
        """Resolve, connect, make the TLS handshake, and choose the driver.

        Raises
        ------
        NetworkFaultError, CallCancelledError
            ``dns``, ``connect``, ``tls``, ``timeout``, or ``protocol``: the server speaks no version that may be
            spoken; the call was cancelled.
        """
        timestamps = self.timestamps
        start_ns = resolved_ns = timestamps.start()
        addresses = known_addresses(*self._address)
        if not addresses:
            addresses = resolve(*self._address, self.deadline)
            resolved_ns = time.perf_counter_ns()
        timestamps.dns_ms = (resolved_ns - start_ns) / 1e6
        sock, self.peer = connect_first(addresses, self.deadline)
        connected_ns = time.perf_counter_ns()
        timestamps.connect_ms = (connected_ns - resolved_ns) / 1e6
        if self._context is None:
            timestamps.tls_ms = 0.0
        else:
            sock = start_tls(sock, self._context, self._address[0], self.deadline)
            timestamps.tls_ms = (time.perf_counter_ns() - connected_ns) / 1e6
        self._socket = sock
        self._driver = driver = self._drivers.get(self.alpn)
        if driver is None:
            raise NetworkFaultError("protocol", NOT_OFFERED)
        return driver

    @property
    def alpn(self) -> str | None:
        """The protocol that the server chose in the TLS handshake (RFC 7301)."""
        return self._socket.selected_alpn_protocol() if isinstance(self._socket, ssl.SSLSocket) else None

    @property
    def tls_version(self) -> str | None:
        """The version of TLS of the open connection, as OpenSSL names it."""
        return self._socket.version() if isinstance(self._socket, ssl.SSLSocket) else None

    @property
    def certificate_ends_s(self) -> float | None:
        """When the certificate of the server ends, since the epoch; None without TLS, or where it does not say."""
        ends = (self._socket.getpeercert() or {}).get("notAfter") if isinstance(self._socket, ssl.SSLSocket) else None
        try:
            return ssl.cert_time_to_seconds(ends) if isinstance(ends, str) else None
        except ValueError:
            # OpenSSL accepts times that it cannot print.
            return None

    def is_reusable(self) -> bool:
        """Tell whether a further request may be sent."""
        # This frees the driver that was not chosen. In `open`, it would take time between handshake and request.
        self._drivers = {}
        if self._driver is None or not self._usable:
            return False
        idle = b""
        try:
            while (data := self._receive(0.0)) is not None:
                idle += data
                if not data or len(idle) > _MOST_IDLE_BYTES:
                    return False
        except NetworkFaultError:
            return False
        return self._driver.is_reusable(idle)

    def send(self, request: Prepared, authorization: Authorization) -> str:
        """Send a request, and return why it could not be sent, or nothing.

        The reply is to be read in any case: the server may have answered before it closed.

        Raises
        ------
        NetworkFaultError, CallCancelledError
            As `open`, or ``timeout``.
        """
        if self._driver is not None:
            data = _serialised(self._driver, request, authorization)()
        else:
            # For each version that the server may choose, before connecting: between two phases it would count.
            ready = {driver: _serialised(driver, request, authorization) for driver in set(self._drivers.values())}
            data = ready[self.open()]()
        self.has_served = True
        timestamps = self.timestamps
        timestamps.send_start_ns = timestamps.start()
        handed_ns, failure = self._write(data)
        if not failure:
            timestamps.send_end_ns = handed_ns
        return failure

    def reply(self, failure: str) -> Reply:
        """Read the reply to its end; `failure` says why the request could not be sent in full, or nothing.

        Raises
        ------
        NetworkFaultError, CallCancelledError
            There is no whole and valid reply, or the call was cancelled.
        """
        driver = self._driver
        assert driver is not None
        unparsed = False
        while True:
            lost: NetworkFaultError | None = None
            try:
                data = self._receive(driver.lull_s if unparsed else None)
                now_ns = time.perf_counter_ns()
            except NetworkFaultError as fault:
                if not unparsed:
                    raise
                # What came before may be the whole reply.
                lost, data = fault, None
            if data:
                self.timestamps.last_byte_ns = now_ns
                unparsed = driver.receive(data, now_ns)
                if unparsed:
                    continue
            try:
                reply = driver.parse(ended=data == b"")
            finally:
                self.timestamps.first_byte_ns = driver.first_byte_ns
            unparsed = False
            if reply is not None:
                break
            if lost is not None:
                raise lost
            if data == b"":
                raise NetworkFaultError("connection_lost", failure or CUT_OFF)
            failure = self._acknowledge() or failure
        try:
            self._usable = not (failure or lost or self._acknowledge())
        except NetworkFaultError:
            # The deadline passed while acknowledging: the reply itself was in time.
            self._usable = False
        return reply

    def kernel_view(self, now_ns: int) -> tuple[float, int | None]:
        """Return the kernel's round-trip time, and the retransmits since it was asked before.

        Asking takes a twentieth of a fast ping. So it is not asked again within a few milliseconds: the least time
        changes little, and a call of which a segment was sent again takes longer than that.
        """
        before = self.tcp_info
        if now_ns - self._viewed_ns >= _VIEW_EVERY_NS:
            self._viewed_ns = now_ns
            self.tcp_info = None if self._socket is None else tcp_info(self._socket)
        if (info := self.tcp_info) is None:
            return math.nan, None
        return info.rtt_ms, info.total_retransmits - (before.total_retransmits if before else 0)

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _acknowledge(self) -> str:
        """Send the protocol's own messages, untimed; return why they could not be sent, or nothing."""
        assert self._driver is not None
        frames = self._driver.to_send()
        return self._write(frames)[1] if frames else ""

    def _write(self, buffer: bytes) -> tuple[int, str]:
        """Send all; return the moment before the kernel was given the last of it, and why it could not be sent.

        The moment after would be too late: a server on the same machine can answer before the system call returns, and
        its time would count as sending.
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

    def _receive(self, patience_s: float | None) -> bytes | None:
        """Receive some bytes: none if the peer has closed its side, None if nothing came within `patience_s`.

        That is at most a few milliseconds; None waits until the deadline.
        """
        sock = self._socket
        assert sock is not None
        if patience_s == 0.0 and not self._is_readable(sock):
            return None
        while True:
            self._limit_wait(sock, POLL_S if patience_s is None else patience_s)
            try:
                return sock.recv(_MOST_BYTES)
            except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
                # A socket that is readable may have no data: TLS 1.3 sends session tickets and key updates at any time.
                if patience_s is not None:
                    return None
            except ssl.SSLError as error:
                raise NetworkFaultError("tls", os_reason(error)) from None
            except OSError as error:
                raise NetworkFaultError("connection_lost", os_reason(error)) from None

    def _limit_wait(self, sock: socket.socket, most_s: float) -> None:
        """Let the next operation wait until the deadline, and for `most_s` at most."""
        wait_s = min(most_s, self.deadline.remaining_s())
        # Setting it is a system call that would delay a timestamp.
        if wait_s != self._wait_s:
            sock.settimeout(wait_s)
            self._wait_s = wait_s

    def _is_readable(self, sock: socket.socket) -> bool:
        # select() cannot take descriptors of 1024 and above; Windows has no poll(), and no such limit.
        if not hasattr(select, "poll"):
            return bool(select.select([sock], [], [], 0)[0])
        if self._poll is None:
            poll = select.poll()
            poll.register(sock, select.POLLIN)
            self._poll = poll.poll
        return bool(self._poll(0))


def _serialised(driver: Driver, request: Prepared, authorization: Authorization) -> Callable[[], bytes]:
    """Return a function that gives the bytes to send: no local variable holds the key while a connection is opened."""
    sent = driver.request(request, authorization() if authorization is not None else None)
    return lambda: sent
