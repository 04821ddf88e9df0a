"""When each ping may start: the absolute schedule of a series, and the limit that all who call its host share.

Planned start k is ``k / rate`` after the first, whatever became of the ones before: a late start is not rescheduled, it
is recorded. Measuring from the planned start is what uncovers coordinated omission (G. Tene, "How NOT to measure
latency", 2013).

What one host is owed, its rests and the most calls a second, holds for all series and watches of a kernel together.
They run in processes of their own, so the state lies in memory that these share.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import sys
import tempfile
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from donutwork_magics.client.settings import Target
from donutwork_magics.errors import SettingsError
from donutwork_magics.interrupts import uninterrupted
from donutwork_magics.network.exchange import os_reason
from donutwork_magics.sampling.plan import MOST_OVERDUE, POLITE_RATE_HZ, Plan

_COARSE_MARGIN_S = 0.002
_MOST_BEHIND_NS = 30_000_000_000
"""A monitor that is further behind begins anew: after an outage it would catch up for long, at many times its rate."""
_ATTEMPT_EVERY_NS = 1_000_000_000
"""While the service is down, a monitor asks no more often."""
_ROUNDING_NS = 1_000
_SPIN_NS = 150_000
"""A sleep overshoots by some 60 us and more: the last stretch is spun."""

_GAP_NS: Final = int(1e9 / POLITE_RATE_HZ)
_TOLERANCE_NS: Final = 20_000_000
_BACKOFF_BASE_S: Final = 0.5
_BACKOFF_CAP_S: Final = 30.0
_MOST_DOUBLINGS: Final = 16

_PLACES: Final = 512
"""Hosts that share a place are limited together, which is more than they need and does no harm."""
_NEXT, _RESTS_UNTIL, _THROTTLED = range(3)
_NUMBERS: Final = 4
_BYTES: Final = _PLACES * _NUMBERS * 8


class SharedMemory:
    """The state of all limits, in memory that child processes can share: they make theirs from its `handle`."""

    def __init__(self, handle: str | None = None) -> None:
        if sys.platform == "win32":
            self.handle = handle or f"donutwork-{os.getpid()}-{os.urandom(8).hex()}"
            self._memory = mmap.mmap(-1, _BYTES, tagname=self.handle)
            self.file = -1
        else:
            self.file = _new_file() if handle is None else int(handle)
            """Its file, which a child process is to inherit; below 0 where it needs none."""
            self.handle = str(self.file)
            if handle is None:
                weakref.finalize(self, os.close, self.file)
            self._memory = mmap.mmap(self.file, _BYTES)
        self.numbers = memoryview(self._memory).cast("q")
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def changing(self, place: int) -> Iterator[None]:
        """Keep all others, in any process, from changing a place."""
        with self._lock:
            if sys.platform == "win32":
                # Two processes may then call in the same moment, and the next call waits for both.
                yield
                return
            import fcntl

            fcntl.lockf(self.file, fcntl.LOCK_EX, 1, place)
            try:
                yield
            finally:
                fcntl.lockf(self.file, fcntl.LOCK_UN, 1, place)


@uninterrupted
def _new_file() -> int:
    import fcntl

    try:
        with (
            os.fdopen(os.memfd_create("donutwork"), "wb")
            if hasattr(os, "memfd_create")
            else tempfile.TemporaryFile() as file
        ):
            os.ftruncate(file.fileno(), _BYTES)
            # Above the numbers of a child's own pipes, which are free where this process has closed its stdin.
            return fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError as error:
        problem = os_reason(error)
    raise SettingsError(f"The memory that counts requests could not be made ({problem}). Make room, and try again.")


class RateLimit:
    """Keeps the rests that a host asked for, and the most that it gets in a second; for any thread.

    The rate is limited by the generic cell rate algorithm (ITU-T I.371). Its tolerance lets a call that woke up a
    little late be followed on time: with a plain least gap, each such moment would be handed on, and a plan of just so
    many a second would run later and later.
    """

    def __init__(self, memory: SharedMemory | None = None, place: int = 0) -> None:
        self._memory = memory or SharedMemory()
        self._place = place
        self._numbers = self._memory.numbers[place * _NUMBERS : (place + 1) * _NUMBERS]
        self._random = random.Random()

    @property
    def rests_until_ns(self) -> int:
        """No call begins before, on the monotonic clock."""
        return self._numbers[_RESTS_UNTIL]

    def next_ns(self) -> int:
        """Return when a further call may begin at the soonest, the rests apart."""
        return self._numbers[_NEXT] - _TOLERANCE_NS

    def take(self) -> bool:
        """Count a call that begins now, unless another one has come first."""
        with self._memory.changing(self._place):
            now_ns = time.perf_counter_ns()
            if self.next_ns() > now_ns:
                return False
            self._numbers[_NEXT] = max(self._numbers[_NEXT], now_ns) + _GAP_NS
            return True

    def count(self) -> None:
        """Count a call that has begun already, as a retry has."""
        with self._memory.changing(self._place):
            self._numbers[_NEXT] = max(self._numbers[_NEXT], time.perf_counter_ns()) + _GAP_NS

    def rest(self, asked_s: float) -> None:
        """Rest because the host has had enough: as long as it asks at least, with "full jitter" beyond that.

        The jitter keeps many clients from coming back together (M. Brooker, "Exponential Backoff And Jitter", 2015).
        """
        with self._memory.changing(self._place):
            now_ns = time.perf_counter_ns()
            throttled = self._numbers[_THROTTLED]
            longest_s = min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2.0 ** min(throttled, _MOST_DOUBLINGS))
            until_ns = now_ns + int(max(asked_s, self._random.uniform(0.0, longest_s)) * 1e9)
            if self.rests_until_ns <= now_ns:
                # Calls that were in flight together are refused together, which counts once.
                self._numbers[_THROTTLED] = throttled + 1
            self._numbers[_RESTS_UNTIL] = max(self.rests_until_ns, until_ns)

    def forgive(self) -> None:
        """Begin again with the shortest rest: the host has answered as usual."""
        if self._numbers[_THROTTLED]:
            self._numbers[_THROTTLED] = 0


def rate_limit_of(target: Target, memory: SharedMemory) -> RateLimit:
    """Return the limit of a target's origin."""
    url = target.base_url
    origin = f"{url.scheme}://{url.host}:{url.port or ''}"
    return RateLimit(memory, zlib.crc32(origin.encode()) % _PLACES)


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


