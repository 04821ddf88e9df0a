"""By how much the second of each pair is larger: Hodges-Lehmann with the exact Wilcoxon signed rank; numpy only."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from donutwork_magics.analysis.intervals import RISK

MOST_PAIRS: Final = 500
"""Beyond it, the averages of all pairs of pairs take too much memory."""


class Shift(NamedTuple):
    """By how much the second of each pair is larger, with an interval; NaN where there are too few pairs for one."""

    estimate: float
    low: float
    high: float
    p_value: float


def rounds_needed(comparisons: int = 1) -> int:
    """Return how many pairs an interval takes: 6, or more where several comparisons are to hold together."""
    return math.ceil(math.log2(2 * comparisons / RISK))


def signed_rank(differences: npt.NDArray[np.float64], comparisons: int = 1) -> Shift:
    """Estimate the centre of differences that are symmetric about it, whatever their distribution is.

    The estimate is the median of all pairs' averages, and the interval goes from average to average (M. Hollander,
    D. A. Wolfe, E. Chicken, "Nonparametric Statistical Methods", 3rd ed., 3.1 to 3.3). Where differences are equal or
    0, the p-value is an upper bound.

    Parameters
    ----------
    differences
        Shape (n,), n from 1 to `MOST_PAIRS`, none of them NaN.
    comparisons
        How many intervals are to hold together with 95 % (Bonferroni); the p-value is adjusted likewise, so that it is
        below 0.05 exactly where the interval excludes 0.
    """
    first, second = np.triu_indices(differences.size)
    averages = np.sort((differences[first] + differences[second]) / 2)
    outside = averages_outside(differences.size, comparisons)
    low, high = (float(averages[outside - 1]), float(averages[-outside])) if outside else (math.nan, math.nan)
    rank_sum = min(int((averages <= 0).sum()), int((averages >= 0).sum()))
    p_value = min(1.0, 2 * comparisons * float(_at_most(differences.size)[rank_sum]))
    return Shift(float(np.median(averages)), low, high, p_value)


def averages_outside(n: int, comparisons: int = 1) -> int:
    """Return which of the averages, counted from either end, is the end of the interval; 0 where there is none.

    How many averages lie beyond the true centre is distributed as the rank sum.
    """
    return int((_at_most(n) <= RISK / 2 / comparisons).sum())


@lru_cache(maxsize=16)
def _at_most(n: int) -> npt.NDArray[np.float64]:
    """Return how probable a signed-rank sum of at most 0, 1, 2 ... is: each rank is in it or not, by a fair coin."""
    share = np.ones(1)
    for rank in range(1, n + 1):
        without = np.concatenate([share, np.zeros(rank)])
        without[rank:] += share
        share = without / 2
    return np.cumsum(share)
