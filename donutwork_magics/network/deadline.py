"""How long a call may still take, from name resolution to the last byte, and whether anybody still wants it."""

from __future__ import annotations

import threading
import time

from donutwork_magics.interrupts import Stop, interruption
from donutwork_magics.network.faults import CallCancelledError, NetworkFaultError

POLL_S = 0.1
"""The longest wait that cannot be woken from outside: an interrupt is noticed within this time."""


class Deadline:
    """One total deadline, asked before every blocking step.

    httpx has a time-out per operation only, which a server that sends a byte now and then never exceeds.

    Parameters
    ----------
    timeout_s
        Seconds from now.
    cancelled
        Set from another thread to give the call up. So does a signal whose handler raises.
    """

    __slots__ = ("_at_ns", "_given_up")

    def __init__(self, timeout_s: float, cancelled: threading.Event) -> None:
        self._at_ns = time.perf_counter_ns() + int(timeout_s * 1e9)
        self._given_up: tuple[Stop, Stop] = (cancelled, interruption())

    def was_missed(self, moment_ns: int) -> bool:
        """Tell whether a moment of `time.perf_counter_ns` was too late."""
        return moment_ns > self._at_ns

    def remaining_s(self) -> float:
        """Seconds that are left, always above 0.

        Raises
        ------
        CallCancelledError
            The call was given up.
        NetworkFaultError
            ``timeout``: nothing is left.
        """
        for stop in self._given_up:
            if stop.is_set():
                raise CallCancelledError
        remaining_ns = self._at_ns - time.perf_counter_ns()
        if remaining_ns <= 0:
            raise NetworkFaultError("timeout")
        return remaining_ns / 1e9
