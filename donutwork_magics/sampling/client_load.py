"""What measuring cost the client itself, and whether that stood in the way of the measured."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self

Notice = Literal["client_saturated", "machine_busy"]

SATURATED_CPU_SHARE: Final = 0.5
"""Python threads share one core's worth of time: beyond half of it, pings in flight wait for each other."""
BUSY_WAKE_MS: Final = 2.0
"""An idle machine wakes a thread within a tenth of this."""

_FEWEST_WAKES: Final = 20
_MOST: Final = 200_000


@dataclass(frozen=True, slots=True)
class ClientLoad:
    """The client's own part in a series; NaN or 0 where there was nothing to measure.

    Attributes
    ----------
    own_p50_ms, own_p95_ms
        The client's own time around a ping: from the start it was given to the first network act, and from the last
        byte to the finished row. It is in no phase and in no duration.
    wake_p50_ms, wake_p95_ms
        How late the machine woke a worker that had waited for its planned start.
    cpu_share
        CPU time of the workers by wall time; 1 is a whole core.
    """

    own_p50_ms: float
    own_p95_ms: float
    wake_p50_ms: float
    wake_p95_ms: float
    cpu_share: float
    wakes: int

    @property
    def notices(self) -> list[Notice]:
        """What a reader of the figures must know."""
        busy_wakes = self.wakes >= _FEWEST_WAKES and self.wake_p95_ms >= BUSY_WAKE_MS
        found: list[Notice] = []
        if self.cpu_share >= SATURATED_CPU_SHARE:
            found.append("client_saturated")
        if busy_wakes:
            found.append("machine_busy")
        return found

    def as_attrs(self) -> dict[str, Any]:
        """Return it as a small dict of plain values."""
        return {**asdict(self), "notices": self.notices}


class ClientMeter:
    """Takes the client's own part in a series; a context manager for each time in which it pings."""

    def __init__(self) -> None:
        # Four bytes a row each: percentiles of the whole series, within the memory that a row may take.
        self._own_ms = array("f")
        self._wake_ms = array("f")
        self._workers_s = 0.0
        self._wall_s = 0.0
        self._began_s = 0.0

    def __enter__(self) -> Self:
        self._began_s = time.perf_counter()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._wall_s += time.perf_counter() - self._began_s

    def ping(self, own_ns: int, wake_ns: int | None) -> None:
        """Count a ping; one thread at a time.

        Parameters
        ----------
        wake_ns
            How late the worker woke for it; None where it did not wait.
        """
        self._own_ms.append(own_ns / 1e6)
        if len(self._own_ms) > _MOST:
            # A watch may go on for weeks.
            del self._own_ms[: _MOST // 2]
            del self._wake_ms[: len(self._wake_ms) // 2]
        if wake_ns is not None:
            self._wake_ms.append(wake_ns / 1e6)

    def worker(self, cpu_s: float) -> None:
        """Count the CPU time of a worker, when it ends; one thread at a time."""
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
