"""One exchange: its request and reply, its deadline and timestamps, and the faults of the network by name."""

from __future__ import annotations

import math
import re
import ssl
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from donutwork_magics.errors import Kind
from donutwork_magics.interrupts import Stop, interruption

if TYPE_CHECKING:
    # The shell names its faults, and loads the extension without httpx.
    import httpx

POLL_S: Final = 0.1
"""The longest wait that cannot be woken from outside: an interrupt is noticed within this time."""
MAX_BODY_BYTES: Final = 64 * 1024
"""The documented replies have about a hundred bytes. A much larger one is not the API's, and is not read to its end."""
MAX_HEAD_BYTES: Final = 100 * 1024
"""More than any server sends before a body."""

TOO_LARGE: Final = f"more than {MAX_BODY_BYTES // 1024} KiB"
INVALID: Final = "not valid HTTP"
NOT_OFFERED: Final = "the server does not offer this version of HTTP"
CUT_OFF: Final = "closed before the reply was complete"

Header = tuple[bytes, bytes]

_NAME: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NOT_IN_A_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class NetworkFaultError(Exception):
    """A call ended without a usable reply, before ssl, httptools, h2 or httpx give that a name of theirs.

    The reason is a few words of ours, or of the operating system or OpenSSL; never text that the server sent. With
    `unprocessed`, the server itself said that it did nothing with the request.
    """

    def __init__(self, kind: Kind, reason: str = "", *, unprocessed: bool = False) -> None:
        super().__init__(kind, reason)
        self.kind: Kind = kind
        self.reason = reason
        self.unprocessed = unprocessed


class CallCancelledError(Exception):
    """The call was cancelled by this process: it has no outcome, and makes no row."""


def os_reason(error: OSError) -> str:
    """Say an error of the operating system or of OpenSSL in its own words, without what Python adds to some."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "bad record").replace("_", " ").lower()
    return (error.strerror or type(error).__name__).strip()


class Deadline:
    """One total deadline from now, looked at before every blocking step.

    The timeouts of httpx and of sockets are for one operation. A server that sends a byte now and then never exceeds
    them. Another thread cancels the call by `cancelled`; a signal whose handler raises cancels it, too.
    """

    __slots__ = ("_at_ns", "_stops")

    def __init__(self, timeout_s: float, cancelled: threading.Event) -> None:
        self._at_ns = time.perf_counter_ns() + int(timeout_s * 1e9)
        self._stops: tuple[Stop, Stop] = (cancelled, interruption())

    def was_missed(self, moment_ns: int) -> bool:
        """Tell whether a moment of `time.perf_counter_ns` was too late."""
        return moment_ns > self._at_ns

    def remaining_s(self) -> float:
        """Return how many seconds are left, always more than 0.

        Raises
        ------
        CallCancelledError, NetworkFaultError
            The call was cancelled; ``timeout``: nothing is left.
        """
        for stop in self._stops:
            if stop.is_set():
                raise CallCancelledError
        remaining_ns = self._at_ns - time.perf_counter_ns()
        if remaining_ns <= 0:
            raise NetworkFaultError("timeout")
        return remaining_ns / 1e9


class Phases(NamedTuple):
    """The phases of one call, in milliseconds.

    A phase is 0 where it did not happen (a reused connection), and NaN where it was not completed. The wait for the
    first byte begins when the kernel is given the last byte of the request. So all of the server's time is in it, also
    where the server answers before that system call returns.
    """

    dns_ms: float
    connect_ms: float
    tls_ms: float
    send_ms: float
    ttfb_ms: float
    receive_ms: float


class Timestamps:
    """Moments of `time.perf_counter_ns`, noted as the bytes pass; 0 where not reached.

    The phases of opening a connection are kept as durations, since two of them may not happen.
    """

    def __init__(self) -> None:
        self.started_ns = 0
        self.timestamp_ns = 0
        self.begin_attempt(reused=False)

    def begin_attempt(self, *, reused: bool) -> None:
        """Begin without phases, also after another attempt; the start of the call stays."""
        self.reused = reused
        self.dns_ms = self.connect_ms = self.tls_ms = 0.0 if reused else math.nan
        self.send_start_ns = self.send_end_ns = self.first_byte_ns = self.last_byte_ns = 0

    def start(self) -> int:
        """Return now; the first time, it is the start of the call."""
        if not self.started_ns:
            self.timestamp_ns = time.time_ns()
            self.started_ns = time.perf_counter_ns()
            return self.started_ns
        return time.perf_counter_ns()

    def phases(self, *, complete: bool) -> Phases:
        """Compute the phases of a reply, or of what came before a failure."""
        sent_ns, first_ns = self.send_end_ns, self.first_byte_ns
        return Phases(
            self.dns_ms,
            self.connect_ms,
            self.tls_ms,
            (sent_ns - self.send_start_ns) / 1e6 if sent_ns else math.nan,
            (first_ns - sent_ns) / 1e6 if first_ns and sent_ns else math.nan,
            (self.last_byte_ns - first_ns) / 1e6 if complete else math.nan,
        )


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
    """The call went out on a connection that had served another one."""
    retried: bool
    """A kept connection turned out to be closed, and the request was sent once more; the phases are the second's."""
    http_version: str | None
    peer: str | None
    tls_version: str | None
    tcp_rtt_ms: float
    tcp_retransmits: int | None
    """Segments sent again since the kernel was last asked: during this call, or also in the few milliseconds before."""


