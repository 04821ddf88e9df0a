"""What the sandbox injects: latency, server time and faults, each drawn from its own seeded stream, and stalls."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ..errors import Kind
from ..grammar.injection import SLOW_S, Fault, delay_s

_Z95: Final = 1.6448536269514722
"""The 95th percentile of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Delay:
    """A constant delay, or a lognormal one where the 95th percentile is above the median."""

    median_s: float = 0.0
    p95_s: float = 0.0

    def draw(self, stream: random.Random) -> float:
        """Return one delay in seconds."""
        if self.p95_s == self.median_s:
            return self.median_s
        sigma = math.log(self.p95_s / self.median_s) / _Z95
        return stream.lognormvariate(math.log(self.median_s), sigma)


@dataclass(frozen=True, slots=True)
class Draw:
    """What happens to one request."""

    latency_s: float
    server_time_s: float
    fault: Kind | None
    """None where the reply is a good one, though it may be slow."""


class Behaviour:
    """The seeded sequence of draws: equal arguments give equal sequences.

    The k-th draw is for the k-th request, whenever and on whatever connection it arrives.
    Latency, server time and faults come from streams of their own, so that adding one leaves the others as they were.

    Parameters
    ----------
    latency, server_time
        The delay outside and inside the time that the server reports.
    faults
        Share of the requests by kind of fault; the shares add up to 1 at most.
    seed
        Not negative.
    """

    def __init__(self, latency: Delay, server_time: Delay, faults: Mapping[Fault, float], seed: int) -> None:
        self._latency = latency
        self._server_time = server_time
        self._faults = tuple(faults.items())
        self._latencies = random.Random(f"{seed} latency")
        self._server_times = random.Random(f"{seed} server time")
        self._chances = random.Random(f"{seed} fault")

    def draw(self) -> Draw:
        """Return what happens to the next request, in order of arrival."""
        latency_s = self._latency.draw(self._latencies)
        server_time_s = self._server_time.draw(self._server_times)
        fault = self._draw_fault()
        if fault == "slow":
            return Draw(latency_s, server_time_s + SLOW_S, None)
        return Draw(latency_s, server_time_s, fault)

    def _draw_fault(self) -> Fault | None:
        chance = self._chances.random()
        for kind, share in self._faults:
            if chance < share:
                return kind
            chance -= share
        return None


class Stalls:
    """When the server answers nothing: spans of time, counted from its start.

    Parameters
    ----------
    spans_s
        Length and start of each.
    """

    def __init__(self, spans_s: Iterable[tuple[float, float]] = ()) -> None:
        self._spans_s = tuple((start_s, start_s + length_s) for length_s, start_s in spans_s)

    def left_s(self, now_s: float) -> float:
        """Return how long the stall of a moment still lasts; 0 where there is none."""
        return max((end_s - now_s for start_s, end_s in self._spans_s if start_s <= now_s < end_s), default=0.0)


def read_delay(text: str) -> Delay:
    """Read ``20ms``, or ``20ms/60ms`` for a median and a 95th percentile.

    Raises
    ------
    ValueError
        It is neither.
    """
    return Delay(*delay_s(text))
