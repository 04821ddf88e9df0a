"""``--expect``: what a user expects of a series, read from its text; needs neither numpy nor pandas.

Expectations are k6's thresholds, made honest: `donutwork_magics.analysis.judge` judges them by their interval.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from donutwork_magics.frame.schema import METRICS
from donutwork_magics.units import format_tick_ms

_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_TO_MS: Final = {
    "us": 1e-3,
    "\N{MICRO SIGN}s": 1e-3,
    "\N{GREEK SMALL LETTER MU}s": 1e-3,
    "ms": 1.0,
    "s": 1e3,
    "m": 60e3,
}
_TIME: Final = re.compile(
    rf"(?:([a-z_]+)\.)?(?:p([0-9]{{1,2}}(?:\.[0-9]{{1,4}})?)|max)(<=?){_NUMBER}({'|'.join(_TO_MS)})", re.ASCII
)
_ERRORS: Final = re.compile(rf"errors(<=?){_NUMBER}%", re.ASCII)
_LONGEST_MS: Final = 3600e3


@dataclass(frozen=True, slots=True)
class Expectation:
    """That a percentile, the longest time or the share of errors is below a limit.

    Attributes
    ----------
    column
        Of the time; empty for the share of errors.
    quantile
        Between 0 and 1; 1 for the longest time, and None for the share of errors.
    limit
        In milliseconds, or from 0 to 1.
    or_equal
        Whether the limit itself is still as expected.
    """

    column: str
    quantile: float | None
    limit: float
    or_equal: bool = False

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
