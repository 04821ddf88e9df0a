"""Percentiles, shares and differences with intervals that stay honest, and when they are narrow enough; numpy only.

Pings that follow each other are alike, so that 300 of them may tell no more than 50 independent ones. How many that is,
the effective sample size, takes the place of their number in the textbook's interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.float64]

RISK: Final = 0.05
"""Of an interval: it misses the truth so often."""
FEWEST_EFFECTIVE: Final = 30
"""With fewer, the pings are too alike (or too few) for their likeness to be known."""
MOST_PAIRS: Final = 500
"""Beyond it, the averages of all pairs of pairs take too much memory."""
FIRST_LOOK: Final = 100
"""Successes of a series after which ``--until`` looks first; then each time there are a tenth more."""
FEWEST_ROUNDS: Final = 10
"""Of a cell; it is looked at after each further one."""

FEWEST_OUTLIERS: Final = 5
"""So many show whether they come in bursts."""

_NEVER: Final = 1e12
"""Stands for a time without an end, in milliseconds: quantiles of infinity are not numbers."""
_Z_95: Final = 1.959963984540054
_WINDOW: Final = 2.5


def pings_needed(quantile: float) -> int:
    """Return how many values it takes to speak of a quantile: 5 for p50, 59 for p95, 299 for p99.

    With that many, the largest lies above the true quantile with 95 % confidence, whatever the distribution is:
    ``1 - quantile ** n >= 0.95`` (S. S. Wilks, "Determination of sample sizes for setting tolerance limits", 1941);
    below the median the smallest lies below it.
    """
    return math.ceil(math.log(RISK) / math.log(max(quantile, 1 - quantile)))


def percentile(values: Numbers, quantile: float) -> float:
    """Return a percentile, or NaN where there are fewer values than `pings_needed`.

    The median is that of the textbooks. In the tail it is the nearest rank, a value that was measured: between two
    modes, interpolation would name one that no ping had.

    `values` have the shape (n,), and none is NaN.
    """
    if values.size < pings_needed(quantile):
        return math.nan
    return float(np.percentile(values, 100 * quantile, method="linear" if quantile == 0.5 else "inverted_cdf"))


class QuantileInterval(NamedTuple):
    """A percentile with its 95 % interval; NaN where the sample does not support one of them."""

    value: float
    low: float
    high: float
    n_effective: float


def quantile_intervals(
    values: Numbers, quantiles: Sequence[float], *, cautious: bool = False
) -> list[QuantileInterval]:
    """Compute percentiles with their 95 % intervals, from order statistics on the effective sample size.

    The ranks are those of the binomial distribution (W. J. Conover, "Practical Nonparametric Statistics", 3.2),
    which for independent values are those of `scipy.stats.quantile_test`. For values that are alike they are those of
    as many independent values as the sample is worth. There is no interval where that is below `FEWEST_EFFECTIVE`.

    Parameters
    ----------
    values
        Shape (n,), none of them NaN, in the order in which they were measured.
    quantiles
        Between 0 and 1.
    cautious
        Take all for as alike as any part of them is, for what is decided by an end of the interval: the few pings of a
        tail tell too little of their likeness to be wrong there in one of 40 series only.
    """
    if not values.size:
        return [QuantileInterval(math.nan, math.nan, math.nan, 0.0) for _ in quantiles]
    in_order, is_outlier = np.sort(values), values > outliers_above(values)
    # In the tail are too few pings to see how alike they are: the median tells it for all.
    alike = n_effective(values <= np.median(values))
    # Outliers that come in bursts make the tail more alike than the pings around its percentile.
    in_bursts = n_effective(is_outlier) if is_outlier.sum() >= FEWEST_OUTLIERS else math.inf
    found = []
    for quantile in quantiles:
        value, effective = percentile(in_order, quantile), alike
        if quantile != 0.5 and math.isfinite(value):
            effective = min(n_effective(values <= value), in_bursts if quantile > 0.5 else math.inf)
        low = high = math.nan
        if math.isfinite(value) and min(alike, effective) >= FEWEST_EFFECTIVE:
            low, high = _ends(in_order, quantile, min(alike, effective, in_bursts) if cautious else effective)
        found.append(QuantileInterval(value, low, high, effective))
    return found


class BoundedInterval(NamedTuple):
    """A percentile with its 95 % interval, where of some values only a lower bound is known."""

    value: float
    low: float
    high: float
    """Infinite where values that are only bounded reach so far."""
    at_least: bool
    """Whether the percentile itself is a lower bound."""


def bounded_interval(values: Numbers, is_bound: npt.NDArray[np.bool_], quantile: float) -> BoundedInterval:
    """Compute a percentile, or the largest value, with an interval that is cautious, as in `quantile_intervals`.

    The low end takes each lower bound for the value itself, the high end takes such a value for endless: the truth lies
    between the two.

    Parameters
    ----------
    values
        Shape (n,), none of them NaN, in the order in which they were measured.
    is_bound
        Shape (n,), which of them are lower bounds.
    quantile
        Between 0 and 1; 1 for the largest value, which has no interval of its own.
    """
    if quantile == 1:
        largest = float(values.max()) if values.size else math.nan
        return BoundedInterval(largest, largest, math.inf if is_bound.any() else largest, bool(is_bound.any()))
    (least,) = quantile_intervals(values, [quantile], cautious=True)
    if not is_bound.any():
        return BoundedInterval(least.value, least.low, least.high, at_least=False)
    (most,) = quantile_intervals(np.where(is_bound, _NEVER, values), [quantile], cautious=True)
    high = math.inf if most.high == _NEVER else most.high
    return BoundedInterval(least.value, least.low, high, at_least=most.value > least.value)


def _ends(in_order: Numbers, quantile: float, effective: float) -> tuple[float, float]:
    """Return the order statistics between which a quantile lies; NaN where there is no such end."""
    n = in_order.size
    # How alike values are is itself estimated, from a fifth as many values: the window is 5 times as long as the time.
    m = math.floor(n / (1 + (_student(effective / 5) / _Z_95) ** 2 * (n / effective - 1)))
    low, high = binomial_ranks(m, quantile)
    scale = (n + 1) / (m + 1)
    return (
        float(in_order[math.floor(low * scale) - 1]) if low >= 1 else math.nan,
        float(in_order[math.ceil(high * scale) - 1]) if high <= m else math.nan,
    )


def outliers_above(values: Numbers) -> float:
    """Return above which time outliers lie: 3 times the distance between the quartiles above the upper one.

    J. W. Tukey, "Exploratory Data Analysis", 1977, 2D.
    """
    quarter, three_quarters = np.quantile(values, [0.25, 0.75])
    return float(three_quarters + 3 * (three_quarters - quarter))


def _student(freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t (M. Abramowitz, I. Stegun, "Handbook", 1964, 26.7.5)."""
    z = _Z_95
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def binomial_ranks(n: int, quantile: float) -> tuple[int, int]:
    """Return the ranks (from 1) of the order statistics between which a quantile lies with 95 % confidence.

    A rank of 0 or n + 1 says that there is no such end: the sample is too small.
    """
    around = 12 * math.sqrt(n * quantile * (1 - quantile)) + 30
    k = np.arange(max(0, math.floor(n * quantile - around)), min(n, math.ceil(n * quantile + around)) + 1)
    steps = np.log((n - k[:-1]) / (k[:-1] + 1) * quantile / (1 - quantile))
    log_share = np.concatenate([[0.0], np.cumsum(steps)])
    share = np.exp(log_share - log_share.max())
    share /= share.sum()
    at_most, at_least = np.cumsum(share), np.cumsum(share[::-1])[::-1]
    low = int(k[0]) + int((at_most <= RISK / 2).sum())
    return low, int(k[-1]) + 1 - int((at_least <= RISK / 2).sum())