class Schedule:
    """Hands out pings in planned order; all methods may be called from any thread.

    Parameters
    ----------
    loopback
        Whether the target is this machine, so that it need not be spared.
    held_back
        Called with the beginning and the end, on the monotonic clock, of each time in which a rest held back a start
        that was due; from a worker, when that is over.
    """

    def __init__(
        self, plan: Plan, *, loopback: bool, rate_limit: RateLimit, held_back: Callable[[int, int], None]
    ) -> None:
        self._plan = plan
        self.rate_limit = rate_limit
        self._held_back = held_back
        self._spared = not (loopback or plan.allow_load)
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self.stopped = False
        """Whether `stop` was called."""
        self._next_seq = 0
        self._shift_ns = 0
        self._skipped = 0
        self._end_ns = sys.maxsize
        self._duration_ns = sys.maxsize
        self._not_before_ns = 0
        self._backed_off: tuple[int, int] | None = None
        """Until when starts are left out that come due, and how many are to stay overdue."""
        self._over_ns = 0
        self.origin_ns = 0
        """When the first ping was planned, on the monotonic clock."""

    def begin(self, planned_ns: int = 0) -> None:
        """Plan the first ping for a moment, which may be over where there is a rate; for now where that is 0.

        It is over where what came before was late. Then that is made up for, as within one series. A duration counts
        from now: what is late would else have none left, and no row. No more starts are made up than it has.
        """
        now_ns = time.perf_counter_ns()
        begins_ns = max(now_ns, planned_ns)
        self.origin_ns = planned_ns if planned_ns and self._plan.rate_hz is not None else begins_ns
        if self._plan.duration_s is not None:
            self._duration_ns = int(self._plan.duration_s * 1e9)
            self._end_ns = begins_ns + self._duration_ns

    def finish(self) -> None:
        """Start no further ping."""
        self._ended.set()

    def stop(self) -> None:
        """Start no further ping, and wait for none."""
        self.stopped = True
        self._ended.set()

    def next(self) -> Slot | None:
        """Wait until a further ping may start, and return it; None where the series has come to its end."""
        # One worker waits for the next start, the others wait for their turn: else all would wake up for each ping.
        late_ns = None
        with self._turn:
            while not self._ended.is_set():
                now_ns = time.perf_counter_ns()
                due_ns = self._due_ns(now_ns)
                start_ns, rests_until_ns = max(now_ns, due_ns), self.rate_limit.rests_until_ns
                if self._is_over(start_ns):
                    self._over_ns = self._over_ns or now_ns
                    return None
                if start_ns < rests_until_ns:
                    if self._is_over(rests_until_ns):
                        # Nothing may start after the rest, so there is nothing to wait for.
                        self.finish()
                        self._shift_ns += self._end_ns - start_ns
                        self._held_back(start_ns, self._end_ns)
                        return None
                    late_ns = self._rest(start_ns, rests_until_ns)
                elif due_ns <= now_ns and (not self._spared or self.rate_limit.take()):
                    slot = Slot(self._next_seq, self._scheduled_ns(self._next_seq), late_ns, self._skipped)
                    self._next_seq += 1
                    self._skipped = 0
                    return slot
                else:
                    late_ns = self._sleep_until(due_ns)
        return None

    def planned_end_ns(self) -> int:
        """Return when the first ping after it is planned, now that it is over; 0 where it has no plan."""
        planned_ns, rate_hz = self._scheduled_ns(self._next_seq), self._plan.rate_hz
        if planned_ns is None or rate_hz is None:
            return 0
        if self._plan.duration_s is not None:
            # Starts for which no time was left are not those of what comes after it.
            left_ns = max(0, self.origin_ns + self._duration_ns - planned_ns)
            period_ns = int(1e9 / rate_hz)
            planned_ns += -(-left_ns // period_ns) * period_ns
        if self._plan.concurrency > 1 and self._over_ns:
            # A worker was free for the next start, and it was we who waited for the others: that is nobody's delay.
            planned_ns += max(0, time.perf_counter_ns() - max(planned_ns, self._over_ns))
        return planned_ns

    def overdue(self) -> dict[str, float]:
        """Return, as in ``attrs``, which planned starts came due and were not made before the end; empty for none.

        Whoever had called then would still be waiting.
        """
        first_ns, rate_hz, total = self._scheduled_ns(self._next_seq), self._plan.rate_hz, self._plan.total
        if first_ns is None or rate_hz is None:
            return {}
        now_ns, period_ns = time.perf_counter_ns(), int(1e9 / rate_hz)
        until_ns = min(now_ns, self._end_ns, self.origin_ns + self._duration_ns + self._shift_ns)
        left = MOST_OVERDUE if total is None else min(MOST_OVERDUE, total - self._next_seq)
        starts = min(left, -((first_ns + _ROUNDING_NS - until_ns) // period_ns))
        waited_ms, every_ms = (now_ns - first_ns) / 1e6, period_ns / 1e6
        return {"starts": starts, "waited_ms": waited_ms, "every_ms": every_ms} if starts > 0 else {}

    def count_retry(self) -> None:
        """Count a second request of the ping that has just ended against the rate."""
        if self._spared:
            self.rate_limit.count()

    def back_off(self, slot: Slot, started_ns: int) -> None:
        """Wait a second from the start of this ping to the next, as the service is down.

        The planned starts that come due in that time are left out, and counted. That takes no time out of
        ``corrected_ms``: the starts that were overdue when this ping began are not left out, but made up later with all
        of their lag, so that a hang shows there also where it turns out to be an outage; and what follows is planned on
        the same grid as before. It does make errors rarer than at the full rate, and the end of an outage is known to
        a second only.
        """
        rate_hz = self._plan.rate_hz
        if slot.scheduled_ns is None or rate_hz is None:
            self._not_before_ns = started_ns + _ATTEMPT_EVERY_NS
            return
        period_ns = int(1e9 / rate_hz)
        overdue = (started_ns - slot.scheduled_ns) // period_ns
        # From the planned start: from the actual one, each attempt would begin a little later than planned.
        next_ns = slot.scheduled_ns + overdue * period_ns + _ATTEMPT_EVERY_NS
        # Another worker may be about to take the next start: whose turn it is, leaves out.
        self._backed_off = max(next_ns, time.perf_counter_ns()) - _ROUNDING_NS, overdue
        self._not_before_ns = next_ns

    def _is_over(self, start_ns: int) -> bool:
        """Tell whether nothing is left to start at that moment or later."""
        total = self._plan.total
        if (total is not None and self._next_seq >= total) or start_ns >= self._end_ns:
            return True
        # Where it began late, its planned starts end before its time does.
        planned_ns = self._scheduled_ns(self._next_seq)
        return planned_ns is not None and planned_ns - self._shift_ns >= self.origin_ns + self._duration_ns

    def _due_ns(self, now_ns: int) -> int:
        """Return when the next ping may start at the soonest, the rests apart."""
        scheduled_ns, rate_hz = self._scheduled_ns(self._next_seq), self._plan.rate_hz
        if scheduled_ns is None or rate_hz is None:
            scheduled_ns = now_ns
        elif self._plan.endless:
            period_ns = int(1e9 / rate_hz)
            (until_ns, overdue), self._backed_off = self._backed_off or (scheduled_ns, 0), None
            scheduled_ns += self._leave_out(-((scheduled_ns - until_ns) // period_ns) - overdue, period_ns)
            if now_ns - scheduled_ns > _MOST_BEHIND_NS:
                scheduled_ns += self._leave_out((now_ns - scheduled_ns) // period_ns, period_ns)
        due_ns = max(scheduled_ns, self._not_before_ns)
        return max(due_ns, self.rate_limit.next_ns()) if self._spared else due_ns

    def _rest(self, from_ns: int, until_ns: int) -> int:
        """Wait until a rest is over, and shift the plan by it; return how late the thread woke up.

        Only the time counts in which a ping would have started: what was late before the rest is as late after it.
        """
        late_ns = self._sleep_until(until_ns)
        # A stop ends it sooner.
        until_ns = min(until_ns, time.perf_counter_ns())
        if until_ns > from_ns:
            self._shift_ns += until_ns - from_ns
            self._held_back(from_ns, until_ns)
        return late_ns

    def _leave_out(self, starts: int, period_ns: int) -> int:
        """Leave out the next planned starts, if any, and return by how much later those after them are planned."""
        starts = max(0, starts)
        self._skipped += starts
        self._shift_ns += starts * period_ns
        return starts * period_ns

    def _scheduled_ns(self, seq: int) -> int | None:
        planned_s = self._plan.planned_start_s(seq)
        return None if planned_s is None else self.origin_ns + int(planned_s * 1e9) + self._shift_ns

    def _sleep_until(self, due_ns: int) -> int:
        """Return how late the thread woke up; sooner, below 0, where the series was stopped."""
        coarse_s = (due_ns - time.perf_counter_ns()) / 1e9 - _COARSE_MARGIN_S
        if coarse_s > 0 and self._ended.wait(coarse_s):
            return time.perf_counter_ns() - due_ns
        fine_ns = due_ns - time.perf_counter_ns() - _SPIN_NS
        if fine_ns > 0:
            time.sleep(fine_ns / 1e9)
        while (now_ns := time.perf_counter_ns()) < due_ns:
            pass
        return now_ns - due_ns
