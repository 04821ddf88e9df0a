"""Whether a series is as expected: judged by the interval, so that chance alone seldom decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from donutwork_magics.analysis.counted import as_array, counted, measured
from donutwork_magics.analysis.expectations import Expectation, parse_expectation
from donutwork_magics.analysis.intervals import quantile_intervals, share_interval
from donutwork_magics.analysis.quantiles import pings_needed
from donutwork_magics.units import format_ms, format_share

Outcome = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of an expectation.

    Attributes
    ----------
    value, low, high
        Milliseconds, or a share from 0 to 1; NaN where the sample does not support it.
    n
        How many pings it is judged by.
    """

    expectation: Expectation
    outcome: Outcome
    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        verb = "is undecided" if self.outcome == "undecided" else self.outcome
        quantile = self.expectation.quantile
        if math.isnan(self.value):
            needed = 1 if quantile in {None, 1} else pings_needed(quantile)
            return f"{self.expectation} {verb}: of the {needed} pings that it needs there are {self.n}"
        as_text = format_share if quantile is None else format_ms
        interval = f"{as_text(self.low)} to {as_text(self.high)}"
        if math.isnan(self.low) and math.isnan(self.high):
            interval = f"no interval: {self.n} pings are too few, or too alike"
        return f"{self.expectation} {verb}: {as_text(self.value)}{'' if quantile == 1 else f' ({interval})'}"


def judge(expectation: Expectation | str, df: pd.DataFrame) -> Judgement:
    """Judge whether a series is as expected.

    It holds where the 95 % interval lies below the limit, fails where it lies above, and else is undecided: each of the
    first two is wrong in one of 40 series at most. The longest time is of these pings, and has no interval: it holds or
    fails. Warm-up rows are left out; times are of successes (of ``corrected_ms`` also of timeouts), the share of errors
    is of all pings.

    Parameters
    ----------
    expectation
        As `parse_expectation` returned it, or a text for that.
    df
        A table of schema 1; the rows of one line, where it has several.

    Raises
    ------
    AnalysisError
        A ValueError: the frame lacks a column.
    ValueError
        The text is no expectation.
    """
    expected = parse_expectation(expectation) if isinstance(expectation, str) else expectation
    rows = counted(df, expected.column or "duration_ms")
    if expected.quantile is None:
        failed = rows["error"].notna().to_numpy(dtype=bool)
        n, value = failed.size, float(failed.mean()) if failed.size else math.nan
        low, high = share_interval(failed)
    else:
        values = as_array(measured(rows, expected.column))
        n = values.size
        if expected.quantile == 1:
            value = low = high = float(values.max()) if n else math.nan
        else:
            value, low, high, _ = quantile_intervals(values, [expected.quantile])[0]
    return Judgement(expected, _outcome(expected, low, high), value, low, high, n)


def _outcome(expected: Expectation, low: float, high: float) -> Outcome:
    # NaN is neither below nor above.
    if high < expected.limit or (expected.or_equal and high == expected.limit):
        return "holds"
    if low > expected.limit or (not expected.or_equal and low == expected.limit):
        return "fails"
    return "undecided"
