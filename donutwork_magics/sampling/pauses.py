"""Times in which a run was held up from outside: rests that the server asked for, and pauses of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from donutwork_magics.interrupts import start_thread

MOST_PAUSES: Final = 20
"""A watch may have many in a week: the first ones are kept, and all are counted."""

MACHINE_PAUSE_MS: Final = 100.0
"""A thread that woke up so late tells of a pause of this machine: usual are 0.2 ms, and 5 ms beside a busy kernel."""
_BEAT_NS: Final = 50_000_000
"""The beginning of a pause is known to within this time."""


@dataclass(slots=True)
class Pauses:
    """Pauses of one kind, in seconds since the run began."""

    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0
    first: list[tuple[float, float]] = field(default_factory=list)
    """When each of the first ones began, and how long it was."""

    def add(self, at_s: float, pause_s: float) -> None:
        """Count one more."""
        self.count += 1
        self.total_s += pause_s
        self.longest_s = max(self.longest_s, pause_s)
        if len(self.first) < MOST_PAUSES:
            self.first.append((at_s, pause_s))

    def as_attrs(self) -> dict[str, Any]:
        """Return them as a small dict of plain values."""
        return {
            "count": self.count,
            "total_s": self.total_s,
            "longest_s": self.longest_s,
            "first": [list(pause) for pause in self.first],
        }


class Pulse:
    """Looks for pauses of this machine while pings are taken; a context manager.

    A process that was stopped, a suspend, and code that keeps the interpreter lock have one thing in common: a thread
    that only sleeps wakes up late. So does a worker, but it may be waiting for a reply, or for another worker.

    Parameters
    ----------
    paused
        Called with the beginning and the end of each pause, on the monotonic clock, from a thread of its own.
    """

    def __init__(self, paused: Callable[[int, int], None]) -> None:
        self._paused = paused
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="donutwork-pulse", daemon=True)

    def __enter__(self) -> Self:
        start_thread(self._thread)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _beat(self) -> None:
        now_ns = time.perf_counter_ns()
        stopped = False
        while not stopped:
            # From the beat before: a pause may also begin while the last one is reported.
            due_ns = now_ns + _BEAT_NS
            stopped = self._stopped.wait(_BEAT_NS / 1e9)
            now_ns = time.perf_counter_ns()
            if now_ns - due_ns >= MACHINE_PAUSE_MS * 1e6:
                self._paused(due_ns, now_ns)
