"""Calls to one origin over one connection, with every phase timed and one deadline for all of them."""

from __future__ import annotations

import math
import os
import socket
import ssl
import threading
import time
from typing import NamedTuple

import httpx

from donutwork_magics.interrupts import uninterrupted
from donutwork_magics.network.connection import Authorization, Connection
from donutwork_magics.network.exchange import (
    Deadline,
    Driver,
    Exchange,
    NetworkFaultError,
    Prepared,
    Reply,
    Timestamps,
)
from donutwork_magics.network.http1 import Http1
from donutwork_magics.network.http2 import Http2
from donutwork_magics.types import Http

_SHORT_RTT_MS = 100.0
"""A container that has used up its share of the processors stands still for up to this long."""
_UNKNOWN_RTT_MS = 500.0


class Opened(NamedTuple):
    """The outcome of opening a connection ahead of its first request."""

    exchange: Exchange
    """Of its phases only `dns_ms`, `connect_ms` and `tls_ms` are reached."""
    alpn: str | None
    """The protocol that the server chose in the TLS handshake (RFC 7301); None where it chose none."""
    certificate_ends_s: float | None
    """When the server's certificate ends, since the epoch; None where there is no TLS."""
    fault: NetworkFaultError | None
    """Why there is no connection. It holds no frames."""


