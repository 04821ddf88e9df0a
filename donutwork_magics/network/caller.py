"""Calls to one origin over one connection, with every phase timed and one deadline for all of them."""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import httpx

from donutwork_magics.interrupts import uninterrupted
from donutwork_magics.network.deadline import Deadline
from donutwork_magics.network.faults import NetworkFaultError
from donutwork_magics.network.http1 import Http1Connection
from donutwork_magics.network.http2 import Http2Connection
from donutwork_magics.network.marks import Marks, Phases
from donutwork_magics.network.message import Prepared, Reply
from donutwork_magics.network.opener import Opener
from donutwork_magics.network.stream import Agreed, TimedStream
from donutwork_magics.types import Http

_VIEW_EVERY_NS = 5_000_000
_SHORT_RTT_MS = 100.0
"""A container whose share of processors is used up stands still for up to this long, and we with it."""
_UNKNOWN_RTT_MS = 500.0


class Exchange(NamedTuple):
    """What was measured of one call, whether it got a reply or not."""

    started_ns: int
    """First network act, on the clock of `time.perf_counter_ns`."""
    timestamp_ns: int
    """The same moment on the wall clock, since the epoch."""
    duration_ms: float
    """First network act to last byte, or to the failure."""
    phases: Phases
    reused: bool
    """No connection had to be made."""
    retried: bool
    """A kept connection turned out to be closed, and the request went out once more; the phases are the second's."""
    http_version: str | None
    peer: str | None
    tls_version: str | None
    tcp_rtt_ms: float
    tcp_retransmits: int | None
    """Segments sent again since the kernel was asked before, which is during this call unless that is a moment ago."""


class Opened(NamedTuple):
    """What came of opening a connection ahead of its first request."""

    exchange: Exchange
    """Of its phases only `dns_ms`, `connect_ms` and `tls_ms` are reached."""
    agreed: Agreed
    fault: NetworkFaultError | None = None
    """Why there is no connection; never raised, so it holds no frames."""


class CallFaultError(NetworkFaultError):
    """A `NetworkFaultError` with what was measured until then."""

    def __init__(self, fault: NetworkFaultError, exchange: Exchange) -> None:
        super().__init__(fault.kind, fault.reason)
        self.exchange = exchange


