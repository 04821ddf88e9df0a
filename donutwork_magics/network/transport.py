"""The httpx transport of one connection to one origin, with every phase timed and one deadline for all of them."""

from __future__ import annotations

import math
import socket
import ssl
import threading
from collections.abc import Callable
from typing import NamedTuple

import h2.events
import httpcore
import httpx

from donutwork_magics.network.deadline import Deadline
from donutwork_magics.network.faults import CallCancelledError, NetworkFaultError, os_reason
from donutwork_magics.network.marks import Marks, Phases
from donutwork_magics.network.opener import Opener
from donutwork_magics.network.quiet import quiet
from donutwork_magics.network.stream import Agreed, Http2ChosenError, TimedStream
from donutwork_magics.network.tls import Http

MAX_BODY_BYTES = 64 * 1024
"""The documented replies have about a hundred bytes: what is much larger is not the API, and is not read to its end."""

EXCHANGE = "donutwork.exchange"
"""Where `httpx.Response.extensions` holds the `Exchange`."""


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
    """Segments sent again during this call."""


class Opened(NamedTuple):
    """What came of opening a connection ahead of its first request."""

    exchange: Exchange
    """Of its phases only `dns_ms`, `connect_ms` and `tls_ms` are reached."""
    agreed: Agreed
    fault: NetworkFaultError | None = None
    """Why there is no connection; never raised, so it holds no frames."""


class TransportFaultError(NetworkFaultError):
    """A `NetworkFaultError` with what was measured until then."""

    def __init__(self, fault: NetworkFaultError, exchange: Exchange) -> None:
        super().__init__(fault.kind, fault.reason)
        self.exchange = exchange


class TimedTransport(httpx.BaseTransport):
    """Sends each request on its one connection and times it; each worker has a transport of its own.

    The key goes on in here, and for this origin only: no `httpx.Request` ever holds it.

    Parameters
    ----------
    origin
        Scheme, host and port; requests to any other are refused.
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
        self._origin = httpcore.Origin(origin.raw_scheme, origin.raw_host, port)
        self._opener = Opener(origin.raw_host.decode("ascii"), port, family, context)
        self._authorization = authorization
        self._http: Http = http
        self._timeout_s = timeout_s
        self._cold = cold
        self._connection: _Connection | None = None
        self._cancelled = threading.Event()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request that has no body, and read the reply to its end.

        Returns
        -------
        httpx.Response
            With its whole body (at most `MAX_BODY_BYTES`) and the `Exchange` in ``extensions[EXCHANGE]``.

        Raises
        ------
        TransportFaultError
            There was no usable reply; its ``exchange`` tells what was measured until then.
        CallCancelledError
            `cancel` was called.
        """
        deadline = Deadline(self._timeout_s, self._cancelled)
        marks = Marks()
        outcome = self._attempt(request, deadline, marks)
        retried = _was_stale(outcome, marks)
        if retried:
            outcome = self._attempt(request, deadline, marks)
        exchange = self._measured(outcome, marks, retried)
        if self._cold or isinstance(outcome, BaseException):
            # After a failure or an interrupt, what is still on the wire must not answer the next request.
            self.close()
        if isinstance(outcome, NetworkFaultError):
            raise TransportFaultError(outcome, exchange)
        if isinstance(outcome, BaseException):
            raise outcome
        outcome.extensions[EXCHANGE] = exchange
        return outcome

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
                connection.open_ahead()
            finally:
                agreed = connection.stream.agreed()
        except NetworkFaultError as error:
            fault = NetworkFaultError(error.kind, error.reason)
        except OSError as error:
            fault = NetworkFaultError("connection_lost", os_reason(error))
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

    def _attempt(self, request: httpx.Request, deadline: Deadline, marks: Marks) -> httpx.Response | BaseException:
        """Return what came of it.

        Exceptions become values here: one that travelled on would keep frames alive in which the key can be read.
        """
        try:
            with quiet():
                # Before the connection is opened, so that it does not stand between the handshake and the request.
                prepared = self._with_key(request)
                return self._ready_connection(deadline, marks).exchange(prepared, marks)
        except (NetworkFaultError, CallCancelledError) as outcome:
            return _bare(outcome)
        except httpcore.NetworkError as error:
            return NetworkFaultError("connection_lost", str(error))
        except httpcore.ConnectionNotAvailable:
            return NetworkFaultError("connection_lost", "closed by the server")
        except httpcore.RemoteProtocolError as error:
            return self._protocol_fault(error)
        except Exception as error:
            # h2 and hpack raise exceptions of their own on hostile input; none of them may reach the user.
            return NetworkFaultError("protocol", type(error).__name__)
        except BaseException as interrupt:
            return _bare(interrupt)

    def _protocol_fault(self, error: httpcore.RemoteProtocolError) -> NetworkFaultError:
        goaway = bool(error.args) and isinstance(error.args[0], h2.events.ConnectionTerminated)
        if goaway or (self._connection is not None and self._connection.stream.ended):
            return NetworkFaultError("connection_lost", "closed before the reply was complete")
        return NetworkFaultError("protocol", "not valid HTTP")

    def _ready_connection(self, deadline: Deadline, marks: Marks) -> _Connection:
        connection = self._connection
        if connection is not None and (
            connection.opened_ahead or (connection.http.is_idle() and not connection.http.has_expired())
        ):
            marks.begin_attempt(reused=True)
            # Nothing was kept where nothing was served: a request that is lost here goes out once only.
            marks.reused = not connection.opened_ahead
            connection.stream.begin(deadline, marks)
            return connection
        self.close()
        marks.begin_attempt(reused=False)
        stream = TimedStream(self._opener, http2=self._http == "2")
        stream.begin(deadline, marks)
        self._connection = _Connection(stream, self._origin)
        return self._connection

    def _with_key(self, request: httpx.Request) -> httpcore.Request:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        if url.origin != self._origin:
            raise NetworkFaultError("protocol", "a request for another origin")
        headers = request.headers.raw
        if self._authorization is not None:
            headers = [*headers, (b"Authorization", self._authorization())]
        return httpcore.Request(request.method, url, headers=headers)

    def _measured(self, outcome: object, marks: Marks, retried: bool) -> Exchange:
        marks.complete = isinstance(outcome, httpx.Response)
        marks.start()
        connection = self._connection
        rtt_ms, retransmits = connection.kernel_view() if connection else (math.nan, None)
        return Exchange(
            started_ns=marks.started_ns,
            timestamp_ns=marks.timestamp_ns,
            duration_ms=marks.duration_ms(),
            phases=marks.phases(),
            reused=marks.reused,
            retried=retried,
            http_version=_http_version(outcome),
            peer=connection.stream.peer if connection else None,
            tls_version=connection.stream.tls_version if connection else None,
            tcp_rtt_ms=rtt_ms,
            tcp_retransmits=retransmits,
        )