def n_effective(indicator: npt.NDArray[np.bool_]) -> float:
    """Return how many independent pings tell as much: n over the integrated autocorrelation time.

    The time is summed up to the first lag that is 5 times as long as it (A. Sokal, "Monte Carlo methods in statistical
    mechanics", 1996, section 3), and corrected for the mean that was taken from the sample itself (U. Wolff, "Monte
    Carlo errors with less errors", 2004, equation 49).

    Parameters
    ----------
    indicator
        Shape (n,), of each ping in the order in which they were measured whether it is within a quantile, or failed.
    """
    n = indicator.size
    centered = indicator - indicator.mean() if n else np.empty(0)
    variance = float(centered @ centered)
    if variance == 0:
        return float(n)
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centered, size)
    correlation = np.fft.irfft(spectrum * spectrum.conj(), size)[:n] / variance
    time = 2 * np.cumsum(correlation) - 1
    window = int(np.argmax(np.arange(n) >= _WINDOW * time))
    return n / max(1.0, float(time[window]) * (1 + (2 * window + 1) / n))


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a share (E. B. Wilson, "Probable inference, the law of succession", 1927).

    Unlike the textbook interval it does not shrink to nothing where no error was seen. NaN where `n` is 0.
    """
    if n == 0:
        return math.nan, math.nan
    share, z2 = hits / n, _Z_95**2
    center = share + z2 / (2 * n)
    half = _Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low, high = (center - half) / (1 + z2 / n), (center + half) / (1 + z2 / n)
    # At the ends the two halves cancel only up to rounding.
    return (0.0 if hits == 0 else low), (1.0 if hits == n else high)


def share_interval(indicator: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the 95 % interval of the share of pings that failed: Wilson's, on the effective sample size.

    Failures come in outages: ten in a row tell little more than one.
    """
    effective = n_effective(indicator)
    return wilson(float(indicator.mean()) * effective, effective) if indicator.size else (math.nan, math.nan)


