"""A comparison in words: by how much, how surely, and what would show more."""

from __future__ import annotations

import math
from typing import Final

from donutwork_magics.analysis.signed_rank import Shift
from donutwork_magics.units import UNITS

_SHARES: Final = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001)
_SHOWN_FOR_SURE: Final = 1.43
"""A difference of so many half widths of the interval is shown in 80 of 100 experiments: (1.96 + 0.84) / 1.96."""


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
    ends = [f"{each / size:+.{decimals}f}" if each else "0" for each in (low, high)]
    return f"no difference shown: {ends[0]} to {ends[1]} {unit}{_more(high - low, baseline_ms, pings)}"


def _more(width_ms: float, baseline_ms: float, pings: int) -> str:
    """Say how many pings would show a smaller difference: the interval narrows with the root of their number."""
    if not baseline_ms > 0 or not width_ms > 0:
        return ""
    shown = _SHOWN_FOR_SURE * width_ms / 2 / baseline_ms
    share = next((each for each in _SHARES if each <= shown), None)
    if share is None:
        return ""
    return f"; some {_roughly(pings * (shown / share) ** 2)} pings a line would show {_percent(share)}"


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
