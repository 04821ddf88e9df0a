"""``--expect``: what a user expects of a series, read from its text; needs neither numpy nor pandas.

Expectations are k6's thresholds, made honest: `donutwork_magics.analysis.judge` judges them by their interval.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from donutwork_magics.frame.schema import METRICS
from donutwork_magics.units import format_tick_ms

_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_EXPECTATION: Final = re.compile(r"(?:([a-z_]+)\.)?(p[0-9.]+|max|errors)\s*(<=?)\s*(\S+)", re.ASCII)
_QUANTILE: Final = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,4})?)", re.ASCII)
_TIME: Final = re.compile(rf"({_NUMBER})(us|\N{{MICRO SIGN}}s|\N{{GREEK SMALL LETTER MU}}s|ms|s|m|min|)", re.ASCII)
_SHARE: Final = re.compile(rf"({_NUMBER})%", re.ASCII)
_TO_MS: Final = {"us": 1e-3, "\N{MICRO SIGN}s": 1e-3, "\N{GREEK SMALL LETTER MU}s": 1e-3, "ms": 1.0, "": 1e3, "s": 1e3}
_MINUTE_MS: Final = 60e3
_LONGEST_MS: Final = 3600e3

_FORMS: Final = 'needs a limit such as "p95<200ms", "ttfb_ms.p50<=40ms", "max<2s" or "errors<1%".'


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

    A time without a unit is in seconds; a column is one of `METRICS`, and ``duration_ms`` where none is named.

    Raises
    ------
    ValueError
        With the end of a sentence, "needs ...", which does not repeat the text.
    """
    match = _EXPECTATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(_FORMS)
    column, statistic, sign, limit = match.groups()
    if column is not None and (column not in METRICS or statistic == "errors"):
        raise ValueError(f"needs, before the dot, one of the columns {', '.join(METRICS)}.")
    if statistic == "errors":
        return Expectation("", None, parse_share(limit), sign == "<=")
    quantile = 1.0 if statistic == "max" else _quantile(statistic)
    return Expectation(column or "duration_ms", quantile, _time_ms(limit), sign == "<=")


def parse_share(text: str) -> float:
    """Read a share above 0 and below 1 from a percentage: ``5%``, ``0.5%``.

    Raises
    ------
    ValueError
        With the end of a sentence, "needs ...", which does not repeat the text.
    """
    match = _SHARE.fullmatch(text)
    if match is None or not 0 < float(match[1]) < 100:
        raise ValueError("needs a percentage above 0% and below 100%, such as 5% or 0.5%.")
    return float(match[1]) / 100


def _quantile(text: str) -> float:
    match = _QUANTILE.fullmatch(text)
    if match is None or not 0 < float(match[1]) < 100:
        raise ValueError("needs a percentile above p0 and below p100, such as p50, p95 or p99.9.")
    return float(match[1]) / 100


def _time_ms(text: str) -> float:
    match = _TIME.fullmatch(text)
    time_ms = float(match[1]) * _TO_MS.get(match[2], _MINUTE_MS) if match else 0.0
    if not 0 < time_ms <= _LONGEST_MS:
        raise ValueError("needs a time above 0 and up to an hour, such as 200ms or 2s.")
    return time_ms