class Shift(NamedTuple):
    """By how much the second of each pair is larger, with an interval; NaN where there are too few pairs for one."""

    estimate: float
    low: float
    high: float
    p_value: float


def signed_rank(differences: Numbers, comparisons: int = 1) -> Shift:
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
def _at_most(n: int) -> Numbers:
    """Return how probable a signed-rank sum of at most 0, 1, 2 ... is: each rank is in it or not, by a fair coin."""
    share = np.ones(1)
    for rank in range(1, n + 1):
        without = np.concatenate([share, np.zeros(rank)])
        without[rank:] += share
        share = without / 2
    return np.cumsum(share)


def next_look(pings: int) -> int:
    """Return after how many successes a series is looked at next: 100, and then each time there are a tenth more."""
    look = FIRST_LOOK
    while look <= pings:
        look = math.ceil(look * 1.1)
    return look


def series_is_narrow(values_ms: Numbers, share: float) -> bool:
    """Tell whether a series may end: whether half the width of the interval of its median is such a share of that.

    The rule looks at the width alone. Stopping as soon as an interval is narrow leaves its risk near 5 %, which
    stopping as soon as a difference shows would not (Y. S. Chow, H. Robbins, "On the asymptotic theory of fixed-width
    sequential confidence intervals", 1965).
    """
    (found,) = quantile_intervals(values_ms, [0.5])
    return values_ms.size >= FIRST_LOOK and (found.high - found.low) / 2 <= share * found.value


def cell_is_narrow(block_medians_ms: Sequence[Numbers], baseline_ms: float, share: float) -> bool:
    """Tell whether the intervals of all differences to the first line are as narrow as such a share of its median.

    Parameters
    ----------
    block_medians_ms
        Of each line, the baseline first, shape (rounds,): the medians of its blocks in the rounds that all have.
    baseline_ms
        The median of all pings of the baseline.
    """
    baseline, *others = block_medians_ms
    if baseline.size < FEWEST_ROUNDS:
        return False
    together = -(-baseline.size // MOST_PAIRS)
    used = baseline.size // together * together
    # The mean difference of several rounds is as symmetric as each.
    differences = [(other - baseline)[:used].reshape(-1, together).mean(axis=1) for other in others]
    shifts = [signed_rank(each, len(others)) for each in differences]
    return all((shift.high - shift.low) / 2 <= share * baseline_ms for shift in shifts)
