"""``--until``: whether an interval is narrow enough to stop; numpy only.

The rule looks at the width alone. Stopping as soon as an interval is narrow leaves its risk near 5 %, which stopping as
soon as a difference shows would not (Y. S. Chow, H. Robbins, "On the asymptotic theory of fixed-width sequential
confidence intervals", 1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from donutwork_magics.analysis.intervals import quantile_intervals
from donutwork_magics.analysis.signed_rank import MOST_PAIRS, signed_rank

FIRST_LOOK: Final = 100
"""Pings of a series."""
FEWEST_ROUNDS: Final = 10
"""Of a cell; it is looked at after each further one."""
_MORE: Final = 1.1

Numbers = npt.NDArray[np.float64]


def next_look(pings: int) -> int:
    """Return after how many successes a series is looked at next: 100, and then each time there are a tenth more."""
    look = FIRST_LOOK
    while look <= pings:
        look = int(np.ceil(look * _MORE))
    return look


def series_is_narrow(values_ms: Numbers, share: float) -> bool:
    """Tell whether the interval of the median is narrow enough: half of its width, over the median.

    Parameters
    ----------
    values_ms
        Shape (n,): the durations of successes without warm-up, in the order of their starts.
    share
        Above 0 and below 1.
    """
    half_width_ms, median_ms = series_half_width_ms(values_ms)
    return values_ms.size >= FIRST_LOOK and half_width_ms <= share * median_ms


def series_half_width_ms(values_ms: Numbers) -> tuple[float, float]:
    """Return half the width of the interval of the median, and the median; NaN where there is none."""
    (found,) = quantile_intervals(values_ms, [0.5])
    return (found.high - found.low) / 2, found.value


def cell_is_narrow(block_medians_ms: Sequence[Numbers], baseline_ms: float, share: float) -> bool:
    """Tell whether the intervals of all differences to the first line are narrow enough, over its median.

    Parameters
    ----------
    block_medians_ms
        Of each line, the baseline first, shape (rounds,): the medians of its blocks in the rounds that all have.
    baseline_ms
        The median of all pings of the baseline.
    share
        As for `series_is_narrow`.
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
