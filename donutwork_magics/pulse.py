"""Pauses of this machine: a thread that only sleeps wakes up late, and so tells of them."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from donutwork_magics.errors import OutOfThreadsError
from donutwork_magics.interrupts import start_thread

MACHINE_PAUSE_MS: Final = 100.0
"""A thread that woke up so late tells of a pause of this machine: usual are 0.2 ms, and 5 ms beside a busy kernel."""
_BEAT_NS: Final = 50_000_000
"""The beginning of a pause is known to within this time."""


@contextlib.contextmanager
def pulse(paused: Callable[[int, int], None]) -> Iterator[None]:
    """Look for pauses of this machine until the block is left.

    A process that was stopped, a suspend, and code that keeps the interpreter lock have one thing in common: a thread
    that only sleeps wakes up late. So does a worker, but it may be waiting for a reply, or for another worker.

    Parameters
    ----------
    paused
        Called with the beginning and the end of each pause, on the monotonic clock, from a thread of its own.
    """
    ended = threading.Event()

    def beat() -> None:
        now_ns = time.perf_counter_ns()
        is_last = False
        while not is_last:
            # From the beat before: a pause may also begin while the last one is reported.
            due_ns = now_ns + _BEAT_NS
            is_last = ended.wait(_BEAT_NS / 1e9)
            now_ns = time.perf_counter_ns()
            if now_ns - due_ns >= MACHINE_PAUSE_MS * 1e6:
                paused(due_ns, now_ns)

    beating = threading.Thread(target=beat, name="donutwork-pulse", daemon=True)
    start_thread(beating)
    try:
        yield
    finally:
        ended.set()
        beating.join()


class Stillness:
    """A block of single calls, after which one can ask for how long this machine stood still during each.

    Its thread begins before the first call and ends after the last one, so that no phase of a call contains either.
    Where the system gives no further thread, the calls are made all the same, and nothing is known of pauses.
    """

    def __init__(self) -> None:
        self._pauses: list[tuple[int, int]] = []
        self._is_known = True
        self._pulse = contextlib.ExitStack()

    def __enter__(self) -> Stillness:
        try:
            self._pulse.enter_context(pulse(lambda from_ns, until_ns: self._pauses.append((from_ns, until_ns))))
        except OutOfThreadsError:
            self._is_known = False
        return self

    def __exit__(self, *_exception: object) -> None:
        self._pulse.close()

    def paused_ms(self, started_ns: int, duration_ms: float) -> float:
        """Compute how much of a time on the monotonic clock this machine stood still; NaN where that is not known."""
        ended_ns = started_ns + int(duration_ms * 1e6)
        overlaps_ns = (min(until_ns, ended_ns) - max(from_ns, started_ns) for from_ns, until_ns in self._pauses)
        return sum(max(0, overlap_ns) for overlap_ns in overlaps_ns) / 1e6 if self._is_known else math.nan