class Caller:
    """Sends each request on its one connection and times it. It serves one thread at a time.

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
    family, timeout_s, cold
        As for `donutwork_magics.Client`; the family by its number.
    """

    def __init__(
        self,
        origin: httpx.URL,
        authorization: Authorization = None,
        *,
        context: ssl.SSLContext | None = None,
        http: Http = "auto",
        family: socket.AddressFamily = socket.AF_UNSPEC,
        timeout_s: float = 10.0,
        cold: bool = False,
    ) -> None:
        self._host = origin.raw_host.decode("ascii")
        self._port = origin.port or {"http": 80, "https": 443}[origin.scheme]
        self._family = family
        self._context = context
        self._authorization = authorization
        self._http: Http = http
        self._timeout_s = timeout_s
        self._cold = cold
        self._connection: Connection | None = None
        self._owner = os.getpid()
        """The process that has opened it."""
        self._cancelled = threading.Event()

    @uninterrupted
    def call(self, request: Prepared) -> tuple[Reply | NetworkFaultError, Exchange]:
        """Send a request, and return the whole reply, or why there is none; the fault holds no frames.

        Raises
        ------
        CallCancelledError
            `cancel` was called.
        """
        deadline = Deadline(self._timeout_s, self._cancelled)
        timestamps = Timestamps()
        outcome = self._attempt(request, deadline, timestamps)
        retried = False
        if self._was_stale(outcome, timestamps):
            retried = timestamps.send_start_ns > 0
            self.close()
            outcome = self._attempt(request, deadline, timestamps)
        exchange = self._measured(outcome, timestamps, retried)
        if self._cold or isinstance(outcome, BaseException):
            # After a failure or an interrupt, a late reply must not be taken for that of the next request.
            self.close()
        if isinstance(outcome, (Reply, NetworkFaultError)):
            return outcome, exchange
        assert outcome is not None
        raise outcome

    @uninterrupted
    def connect(self) -> Opened:
        """Open the connection for the next request, and send nothing.

        Raises
        ------
        CallCancelledError
            `cancel` was called.
        """
        self.close()
        timestamps = Timestamps()
        outcome = self._attempt(None, Deadline(self._timeout_s, self._cancelled), timestamps)
        exchange = self._measured(None, timestamps, retried=False)
        connection = self._connection
        assert connection is not None
        alpn, certificate_ends_s = connection.alpn, connection.certificate_ends_s
        if outcome is not None:
            self.close()
        if outcome is None or isinstance(outcome, NetworkFaultError):
            return Opened(exchange, alpn, certificate_ends_s, outcome)
        assert isinstance(outcome, BaseException)
        raise outcome

    def cancel(self) -> None:
        """Cancel the call that another thread is waiting in, within `POLL_S`, and refuse further ones."""
        self._cancelled.set()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _attempt(
        self, request: Prepared | None, deadline: Deadline, timestamps: Timestamps
    ) -> Reply | BaseException | None:
        """Send the request once, or open a connection for it; return the reply or the exception.

        An exception that is raised further would keep frames alive in which the key can be read.
        """
        try:
            connection = self._ready_connection(deadline, timestamps)
            if request is None:
                connection.open()
                return None
            failure = connection.send(request, self._authorization)
            # From here on no frame holds the key.
            reply = connection.reply(failure)
            # Also where only this machine noticed the last byte too late.
            return NetworkFaultError("timeout") if deadline.was_missed(timestamps.last_byte_ns) else reply
        except BaseException as outcome:
            outcome.__cause__ = outcome.__context__ = None
            return outcome.with_traceback(None)

    def _ready_connection(self, deadline: Deadline, timestamps: Timestamps) -> Connection:
        if self._owner != os.getpid():
            # A child process that was forked has the same socket: the two would read each other's replies.
            self.close()
        connection = self._connection
        if connection is not None:
            timestamps.begin_attempt(reused=True)
            connection.deadline, connection.timestamps = deadline, timestamps
            if not connection.has_served or connection.is_reusable():
                # A connection opened ahead has served no request, so it is not "reused", and is never stale.
                timestamps.reused = connection.has_served
                return connection
            self.close()
        timestamps.begin_attempt(reused=False)
        self._owner = os.getpid()
        self._connection = connection = Connection(self._host, self._port, self._family, self._context, self._drivers())
        connection.deadline, connection.timestamps = deadline, timestamps
        return connection

    def _drivers(self) -> dict[str | None, Driver]:
        """Make the drivers of a new connection, by the server's answer to ALPN."""
        encrypted = self._context is not None
        if self._http == "2":
            return {"h2" if encrypted else None: Http2()}
        http1 = Http1()
        drivers: dict[str | None, Driver] = {"http/1.1": http1, None: http1}
        if self._http == "auto" and encrypted:
            drivers["h2"] = Http2()
        return drivers

    def _measured(self, outcome: object, timestamps: Timestamps, retried: bool) -> Exchange:
        reply = outcome if isinstance(outcome, Reply) else None
        now_ns = timestamps.start()
        connection = self._connection
        rtt_ms, retransmits = connection.kernel_view(now_ns) if connection else (math.nan, None)
        return Exchange(
            started_ns=timestamps.started_ns,
            timestamp_ns=timestamps.timestamp_ns,
            duration_ms=((timestamps.last_byte_ns if reply else now_ns) - timestamps.started_ns) / 1e6,
            phases=timestamps.phases(complete=reply is not None),
            reused=timestamps.reused,
            retried=retried,
            http_version=reply.http_version if reply else None,
            peer=connection.peer if connection else None,
            tls_version=connection.tls_version if connection else None,
            tcp_rtt_ms=rtt_ms,
            tcp_retransmits=retransmits,
        )

    def _was_stale(self, outcome: object, timestamps: Timestamps) -> bool:
        """Tell whether the server closed a kept connection just as the request was sent.

        Only then the request is sent once more, on a new connection: no reply was seen, and a GET is idempotent (RFC
        9110, 9.2.2). Where the loss is noticed much later than a round trip takes, the server had the request. Then its
        lack of an answer is the outcome.
        """
        if not isinstance(outcome, NetworkFaultError) or outcome.kind != "connection_lost":
            return False
        if not timestamps.reused or timestamps.first_byte_ns:
            return False
        # The server did not begin with it, however late that is noticed (RFC 9113, 8.7); or nothing was sent.
        if outcome.unprocessed or not timestamps.send_start_ns:
            return True
        known = self._connection.tcp_info if self._connection is not None else None
        longest_ms = _UNKNOWN_RTT_MS if known is None else max(_SHORT_RTT_MS, 3 * known.smoothed_rtt_ms)
        return (time.perf_counter_ns() - timestamps.send_start_ns) / 1e6 <= longest_ms