class Caller:
    """Sends each request on its one connection and times it; each worker has a caller of its own.

    The key is added in here: no `Prepared` request and no object of httpx ever holds it.

    Parameters
    ----------
    origin
        Scheme, host and port; every request goes there.
    authorization
        Gives the value of the Authorization header, or None for no header.
    context
        The TLS context, for an ``https`` origin.
    http
        The versions that may be spoken. Without TLS nothing is negotiated: HTTP/1.1 unless ``2`` is asked for.
    family
        ``AF_INET``, ``AF_INET6``, or ``AF_UNSPEC`` for either.
    timeout_s
        The total deadline of a call.
    cold
        Close the connection after each call, so that each call has all the phases.
    """

    def __init__(
        self,
        origin: httpx.URL,
        authorization: Callable[[], bytes] | None = None,
        *,
        context: ssl.SSLContext | None = None,
        http: Http = "auto",
        family: socket.AddressFamily = socket.AF_UNSPEC,
        timeout_s: float = 10.0,
        cold: bool = False,
    ) -> None:
        port = origin.port or {"http": 80, "https": 443}[origin.scheme]
        self._opener = Opener(origin.raw_host.decode("ascii"), port, family, context)
        self._authorization = authorization
        self._http: Http = http
        self._timeout_s = timeout_s
        self._cold = cold
        self._connection: _Connection | None = None
        self._cancelled = threading.Event()

    @uninterrupted
    def call(self, request: Prepared) -> tuple[Reply, Exchange]:
        """Send a request, and read the reply to its end.

        Raises
        ------
        CallFaultError
            There was no usable reply; its ``exchange`` tells what was measured until then.
        CallCancelledError
            `cancel` was called.
        """
        deadline = Deadline(self._timeout_s, self._cancelled)
        marks = Marks()
        outcome = self._attempt(request, deadline, marks)
        retried = False
        rtt_ms = self._connection.smoothed_rtt_ms if self._connection is not None else math.nan
        if _was_stale(outcome, marks, rtt_ms):
            retried = marks.send_start_ns > 0
            self.close()
            outcome = self._attempt(request, deadline, marks)
        exchange = self._measured(outcome, marks, retried)
        if self._cold or isinstance(outcome, BaseException):
            # After a failure or an interrupt, what is still on the wire must not answer the next request.
            self.close()
        if isinstance(outcome, NetworkFaultError):
            raise CallFaultError(outcome, exchange)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome, exchange

    @uninterrupted
    def connect(self) -> Opened:
        """Open the connection ahead of the first request, which goes out on it, and send nothing.

        Raises
        ------
        CallCancelledError
            `cancel` was called.
        """
        self.close()
        marks = Marks()
        fault: NetworkFaultError | None = None
        agreed = Agreed(None, None)
        try:
            connection = self._ready_connection(Deadline(self._timeout_s, self._cancelled), marks)
            try:
                connection.open()
            finally:
                agreed = connection.stream.agreed()
            connection.opened_ahead = True
        except NetworkFaultError as error:
            fault = NetworkFaultError(error.kind, error.reason)
        except BaseException:
            self.close()
            raise
        opened = Opened(self._measured(None, marks, retried=False), agreed, fault)
        if fault is not None:
            self.close()
        return opened

    def cancel(self) -> None:
        """Give up the call that another thread is waiting in, within `POLL_S`, and refuse further ones."""
        self._cancelled.set()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.stream.close()

    def _attempt(self, request: Prepared, deadline: Deadline, marks: Marks) -> Reply | BaseException:
        """Return what came of it.

        Exceptions become values here: one that travelled on would keep frames alive in which the key can be read.
        """
        try:
            connection = self._ready_connection(deadline, marks)
            failure = connection.send(request, self._authorization)
            # From here on no frame holds the key.
            reply = connection.reply(failure)
            # Also where it is this machine that was late to notice the last byte.
            return NetworkFaultError("timeout") if deadline.was_missed(marks.last_byte_ns) else reply
        except BaseException as outcome:
            return _bare(outcome)

    def _ready_connection(self, deadline: Deadline, marks: Marks) -> _Connection:
        connection = self._connection
        if connection is not None:
            connection.stream.begin(deadline, marks)
            if connection.opened_ahead or connection.is_reusable():
                marks.begin_attempt(reused=True)
                # A connection opened ahead has served no request, so it is not "reused"; a lost call goes out once.
                marks.reused = not connection.opened_ahead
                return connection
            self.close()
        marks.begin_attempt(reused=False)
        self._connection = connection = _Connection(self._opener, self._http)
        connection.stream.begin(deadline, marks)
        return connection

    def _measured(self, outcome: object, marks: Marks, retried: bool) -> Exchange:
        reply = outcome if isinstance(outcome, Reply) else None
        marks.complete = reply is not None
        now_ns = marks.start()
        connection = self._connection
        rtt_ms, retransmits = connection.kernel_view(now_ns) if connection else (math.nan, None)
        return Exchange(
            started_ns=marks.started_ns,
            timestamp_ns=marks.timestamp_ns,
            duration_ms=marks.duration_ms(),
            phases=marks.phases(),
            reused=marks.reused,
            retried=retried,
            http_version=reply.http_version if reply else None,
            peer=connection.stream.peer if connection else None,
            tls_version=connection.stream.tls_version if connection else None,
            tcp_rtt_ms=rtt_ms,
            tcp_retransmits=retransmits,
        )


_Driver = Http1Connection | Http2Connection


