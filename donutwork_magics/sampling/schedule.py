"""The absolute schedule that the workers of a series share: who starts which ping, and when.

Planned start k is ``k / rate`` after the first, whatever became of the ones before: a late start is not rescheduled, it
is recorded. Measuring from the planned start is what uncovers coordinated omission (G. Tene, "How NOT to measure
latency", 2013).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from donutwork_magics.sampling.manners import Manners
from donutwork_magics.sampling.plan import Plan

_MOST_PAUSES = 20
_COARSE_MARGIN_S = 0.002
_MOST_BEHIND_NS = 30_000_000_000
"""A monitor that is further behind begins anew: after an outage it would catch up for long, at many times its rate."""
_SPIN_NS = 150_000
"""A sleep overshoots by some 60 us and more: the last stretch is spun."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One ping that may start now."""

    seq: int
    scheduled_ns: int | None
    """Its planned start on the monotonic clock, or None where there is no plan."""
    woken_late_ns: int | None = None
    """How long after its time the thread that had waited for it woke up; None where it need not wait."""
    skipped: int = 0
    """How many planned starts before it were left out."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The server asked for a rest, or was given one."""

    at_s: float
    """Since the first planned start of the series, or of the run."""
    pause_s: float


@dataclass(slots=True)
class Pauses:
    """What there was of pauses: of many, as a watch may have in a week, the first only."""

    count: int = 0
    total_s: float = 0.0
    first: list[Pause] = field(default_factory=list)

    def add(self, pause: Pause) -> None:
        """Count one more."""
        self.count += 1
        self.total_s += pause.pause_s
        if len(self.first) < _MOST_PAUSES:
            self.first.append(pause)


class Schedule:
    """Hands out pings in planned order; all methods may be called from any thread.

    Parameters
    ----------
    plan
        What to do.
    loopback
        Whether the target is this machine, so that it need not be spared.
    manners
        What everything that calls the same host shares.
    """

    def __init__(self, plan: Plan, *, loopback: bool, manners: Manners) -> None:
        self._plan = plan
        self._manners = manners
        self._spared = not (loopback or plan.allow_load)
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._next_seq = 0
        self._shift_ns = 0
        self._skipped = 0
        self.origin_ns = 0
        """When the first ping was planned, on the monotonic clock."""

    def begin(self) -> None:
        """Plan the first ping for now."""
        self.origin_ns = time.perf_counter_ns()

    def stop(self) -> None:
        """Start no further ping."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def next(self) -> Slot | None:
        """Wait until a further ping may start, and return it; None where the series has come to its end."""
        # One worker waits for the next start, the others wait for their turn: else all would wake up for each ping.
        waited = False
        with self._turn:
            while not self.stopped:
                with self._lock:
                    now_ns = time.perf_counter_ns()
                    due_ns = self._due_ns(now_ns)
                    if due_ns is None:
                        return None
                    if due_ns <= now_ns and (not self._spared or self._manners.take()):
                        late_ns = now_ns - due_ns if waited else None
                        slot = Slot(self._next_seq, self._scheduled_ns(self._next_seq), late_ns, self._skipped)
                        self._next_seq += 1
                        self._skipped = 0
                        return slot
                waited = True
                self._sleep_until(due_ns)
        return None

    def count_retry(self) -> None:
        """Count a second request of the ping that has just ended against the rate."""
        if self._spared:
            self._manners.count()

    def rest(self, asked_s: float) -> Pause | None:
        """Start nothing for a while, here and wherever else the host is called.

        Returns
        -------
        Pause or None
            None where a longer one is under way, or where there is nothing left to start.
        """
        rest = self._manners.rest(asked_s)
        with self._lock:
            total = self._plan.total
            if rest is None or (total is not None and self._next_seq >= total):
                return None
            return Pause((rest.from_ns - self.origin_ns) / 1e9, (rest.until_ns - rest.from_ns) / 1e9)

    def forgive(self) -> None:
        """Begin anew with the shortest rest."""
        self._manners.forgive()

    def _due_ns(self, now_ns: int) -> int | None:
        seq, total, duration_s = self._next_seq, self._plan.total, self._plan.duration_s
        if total is not None and seq >= total:
            return None
        rests_until_ns = self._manners.rests_until_ns
        scheduled_ns = self._scheduled_ns(seq)
        if scheduled_ns is not None and scheduled_ns < rests_until_ns:
            # A rest shifts what is planned, so that no burst follows.
            self._shift_ns += rests_until_ns - scheduled_ns
            scheduled_ns = rests_until_ns
        if self._plan.endless and scheduled_ns is not None and now_ns - scheduled_ns > _MOST_BEHIND_NS:
            scheduled_ns = self._skip(now_ns, scheduled_ns)
        due_ns = max(
            now_ns if scheduled_ns is None else scheduled_ns,
            rests_until_ns,
            self._manners.next_ns() if self._spared else 0,
        )
        if duration_s is not None and max(now_ns, due_ns) - self.origin_ns >= duration_s * 1e9:
            return None
        return due_ns

    def _skip(self, now_ns: int, scheduled_ns: int) -> int:
        """Leave out the planned starts that are over, and return the first that is kept."""
        assert self._plan.rate_hz is not None
        period_ns = int(1e9 / self._plan.rate_hz)
        skipped = (now_ns - scheduled_ns) // period_ns
        self._skipped += skipped
        self._shift_ns += skipped * period_ns
        return scheduled_ns + skipped * period_ns

    def _scheduled_ns(self, seq: int) -> int | None:
        planned_s = self._plan.planned_start_s(seq)
        return None if planned_s is None else self.origin_ns + int(planned_s * 1e9) + self._shift_ns

    def _sleep_until(self, due_ns: int) -> None:
        coarse_s = (due_ns - time.perf_counter_ns()) / 1e9 - _COARSE_MARGIN_S
        if coarse_s > 0 and self._stopped.wait(coarse_s):
            return
        fine_ns = due_ns - time.perf_counter_ns() - _SPIN_NS
        if fine_ns > 0:
            time.sleep(fine_ns / 1e9)
        while time.perf_counter_ns() < due_ns:
            pass
