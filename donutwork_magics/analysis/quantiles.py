"""One percentile, and how many values it takes to speak of it; needs numpy only, as the live view does."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

_RISK: Final = 0.05


def pings_needed(quantile: float) -> int:
    """Return how many values it takes to speak of a quantile: 5 for p50, 59 for p95, 299 for p99.

    With that many, the largest lies above the true quantile with 95 % confidence, whatever the distribution is:
    ``1 - quantile ** n >= 0.95`` (S. S. Wilks, "Determination of sample sizes for setting tolerance limits", 1941);
    below the median the smallest lies below it.
    """
    return math.ceil(math.log(_RISK) / math.log(max(quantile, 1 - quantile)))


def percentile(values: npt.NDArray[np.float64], quantile: float) -> float:
    """Return a percentile, or NaN where there are fewer values than `pings_needed`.

    The median is that of the textbooks. In the tail it is the nearest rank, a value that was measured: between two
    modes, interpolation would name one that no ping had.

    Parameters
    ----------
    values
        Shape (n,), none of them NaN.
    quantile
        Between 0 and 1.
    """
    if values.size < pings_needed(quantile):
        return math.nan
    return float(np.percentile(values, 100 * quantile, method="linear" if quantile == 0.5 else "inverted_cdf"))
