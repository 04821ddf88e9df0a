"""What this machine did to a run: pauses in which it stood still, and what measuring cost the client itself."""

from __future__ import annotations

import contextlib
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

MOST_PAUSES: Final = 20
"""A watch may have many in a week: the first ones are kept, and all are counted."""

Notice = Literal["client_saturated", "machine_busy"]
SATURATED_CPU_SHARE: Final = 0.5
"""Python threads share one core's worth of time: beyond half of it, pings in flight wait for each other."""
BUSY_WAKE_MS: Final = 2.0
"""An idle machine wakes a thread within a tenth of this."""
_FEWEST_WAKES: Final = 20
_MOST_PINGS: Final = 200_000


@dataclass(slots=True)
class Pauses:
    """Pauses of one kind, also rests that a server asked for, in seconds since the run began."""

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
        return {**asdict(self), "first": list(map(list, self.first))}


@dataclass(frozen=True, slots=True)
class ClientLoad:
    """The client's own part in a series; 0 where there was nothing to measure."""

    own_p50_ms: float
    """The client's own time around a ping: from the start it was given to the first network act, and from the last
    byte to the finished row. It is in no phase and in no duration."""
    own_p95_ms: float
    wake_p50_ms: float
    """How late the machine woke a worker that had waited for its planned start."""
    wake_p95_ms: float
    cpu_share: float
    """CPU time of the workers by wall time; 1 is a whole core."""
    wakes: int

    @property
    def notices(self) -> list[Notice]:
        """What a reader of the figures must know."""
        found: list[Notice] = []
        if self.cpu_share >= SATURATED_CPU_SHARE:
            found.append("client_saturated")
        if self.wakes >= _FEWEST_WAKES and self.wake_p95_ms >= BUSY_WAKE_MS:
            found.append("machine_busy")
        return found

    def as_attrs(self) -> dict[str, Any]:
        """Return it as a small dict of plain values."""
        return {**asdict(self), "notices": self.notices}


class ClientMeter:
    """Takes the client's own part in a series; one thread at a time."""

    def __init__(self) -> None:
        # Four bytes a row each: percentiles of the whole series, within the memory that a row may take.
        self._own_ms = array("f")
        self._wake_ms = array("f")
        self._workers_s = self._wall_s = 0.0

    @contextlib.contextmanager
    def pinging(self) -> Iterator[None]:
        """Count the time until the block is left as one in which the series pings."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self._wall_s += time.perf_counter() - began_s

    def ping(self, own_ns: int, wake_ns: int | None) -> None:
        """Count a ping, and how late the worker woke for it; None where it did not wait."""
        self._own_ms.append(own_ns / 1e6)
        if len(self._own_ms) > _MOST_PINGS:
            # A watch may go on for weeks.
            del self._own_ms[: _MOST_PINGS // 2]
            del self._wake_ms[: len(self._wake_ms) // 2]
        if wake_ns is not None:
            self._wake_ms.append(wake_ns / 1e6)

    def worker(self, cpu_s: float) -> None:
        """Count the CPU time of a worker, when it ends."""
        self._workers_s += cpu_s

    def result(self) -> ClientLoad:
        """Compute what was found."""
        own_ms, wake_ms = sorted(self._own_ms), sorted(self._wake_ms)
        return ClientLoad(
            own_p50_ms=_quantile(own_ms, 0.50),
            own_p95_ms=_quantile(own_ms, 0.95),
            wake_p50_ms=_quantile(wake_ms, 0.50),
            wake_p95_ms=_quantile(wake_ms, 0.95),
            cpu_share=self._workers_s / self._wall_s if self._wall_s else 0.0,
            wakes=len(wake_ms),
        )


def _quantile(in_order: Sequence[float], quantile: float) -> float:
    return in_order[min(len(in_order) - 1, int(quantile * len(in_order)))] if in_order else 0.0
