"""A figure with its target, and how one is made of interleaved pairs.

Timings differ from minute to minute on any machine that does something else too. So both sides of a ratio are measured
in turn, block by block, in one process, and the figure is the median of the blocks' ratios with a bootstrap interval
(B. Efron, "Bootstrap methods: another look at the jackknife", 1979). pytest-benchmark and pyperf measure one side after
the other, which is why they are not used here.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report."""

    name: str
    value: float
    low: float
    high: float
    """The 95 % interval of the value; both ends are the value where there is none."""
    at_least: float | None = None
    at_most: float | None = None
    beside: str = ""
    """What a reader needs to judge it: both sides in their unit."""
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether the value is within its target."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def target(self) -> str:
        """The target in words."""
        low = "" if self.at_least is None else f">= {self.at_least:g}"
        high = "" if self.at_most is None else f"<= {self.at_most:g}"
        return " and ".join(filter(None, (low, high)))

    def line(self) -> str:
        """Write it in one line."""
        interval = f" [{self.low:.3f} to {self.high:.3f}]" if self.low != self.high else ""
        mark = "holds" if self.holds else "MISSED"
        target = f"  {mark} ({self.target})" if self.target else ""
        return f"{self.name:<58} {self.value:.3f}{self.unit}{interval}{target}  {self.beside}".rstrip()


def ratio(
    name: str,
    one: Callable[[], float],
    other: Callable[[], float],
    *,
    blocks: int,
    at_least: float | None = None,
    at_most: float | None = None,
    unit: str = "",
) -> Figure:
    """Measure two sides in turn, the first to go changing, and make the figure of their ratios.

    Parameters
    ----------
    one, other
        Measure one block, and return its figure; the ratio is the first by the second.
    """
    pairs = []
    for block in range(blocks):
        if block % 2:
            denominator = other()
            pairs.append((one(), denominator))
        else:
            pairs.append((one(), other()))
    ratios = [numerator / denominator for numerator, denominator in pairs]
    low, high = interval(ratios)
    medians = (statistics.median(numerator for numerator, _ in pairs), statistics.median(d for _, d in pairs))
    beside = f"{medians[0]:.4g}{unit} by {medians[1]:.4g}{unit}"
    return Figure(name, statistics.median(ratios), low, high, at_least, at_most, beside)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median."""
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(2000))
    return medians[50], medians[-51]


def quantile(values: Sequence[float], share: float) -> float:
    """Return an order statistic."""
    in_order = sorted(values)
    return in_order[min(len(in_order) - 1, int(share * len(in_order)))]
