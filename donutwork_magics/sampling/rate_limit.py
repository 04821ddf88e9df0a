"""What one host is owed by all series and watches of a kernel together: its rests, and the most calls a second.

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
from collections.abc import Iterator
from typing import Final

from donutwork_magics.client.settings import Target
from donutwork_magics.sampling.plan import POLITE_RATE_HZ

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
    """The state of all limits, in memory that child processes can share.

    Parameters
    ----------
    handle
        What the `handle` of the parent process is; None for new memory.
    """

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


def _new_file() -> int:
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("donutwork")
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.ftruncate(file, _BYTES)
    return file


class RateLimit:
    """Keeps the rests that a host asked for, and the most that it gets in a second; for any thread.

    The rate is limited by the generic cell rate algorithm (ITU-T I.371). Its tolerance lets a call that woke up a
    little late be followed on time: with a plain least gap, each such moment would be handed on, and a plan of just so
    many a second would run later and later.

    Parameters
    ----------
    memory
        Where its state is; None for memory of its own.
    place
        Which part of it.
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
