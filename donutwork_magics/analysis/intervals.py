"""Intervals that stay honest where pings resemble each other: of a percentile, and of a share; numpy only.

Pings that follow each other are alike, so that 300 of them may tell no more than 50 independent ones. How many that is,
the effective sample size, takes the place of their number in the textbook's interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from donutwork_magics.analysis.quantiles import percentile

RISK: Final = 0.05
"""Of an interval: it misses the truth so often."""
FEWEST_EFFECTIVE: Final = 30
"""With fewer, the pings are too alike (or too few) for their likeness to be known."""

_Z_95: Final = 1.959963984540054
_WINDOW: Final = 2.5


class QuantileInterval(NamedTuple):
    """A percentile with its 95 % interval; NaN where the sample does not support one of them."""

    value: float
    low: float
    high: float
    n_effective: float


def quantile_intervals(values: npt.NDArray[np.float64], quantiles: Sequence[float]) -> list[QuantileInterval]:
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
    """
    in_order = np.sort(values)
    # In the tail are too few pings to see how alike they are: the median tells it for all.
    alike = n_effective(values <= np.median(values)) if values.size else 0.0
    return [_quantile_interval(values, in_order, quantile, alike) for quantile in quantiles]


def _quantile_interval(
    values: npt.NDArray[np.float64], in_order: npt.NDArray[np.float64], quantile: float, alike: float
) -> QuantileInterval:
    value = percentile(in_order, quantile)
    effective = alike if quantile == 0.5 or math.isnan(value) else n_effective(values <= value)
    if math.isnan(value) or min(alike, effective) < FEWEST_EFFECTIVE:
        return QuantileInterval(value, math.nan, math.nan, effective)
    n, m = values.size, math.floor(effective)
    low, high = binomial_ranks(m, quantile)
    scale = (n + 1) / (m + 1)
    return QuantileInterval(
        value,
        float(in_order[math.floor(low * scale) - 1]) if low >= 1 else math.nan,
        float(in_order[math.ceil(high * scale) - 1]) if high <= m else math.nan,
        effective,
    )


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
