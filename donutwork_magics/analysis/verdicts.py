"""A comparison in words: by how much, how surely, and what would show more."""

from __future__ import annotations

import math
from typing import Final

from donutwork_magics.analysis.signed_rank import Shift
from donutwork_magics.units import UNITS

_SHARES: Final = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001)
_SHOWN: Final = 1.6
"""A difference of so many half widths of the interval is shown in some 8 of 10 experiments (simulated: 71 to 84 %)."""


def verdict(shift: Shift, ratio: float, baseline_ms: float, pings: int) -> str:
    """Say what a comparison has shown.

    Parameters
    ----------
    shift
        By how much it takes longer than the baseline, in milliseconds.
    ratio
        The same as a ratio; NaN where there is none.
    baseline_ms
        How long the baseline takes.
    pings
        Of a line, so far.
    """
    low, high = shift.low, shift.high
    largest = max(abs(low), abs(high)) or 1.0
    size, unit = next((each for each in reversed(UNITS) if largest >= each[0]), UNITS[0])
    if not low <= 0 <= high:
        word = "slower" if low > 0 else "faster"
        # The end that is nearer to 0 is not to be rounded to it.
        decimals = _decimals(min((high - low) / 4 or abs(high) / 100, abs(low), abs(high)) / size)
        by, *ends = (f"{each / size:.{decimals}f}" for each in (abs(shift.estimate), *sorted((abs(low), abs(high)))))
        share = "" if math.isnan(ratio) else f", {_percent(abs(ratio - 1))}"
        return f"{by} {unit} {word} ({ends[0]} to {ends[1]}){share}"
    decimals = _decimals((high - low) / 4 / size)
    ends = [f"{each / size:+.{decimals}f}" if round(each / size, decimals) else "0" for each in (low, high)]
    needed = pings_to_show(shift, baseline_ms, pings)
    more = f"; some {_roughly(needed[1])} pings a line would show {_percent(needed[0])}" if needed else ""
    return f"no difference shown: {ends[0]} to {ends[1]} {unit}{more}"


def pings_to_show(shift: Shift, baseline_ms: float, pings: int) -> tuple[float, float] | None:
    """Return a difference that is not shown yet, as a share of the baseline, and how many pings a line would show it.

    The interval narrows with the root of their number. None where it is exact, or the baseline takes no time.

    Parameters
    ----------
    shift, baseline_ms, pings
        As for `verdict`.
    """
    if not baseline_ms > 0 or not shift.high > shift.low:
        return None
    shown = _SHOWN * (shift.high - shift.low) / 2 / baseline_ms
    return next(((share, pings * (shown / share) ** 2) for share in _SHARES if share <= shown), None)


def pings_for(share: float, half_width_ms: float, value_ms: float, pings: int) -> str:
    """Say how many pings would narrow an interval to a share of the value."""
    return _roughly(pings * (half_width_ms / value_ms / share) ** 2)


def _roughly(count: float) -> str:
    """Round up to two digits, of which the second counts below 30 only."""
    power = 10 ** (math.floor(math.log10(count)) - (count / 10 ** math.floor(math.log10(count)) < 3))
    return f"{math.ceil(round(count / power, 6)) * power:.0f}"


def _decimals(resolution: float) -> int:
    """Return how many decimals show differences of a size, 3 at most."""
    return min(3, max(0, -math.floor(math.log10(resolution)))) if resolution > 0 else 0


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"