class _Connection:
    """One connection, and what it has told so far."""

    def __init__(self, opener: Opener, http: Http) -> None:
        self.stream = stream = TimedStream(opener)
        # By the server's answer to ALPN; None where it chose nothing, or there is no TLS.
        self._drivers: dict[str | None, _Driver] = {}
        if http == "2":
            self._drivers["h2" if opener.context else None] = Http2Connection(stream)
        else:
            self._drivers["http/1.1"] = self._drivers[None] = Http1Connection(stream)
            if http == "auto" and opener.context:
                self._drivers["h2"] = Http2Connection(stream)
        self._driver: _Driver | None = None
        self._viewed_ns = 0
        self._rtt_ms = math.nan
        self.smoothed_rtt_ms = math.nan
        """How long the peer usually takes to be heard of, when it was asked last."""
        self._retransmits = 0
        self._no_retransmits: int | None = 0
        self.opened_ahead = False
        """Whether it is open, and has served no request yet."""

    def open(self) -> _Driver:
        """Open the connection unless it is open, and return what speaks the version that the server chose."""
        if self._driver is None:
            self.stream.open()
            self._driver = self._drivers.get(self.stream.alpn)
            if self._driver is None:
                raise NetworkFaultError("protocol", "the server does not offer HTTP/2")
        return self._driver

    def is_reusable(self) -> bool:
        """Tell whether a further request may be sent."""
        # Frees the driver that was not chosen; in `open` this would take time between the handshake and the request.
        self._drivers.clear()
        return self._driver is not None and self._driver.is_reusable()

    def send(self, request: Prepared, authorization: Callable[[], bytes] | None) -> str:
        """Send the request, and return why it could not be sent, or nothing."""
        self.opened_ahead = False
        if self._driver is not None:
            return self.stream.send(_serialised(self._driver, request, authorization)())
        # For each version that the server may choose, before connecting: serialising must not take time between phases.
        ready = {driver: _serialised(driver, request, authorization) for driver in set(self._drivers.values())}
        return self.stream.send(ready[self.open()]())

    def reply(self, failure: str) -> Reply:
        """Read the whole reply."""
        assert self._driver is not None
        return self._driver.reply(failure)

    def kernel_view(self, now_ns: int) -> tuple[float, int | None]:
        """Return the kernel's round-trip time, and the retransmits since it was asked before.

        Asking costs a twentieth of a fast ping. So it is not asked again within a few milliseconds, in which its least
        time says nothing new; a call of which a segment was sent again takes longer than that.
        """
        if now_ns - self._viewed_ns < _VIEW_EVERY_NS:
            return self._rtt_ms, self._no_retransmits
        self._viewed_ns = now_ns
        info = self.stream.tcp_info()
        if info is None:
            self._no_retransmits = None
            return math.nan, None
        self._rtt_ms, self.smoothed_rtt_ms = info.rtt_ms, info.smoothed_rtt_ms
        before, self._retransmits = self._retransmits, info.total_retransmits
        return info.rtt_ms, info.total_retransmits - before


def _serialised(driver: _Driver, request: Prepared, authorization: Callable[[], bytes] | None) -> Callable[[], bytes]:
    """Return what gives the request's bytes: no local variable holds the key while the connection is being opened."""
    sent = driver.request(request, authorization() if authorization is not None else None)
    return lambda: sent


def _bare(exception: BaseException) -> BaseException:
    exception.__cause__ = exception.__context__ = None
    return exception.with_traceback(None)


def _was_stale(outcome: object, marks: Marks, rtt_ms: float) -> bool:
    """Tell whether a kept connection was closed just as we sent.

    Then, and only then, the request may go out once more, on a new one: no reply was seen, and a GET is idempotent
    (RFC 9110, 9.2.2). Where the loss is heard of much later than a round trip takes, the server had the request, and
    that it gave no answer is what there is to report.
    """
    if not isinstance(outcome, NetworkFaultError) or outcome.kind != "connection_lost":
        return False
    if not marks.reused or marks.first_byte_ns:
        return False
    if outcome.unprocessed:
        # Then it does not matter how late that is heard of (RFC 9113, 8.7).
        return True
    heard_after_ms = (time.perf_counter_ns() - marks.send_start_ns) / 1e6 if marks.send_start_ns else 0.0
    longest_ms = _UNKNOWN_RTT_MS if math.isnan(rtt_ms) else max(_SHORT_RTT_MS, 3 * rtt_ms)
    return heard_after_ms <= longest_ms