class Prepared(NamedTuple):
    """A request, serialised up to where the key goes."""

    http1: bytes
    """As HTTP/1.1 writes it; another header may follow."""
    http2: tuple[Header, ...]
    """The fields of HTTP/2; another one may follow."""


def prepare(request: httpx.Request) -> Prepared:
    """Serialise a request without a body, once for all calls that send it.

    Raises
    ------
    ValueError
        The name or the value of a header is not allowed in HTTP.
    """
    headers = tuple((name, value.strip()) for name, value in request.headers.raw)
    method, target = request.method.encode("ascii"), request.url.raw_path
    if not all(_NAME.fullmatch(name) and not _NOT_IN_A_VALUE.search(value) for name, value in headers):
        raise ValueError("a header that cannot be sent")
    lines = [method + b" " + target + b" HTTP/1.1", *(name + b": " + value for name, value in headers)]
    pseudo = (
        (b":method", method),
        (b":authority", next(value for name, value in headers if name.lower() == b"host")),
        (b":scheme", request.url.raw_scheme),
        (b":path", target),
    )
    others = tuple((name.lower(), value) for name, value in headers if name.lower() != b"host")
    return Prepared(b"\r\n".join([*lines, b""]), (*pseudo, *others))


class Reply(NamedTuple):
    """A whole reply."""

    status: int
    headers: Sequence[Header]
    body: bytes
    http_version: str
    """``1.0``, ``1.1`` or ``2``."""

    def header(self, name: bytes) -> str | None:
        """Return the first value of a header by its lower-case name."""
        return next((value.decode("latin-1") for present, value in self.headers if present.lower() == name), None)


def checked(reply: Reply, *, delimited: bool) -> Reply:
    """Refuse the body of a 200 that may be cut off or is compressed, as ``invalid_body``; no other body is needed.

    Where the end of the body was not marked (`delimited`), a lost connection looks like a whole reply.
    """
    # A compressed body was not asked for, and could decompress to any size.
    coding = reply.header(b"content-encoding")
    encoded = coding is not None and coding.strip().lower() not in {"", "identity"}
    if reply.status != HTTPStatus.OK:
        return reply._replace(body=b"") if encoded else reply
    if encoded:
        raise NetworkFaultError("invalid_body", "encoded in a way that was not asked for")
    if not delimited:
        raise NetworkFaultError("invalid_body", "it may be cut off, as it has no length")
    return reply


class Driver(Protocol):
    """Speaks one version of HTTP on one connection, one request at a time, and does no I/O (sans-io.readthedocs.io).

    The connection reads all that has arrived before it lets the driver parse: no phase of a call contains parsing. So
    each piece that arrives is only kept (`receive`), and is parsed (`parse`) once no further one is to be waited for.
    """

    @property
    def lull_s(self) -> float:
        """How long a further piece is waited for before those that were received are parsed."""

    @property
    def first_byte_ns(self) -> int:
        """When the first byte of the current reply was received; 0 before."""

    def request(self, prepared: Prepared, authorization: bytes | None) -> bytes:
        """Begin a call, and return what is to be sent.

        Raises
        ------
        NetworkFaultError
            ``connection_lost``: the server takes no more requests on this connection.
        """

    def receive(self, data: bytes, now_ns: int) -> bool:
        """Keep a piece that has arrived, and tell whether a further one is to be waited for."""

    def parse(self, *, ended: bool) -> Reply | None:
        """Parse what was received, and return the reply once it is whole.

        With `ended`, the server has closed the connection in good order.

        Raises
        ------
        NetworkFaultError
            There will be no valid reply.
        """

    def to_send(self) -> bytes:
        """Return what the protocol itself has to send after `parse`, such as acknowledgements."""

    def is_reusable(self, idle: bytes) -> bool:
        """Tell whether a further request may be sent, given what has arrived since the last reply."""
