"""The clock of one call: its deadline, the moments at which bytes pass, and the phases between them."""

from __future__ import annotations

import math
import threading
import time
from typing import Final, NamedTuple

from donutwork_magics.interrupts import Stop, interruption
from donutwork_magics.network.faults import CallCancelledError, NetworkFaultError

POLL_S: Final = 0.1
"""The longest wait that cannot be woken from outside: an interrupt is noticed within this time."""
_NOT_REACHED: Final = math.nan


class Deadline:
    """One total deadline, looked at before every blocking step.

    The timeouts of httpx and of sockets are for one operation. A server that sends a byte now and then never exceeds
    them.

    Parameters
    ----------
    timeout_s
        Seconds from now.
    cancelled
        Set from another thread to cancel the call. A signal whose handler raises cancels it, too.
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
        CallCancelledError
            The call was cancelled.
        NetworkFaultError
            ``timeout``: nothing is left.
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
        """Return now; the first time, it is the start of the call."""
        if not self.started_ns:
            self.timestamp_ns = time.time_ns()
            self.started_ns = time.perf_counter_ns()
            return self.started_ns
        return time.perf_counter_ns()

    def phases(self) -> Phases:
        """Compute the phases."""
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
