"""What one host is owed by everything in this process that calls it: series, watches, and retries together."""

from __future__ import annotations

import random
import threading
import time
from typing import Final

from donutwork_magics.client.settings import Target
from donutwork_magics.sampling.plan import POLITE_RATE_HZ

_GAP_NS: Final = int(1e9 / POLITE_RATE_HZ)
_TOLERANCE_NS: Final = 20_000_000
_BACKOFF_BASE_S: Final = 0.5
_BACKOFF_CAP_S: Final = 30.0
_MOST_DOUBLINGS: Final = 16


class Manners:
    """Keeps the rests that a host asked for, and the most that it gets in a second; for any thread.

    The rate is limited by the generic cell rate algorithm (ITU-T I.371). Its tolerance lets a call that woke up a
    little late be followed on time: with a plain least gap, each such moment would be handed on, and a plan of just so
    many a second would run later and later.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._random = random.Random()
        self._next_in_theory_ns = 0
        self._throttled = 0
        self.rests_until_ns = 0
        """No call begins before, on the monotonic clock."""

    def next_ns(self) -> int:
        """Return when a further call may begin at the soonest, the rests apart."""
        return self._next_in_theory_ns - _TOLERANCE_NS

    def take(self) -> bool:
        """Count a call that begins now, unless another one has come first."""
        with self._lock:
            now_ns = time.perf_counter_ns()
            if self.next_ns() > now_ns:
                return False
            self._next_in_theory_ns = max(self._next_in_theory_ns, now_ns) + _GAP_NS
            return True

    def count(self) -> None:
        """Count a call that has begun already, as a retry has."""
        with self._lock:
            self._next_in_theory_ns = max(self._next_in_theory_ns, time.perf_counter_ns()) + _GAP_NS

    def rest(self, asked_s: float) -> None:
        """Rest because the host has had enough: as long as it asks at least, with "full jitter" beyond that.

        The jitter keeps many clients from coming back together (M. Brooker, "Exponential Backoff And Jitter", 2015).
        """
        with self._lock:
            now_ns = time.perf_counter_ns()
            longest_s = min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2.0 ** min(self._throttled, _MOST_DOUBLINGS))
            until_ns = now_ns + int(max(asked_s, self._random.uniform(0.0, longest_s)) * 1e9)
            if self.rests_until_ns <= now_ns:
                # Calls that were in flight together are refused together, which counts once.
                self._throttled += 1
            self.rests_until_ns = max(self.rests_until_ns, until_ns)

    def forgive(self) -> None:
        """Begin anew with the shortest rest: the host has answered as usual."""
        self._throttled = 0


_lock = threading.Lock()
_by_origin: Final[dict[tuple[str, str, int | None], Manners]] = {}


def manners_towards(target: Target) -> Manners:
    """Return the one that everything shares which calls this target's origin."""
    url = target.base_url
    with _lock:
        return _by_origin.setdefault((url.scheme, url.host, url.port), Manners())
