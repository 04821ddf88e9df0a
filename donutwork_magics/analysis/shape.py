"""What a series of latencies looks like where one percentile does not tell: drift, a slow start, modes, bursts."""

from __future__ import annotations

import itertools
import math
from typing import Final, NamedTuple

import numpy as np

from donutwork_magics.analysis.intervals import FEWEST_OUTLIERS, Numbers, n_effective, outliers_above

FEWEST: Final = 60
_SMALLEST_DRIFT: Final = 0.1
_FEWEST_FOR_MODES: Final = 100
_VALLEY: Final = 0.5
"""Between two modes are at most so many pings as at the lower of them."""
_SMALLEST_MODE: Final = 0.1
"""Of all pings."""
_SMOOTHING: Final = 0.6
_FEWEST_SLOW: Final = 3
_SLOWER: Final = 1.2
_FEWEST_PAIRS: Final = 3
_MORE_THAN_CHANCE: Final = 5


class Drift(NamedTuple):
    """The medians of the first and of the last third, in milliseconds."""

    first_ms: float
    last_ms: float


def drift(values_ms: Numbers) -> Drift | None:
    """Compare the last third of a series with the first.

    It is a drift where the medians of the thirds go one way, each outer one lies outside of what most of the other
    third is (its 20th to 80th percentile), and they differ by a tenth at least. Pings one after the other are alike, so
    that a test which takes them for independent sees a drift in every other run; this rule asks for much more.

    `values_ms` are in the order in which they were measured. Fewer than 60 tell of no drift.
    """
    if values_ms.size < FEWEST:
        return None
    first, middle, last = (np.percentile(part, [20, 50, 80]) for part in np.array_split(values_ms, 3))
    apart = not first[0] <= last[1] <= first[2] and not last[0] <= first[1] <= last[2]
    one_way = min(first[1], last[1]) <= middle[1] <= max(first[1], last[1])
    if not apart or not one_way or abs(last[1] - first[1]) < _SMALLEST_DRIFT * first[1]:
        return None
    return Drift(float(first[1]), float(last[1]))


class Mode(NamedTuple):
    """Latencies that lie together."""

    median_ms: float
    share: float
    """Of all pings."""


class Bursts(NamedTuple):
    """Outliers that came together."""

    outliers: int
    above_ms: float
    together: int
    """How many of them stand beside another one."""


def slow_start(values_ms: Numbers) -> int:
    """Return how many of the first pings are slow, each of them slower than 95 % of all after the beginning.

    0 for fewer than 3, where their median is not 1.2 times that of the others, or below 60 pings in total.
    """
    n = values_ms.size
    if n < FEWEST:
        return 0
    beginning, others = values_ms[: n // 6], values_ms[n // 6 :]
    is_slow = beginning > np.quantile(others, 0.95)
    first = beginning.size if is_slow.all() else int(np.argmin(is_slow))
    if first < _FEWEST_SLOW or np.median(beginning[:first]) < _SLOWER * np.median(others):
        return 0
    return first


def modes(values_ms: Numbers) -> list[Mode]:
    """Find the modes of a distribution, each with a tenth of the pings or more; empty where there is only one.

    The density of the logarithms is estimated with a Gaussian kernel (B. W. Silverman, "Density Estimation", 1986,
    3.4.2), whose width counts pings that are alike only once. Two modes have a valley between them of at most half the
    height of the lower one.
    """
    if values_ms.size < _FEWEST_FOR_MODES or values_ms.min() <= 0:
        return []
    logs = np.log(values_ms)
    quarter, three_quarters = np.quantile(logs, [0.25, 0.75])
    spread = min(float(logs.std()), float(three_quarters - quarter) / 1.34) or float(logs.std())
    if spread < 1e-9:
        return []
    width = _SMOOTHING * spread * n_effective(values_ms <= np.median(values_ms)) ** -0.2
    # Far outliers are no mode, and need no bins.
    low, high = np.clip(
        [logs.min() - 3 * width, logs.max() + 3 * width], quarter - 50 * spread, three_quarters + 50 * spread
    )
    step = width / 4
    counts, edges = np.histogram(np.clip(logs, low, high), math.ceil((high - low) / step), (low, high))
    kernel = np.exp(-0.5 * (np.arange(-12, 13) / 4) ** 2)
    density = np.convolve(counts, kernel, mode="same")
    cuts = [0, *(np.flatnonzero((density[1:-1] <= density[:-2]) & (density[1:-1] < density[2:])) + 1), counts.size]
    while len(cuts) > 2:
        parts = list(itertools.pairwise(cuts))
        heights = [density[first:last].max() for first, last in parts]
        shares = [counts[first:last].sum() / values_ms.size for first, last in parts]
        depths = [density[cut] / min(heights[at : at + 2]) for at, cut in enumerate(cuts[1:-1])]
        shallowest = int(np.argmax(depths))
        smallest = int(np.argmin(shares))
        if depths[shallowest] <= _VALLEY:
            if shares[smallest] >= _SMALLEST_MODE:
                ends = np.exp(edges[cuts])
                parted = [values_ms[(values_ms >= ends[at]) & (values_ms < ends[at + 1])] for at in range(len(parts))]
                return [Mode(float(np.median(each)), each.size / values_ms.size) for each in parted]
            shallowest = max((at for at in (smallest - 1, smallest) if 0 <= at < len(depths)), key=depths.__getitem__)
        del cuts[shallowest + 1]
    return []


def bursts(values_ms: Numbers) -> Bursts | None:
    """Find outliers that came together; None where they are few, or no closer to each other than by chance.

    By chance, ``k`` of ``n`` stand beside each other about ``k (k - 1) / n`` times.
    """
    if values_ms.size < FEWEST:
        return None
    above_ms = outliers_above(values_ms)
    is_outlier = values_ms > above_ms
    outliers = int(is_outlier.sum())
    beside = is_outlier[1:] & is_outlier[:-1]
    expected = outliers * (outliers - 1) / values_ms.size
    if outliers < FEWEST_OUTLIERS or not beside.sum() >= max(_FEWEST_PAIRS, _MORE_THAN_CHANCE * expected):
        return None
    together = np.concatenate([beside, [False]]) | np.concatenate([[False], beside])
    return Bursts(outliers, above_ms, int(together.sum()))
