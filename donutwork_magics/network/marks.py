"""The moments of one call, and the phases between them."""

from __future__ import annotations

import math
import time
from typing import Final, NamedTuple

_NOT_REACHED: Final = math.nan


class Phases(NamedTuple):
    """Where the time of one call went, in milliseconds.

    A phase is 0 where it did not happen (a reused connection), and NaN where it was not completed. The wait for the
    first byte begins as the last byte of the request is given to the kernel: so it holds all of the server's time, also
    where the server answers before that call returns.
    """

    dns_ms: float
    connect_ms: float
    tls_ms: float
    send_ms: float
    ttfb_ms: float
    receive_ms: float


class Marks:
    """Moments on the monotonic clock (`time.perf_counter_ns`), written down as the bytes pass; 0 where not reached.

    The connection's phases are kept as durations, since two of them may not happen.
    """

    __slots__ = (
        "complete",
        "connect_ns",
        "dns_ns",
        "first_byte_ns",
        "last_byte_ns",
        "reused",
        "send_end_ns",
        "send_start_ns",
        "started_ns",
        "timestamp_ns",
        "tls_ns",
    )

    def __init__(self) -> None:
        self.started_ns = 0
        self.timestamp_ns = 0
        self.complete = False
        self.begin_attempt(reused=True)

    def begin_attempt(self, *, reused: bool) -> None:
        """Forget the phases of the attempt before; the start of the call stays."""
        self.reused = reused
        unreached = 0 if reused else None
        self.dns_ns: int | None = unreached
        self.connect_ns: int | None = unreached
        self.tls_ns: int | None = unreached
        self.send_start_ns = 0
        self.send_end_ns = 0
        self.first_byte_ns = 0
        self.last_byte_ns = 0

    def start(self) -> int:
        """Return now, and take it as the start of the call unless it has one."""
        if not self.started_ns:
            self.timestamp_ns = time.time_ns()
            self.started_ns = time.perf_counter_ns()
            return self.started_ns
        return time.perf_counter_ns()

    def phases(self) -> Phases:
        """Compute the phases from the moments."""
        sent_ns, first_ns = self.send_end_ns, self.first_byte_ns
        return Phases(
            _NOT_REACHED if self.dns_ns is None else self.dns_ns / 1e6,
            _NOT_REACHED if self.connect_ns is None else self.connect_ns / 1e6,
            _NOT_REACHED if self.tls_ns is None else self.tls_ns / 1e6,
            (sent_ns - self.send_start_ns) / 1e6 if sent_ns else _NOT_REACHED,
            (first_ns - sent_ns) / 1e6 if first_ns and sent_ns else _NOT_REACHED,
            (self.last_byte_ns - first_ns) / 1e6 if self.complete else _NOT_REACHED,
        )

    def duration_ms(self) -> float:
        """Compute the time from the start to the last byte, or to now where the reply is not complete."""
        end_ns = self.last_byte_ns if self.complete else time.perf_counter_ns()
        return (end_ns - self.started_ns) / 1e6
