"""``--expect``: an expectation of a series, read from its text (without pandas), and judged by its interval."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from donutwork_magics.columns import METRICS
from donutwork_magics.errors import AnalysisError
from donutwork_magics.units import format_ms, format_share, format_tick_ms

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["holds", "fails", "undecided"]

_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_MICROSECONDS: Final = ("us", "\N{MICRO SIGN}s", "\N{GREEK SMALL LETTER MU}s")
_TO_MS: Final = {**dict.fromkeys(_MICROSECONDS, 1e-3), "ms": 1.0, "s": 1e3, "m": 60e3}
_TIME: Final = re.compile(
    rf"(?:([a-z_]+)\.)?(?:p([0-9]{{1,2}}(?:\.[0-9]{{1,4}})?)|max)(<=?){_NUMBER}({'|'.join(_TO_MS)})", re.ASCII
)
_ERRORS: Final = re.compile(rf"errors(<=?){_NUMBER}%", re.ASCII)
_LONGEST_MS: Final = 3600e3
_TIMED_OUT: Final = ("duration_ms", "corrected_ms")
"""The times that a timeout has: a lower bound of each."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """That a percentile, the longest time or the share of errors is below a limit."""

    column: str
    """Of the time; empty for the share of errors."""
    quantile: float | None
    """Between 0 and 1; 1 for the longest time, and None for the share of errors."""
    limit: float
    """In milliseconds, or from 0 to 1."""
    or_equal: bool = False
    """Whether the limit itself is still as expected."""

    def __str__(self) -> str:
        sign = "<=" if self.or_equal else "<"
        if self.quantile is None:
            return f"errors{sign}{100 * self.limit:.6g}%"
        column = "" if self.column == "duration_ms" else f"{self.column}."
        name = "max" if self.quantile == 1 else f"p{100 * self.quantile:.6g}"
        return f"{column}{name}{sign}{format_tick_ms(self.limit).replace(' ', '')}"


def parse_expectation(text: str) -> Expectation:
    """Read an expectation: ``[column.]pNN<time``, ``[column.]max<time`` or ``errors<share``, with ``<`` or ``<=``.

    A time needs its unit: ``p95<200`` would mean seconds, and hold whatever happens. The column is one of `METRICS`;
    where none is named it is ``duration_ms``.

    Raises
    ------
    ValueError
        With the end of a sentence, "needs ...", which does not repeat the text.
    """
    squeezed = "".join(text.split())
    errors, time = _ERRORS.fullmatch(squeezed), _TIME.fullmatch(squeezed)
    if errors is not None and 0 < float(errors[2]) < 100:
        return Expectation("", None, float(errors[2]) / 100, errors[1] == "<=")
    if time is not None:
        column, percentile, sign, number, unit = time.groups()
        quantile = 1.0 if percentile is None else float(percentile) / 100
        limit_ms = float(number) * _TO_MS[unit]
        if (column is None or column in METRICS) and quantile > 0 and 0 < limit_ms <= _LONGEST_MS:
            return Expectation(column or "duration_ms", quantile, limit_ms, sign == "<=")
    raise ValueError("needs a limit with its unit, such as p95<200ms, ttfb_ms.p50<=40ms, max<1s or errors<1%.")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of an expectation.

    Attributes
    ----------
    value, low, high
        Milliseconds, or a share from 0 to 1; NaN where the sample does not support it. Where timeouts reach so far,
        `value` is a lower bound, and `high` is infinite.
    n
        How many pings it is judged by.
    timed_out
        How many of these are timeouts, of which only a lower bound is known.
    in_flight
        How many of these had no reply as the run ended, of which only a lower bound is known too; for ``corrected_ms``
        with the starts that were due by then and not made.
    failed
        How many other pings have failed, and so have no time; 0 for the share of errors, which counts them.
    pings
        How many pings there are, these too.
    at_least
        Whether `value` is a lower bound.
    above_wait
        In how many replies the server reports more than the wait, so that the time of the network is not known.
    """

    expectation: Expectation
    outcome: Outcome
    value: float
    low: float
    high: float
    n: int
    timed_out: int = 0
    in_flight: int = 0
    failed: int = 0
    pings: int = 0
    at_least: bool = False
    above_wait: int = 0

    def __str__(self) -> str:
        verb = "is undecided" if self.outcome == "undecided" else self.outcome
        text = f"{self.expectation} {verb}: {self._found()}"
        if not self.failed:
            return text
        failed = f"{self.failed} of {self.pings} pings failed{' otherwise' if self.timed_out else ''}"
        return f"{text}; {failed} and are not counted: errors<1% judges them"

    def _found(self) -> str:
        from donutwork_magics.analysis.intervals import pings_needed

        quantile = self.expectation.quantile
        if self.above_wait:
            return f"in {self.above_wait} of {self.n} replies the RRT is above the wait, so network time is not known"
        if math.isnan(self.value):
            needed = 1 if quantile in {None, 1} else pings_needed(quantile)
            return f"of the {needed} pings that it needs there are {self.n}"
        as_text = format_share if quantile is None else format_ms
        value = f"{as_text(self.value)}{' or more' if self.at_least else ''}"
        interval = f"{as_text(self.low)} to {as_text(self.high)}"
        if math.isnan(self.low) and math.isnan(self.high):
            interval = f"no interval: {self.n} pings are too few, or too alike"
        elif self.at_least or not math.isfinite(self.high):
            interval = f"{as_text(self.low)} or more"
        elif math.isnan(self.low):
            interval = f"{as_text(self.high)} or less"
        known = [interval] if quantile != 1 and interval != value else []
        known += [f"{self.timed_out} of {self.n} timed out"] if self.timed_out else []
        known += [f"{self.in_flight} of {self.n} had no reply as the run ended"] if self.in_flight else []
        return f"{value} ({'; '.join(known)})" if known else value