class _Connection:
    """One connection, and what it has told so far."""

    def __init__(self, stream: TimedStream, origin: httpcore.Origin) -> None:
        self.stream = stream
        self._origin = origin
        self._retransmits = 0
        self.opened_ahead = False
        """Whether it is open, and has served no request yet."""
        self._speak()

    def _speak(self) -> None:
        kind = httpcore.HTTP2Connection if self.stream.http2 else httpcore.HTTP11Connection
        self.http: httpcore.ConnectionInterface = kind(self._origin, self.stream)

    def open_ahead(self) -> None:
        """Open the connection before its first request."""
        self.stream.open_ahead()
        self._speak()
        self.opened_ahead = True

    def exchange(self, request: httpcore.Request, marks: Marks) -> httpx.Response:
        """Send the request and read the whole reply."""
        self.opened_ahead = False
        try:
            return self._exchange(request, marks)
        except Http2ChosenError:
            # It is HTTP/1.1 first, so that the usual request is ready to go when the handshake ends.
            self._speak()
        return self._exchange(request, marks)

    def _exchange(self, request: httpcore.Request, marks: Marks) -> httpx.Response:
        over_http2 = self.stream.http2
        try:
            response = self.http.handle_request(request)
        except BaseException:
            # Frames of the connection itself (SETTINGS, GOAWAY) are no part of a reply.
            marks.first_byte_ns = 0 if over_http2 else marks.first_byte_ns
            raise
        if over_http2:
            # For the same reason the reply begins with the read that brought its headers.
            marks.first_byte_ns = marks.last_byte_ns
        try:
            body = _read_body(response)
        finally:
            response.close()
        if self.stream.cut:
            raise NetworkFaultError("invalid_body", "cut off")
        return _plain_response(response, body)

    def kernel_view(self) -> tuple[float, int | None]:
        """Return the kernel's round-trip time, and the retransmits since it was asked before."""
        info = self.stream.tcp_info()
        if info is None:
            return math.nan, None
        before, self._retransmits = self._retransmits, info.total_retransmits
        return info.rtt_ms, info.total_retransmits - before


def _read_body(response: httpcore.Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise NetworkFaultError("too_large", f"more than {MAX_BODY_BYTES // 1024} KiB")
    return bytes(body)


def _plain_response(response: httpcore.Response, body: bytes) -> httpx.Response:
    """Make the httpx response, which would decompress a body without a limit: we never asked for a compressed one."""
    headers = [(name, value) for name, value in response.headers if name.lower() != b"content-encoding"]
    if len(headers) < len(response.headers):
        if response.status == httpx.codes.OK:
            raise NetworkFaultError("invalid_body", "encoded in a way that was not asked for")
        body = b""
    return httpx.Response(response.status, headers=headers, content=body, extensions=dict(response.extensions))


def _bare(exception: BaseException) -> BaseException:
    exception.__cause__ = exception.__context__ = None
    return exception.with_traceback(None)


def _was_stale(outcome: object, marks: Marks) -> bool:
    """Tell whether a kept connection was closed just as we sent.

    Then, and only then, the request may go out once more: no reply was seen, and a GET is idempotent (RFC 9110, 9.2.2).
    """
    return (
        isinstance(outcome, NetworkFaultError)
        and outcome.kind == "connection_lost"
        and marks.reused
        and not marks.first_byte_ns
    )


def _http_version(outcome: object) -> str | None:
    if not isinstance(outcome, httpx.Response):
        return None
    version: bytes = outcome.extensions["http_version"]
    return version.decode("ascii").removeprefix("HTTP/")