def judge(expectation: Expectation | str, df: pd.DataFrame) -> Judgement:
    """Judge whether a series is as expected.

    It holds where the 95 % interval lies below the limit, fails where it lies above, and else is undecided: each of the
    first two is wrong in about one of 40 series. The interval takes the tail for as alike as the middle, so that it may
    be wider than the one that `percentiles` shows. The longest time is of these pings, and has no interval. Warm-up
    rows are left out; the share of errors is of all pings.

    Times are of successes, and ``duration_ms`` and ``corrected_ms`` also of timeouts: a ping that timed out took its
    duration or more, and one in flight as the run ended what it had waited or more. So the low end of the interval
    takes these for as long as that, and the high end takes them for endless. Where too many timed out, a limit below
    their durations fails, and one above is undecided. Pings that failed otherwise have no time and are not counted,
    which the text of the judgement says. Where the server reports more than the wait in more than a few replies,
    ``network_ms`` is undecided.

    Parameters
    ----------
    expectation
        As `parse_expectation` returned it, or a text for that.
    df
        A table of schema 1; the rows of one line, where it has several.

    Raises
    ------
    AnalysisError
        A ValueError: the frame lacks a column, or the text is no expectation.
    """
    import numpy as np

    from donutwork_magics.analysis.counted import above_wait, as_array, attributes, counted, is_timeout, overdue_ms
    from donutwork_magics.analysis.intervals import bounded_interval, share_interval

    expected, problem = expectation, ""
    if isinstance(expected, str):
        try:
            expected = parse_expectation(expected)
        except ValueError as error:
            problem = f"expectation {error}"
    if problem or not isinstance(expected, Expectation):
        raise AnalysisError(problem or "expectation needs a text such as p95<200ms.")
    rows = counted(df, expected.column or "duration_ms")
    failed = rows["error"].notna()
    if expected.quantile is None:
        value = float(failed.mean()) if len(rows) else math.nan
        low, high = share_interval(failed.to_numpy(dtype=bool))
        return Judgement(expected, _outcome(expected, low, high), value, low, high, len(rows))
    timed_out = is_timeout(rows) & (expected.column in _TIMED_OUT)
    timed = rows[(~failed | timed_out) & rows[expected.column].notna()]
    attrs, labels = attributes(df) if expected.column in _TIMED_OUT else {}, set(timed["label"])
    waited_ms = [each["waited_ms"] for each in attrs.get("in_flight") or () if each["label"] in labels]
    if expected.column == "corrected_ms":
        waited_ms += overdue_ms(attrs, labels).tolist()
    is_bound = np.append(timed_out.loc[timed.index].to_numpy(dtype=bool), np.ones(len(waited_ms), dtype=bool))
    values_ms = np.append(as_array(timed[expected.column]), waited_ms)
    value, low, high, at_least = bounded_interval(values_ms, is_bound, expected.quantile)
    above = above_wait(values_ms) if expected.column == "network_ms" else 0
    if above:
        value = low = high = math.nan
    return Judgement(
        expected,
        _outcome(expected, low, high),
        value,
        low,
        high,
        n=len(values_ms),
        timed_out=int(timed_out.loc[timed.index].sum()),
        in_flight=len(waited_ms),
        failed=int((failed & ~timed_out).sum()),
        pings=len(rows),
        at_least=at_least,
        above_wait=above,
    )


def _outcome(expected: Expectation, low: float, high: float) -> Outcome:
    # NaN is neither below nor above.
    if high < expected.limit or (expected.or_equal and high == expected.limit):
        return "holds"
    if low > expected.limit or (not expected.or_equal and low == expected.limit):
        return "fails"
    return "undecided"
