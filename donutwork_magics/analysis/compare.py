"""Did it help? Groups against a baseline, by the differences of their blocks within each round."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pandas as pd

from donutwork_magics.analysis.counted import By, as_array, groups, measured
from donutwork_magics.analysis.percentiles import checked_quantiles
from donutwork_magics.analysis.quantiles import percentile, pings_needed
from donutwork_magics.analysis.rounds import Rounds, rounds_of, with_places
from donutwork_magics.analysis.signed_rank import Shift, rounds_needed, signed_rank
from donutwork_magics.analysis.verdicts import verdict
from donutwork_magics.errors import AnalysisError
from donutwork_magics.units import enumerate_some, short_name

_UNKNOWN: Final = Shift(math.nan, math.nan, math.nan, math.nan)
_COLUMNS: Final = ("seq", "label", "block", "timestamp", "started_ms", "error", "run", "vantage")


def compare(
    df: pd.DataFrame,
    baseline: Any = None,
    metric: str = "duration_ms",
    q: float = 0.5,
    by: By = "label",
) -> pd.DataFrame:
    """Compare groups with a baseline, in an experiment whose lines ran interleaved.

    Each round has one block of every line, in random order. So the differences of block quantiles within the rounds are
    symmetric about 0 where lines do not differ, whatever drifts meanwhile and however alike consecutive pings are. The
    estimate is Hodges and Lehmann's, interval and p-value are those of the exact Wilcoxon signed rank (`signed_rank`).
    The intervals of several groups hold together with 95 % (Bonferroni).

    Parameters
    ----------
    df
        A table of schema 1, also of several experiments that were joined: rounds are told apart by ``run`` (and by
        ``vantage``, unless that is what is compared).
    baseline
        The group with which the others are compared; the first line unless named.
    metric
        A column in milliseconds.
    q
        The quantile that is compared. A block needs ``1 / (1 - q)`` pings; where it has fewer, rounds that follow each
        other are taken together.
    by
        Whatever ``groupby`` takes. Groups can have a verdict where each block is of one group only: labels are, and
        whatever is the same for all pings of a label.

    Returns
    -------
    pandas.DataFrame
        One row a group but the baseline, with these columns:

        ``baseline_ms``, ``value_ms``
            The quantile of all counted pings; NaN where there are fewer than `pings_needed`.
        ``difference_ms``, ``low_ms``, ``high_ms``
            By how much the group is slower than the baseline, and the interval; negative where it is faster. Without
            a verdict the difference is that of the two columns before, and there is no interval.
        ``ratio``, ``ratio_low``, ``ratio_high``
            The same as a ratio, by the differences of logarithms; NaN where a block quantile is not above 0.
        ``p_value``
            Adjusted for several groups: below 0.05 exactly where the interval excludes 0.
        ``blocks``
            How many rounds were compared; one that lacks a block, or has one that was cut short, is left out.
        ``verdict``
            In words, as in ``"2.1 ms faster (1.8 to 2.4), 8 %"``.

        The name of the baseline is in ``attrs["baseline"]``.

    Raises
    ------
    AnalysisError
        A ValueError: the frame lacks a column, an argument does not exist in it, or there are not two groups.
    """
    (quantile,) = checked_quantiles([q])
    names, parts = groups(df, by, metric, more=("block",))
    places = {name: at for at, name in enumerate(names) if not (pd.api.types.is_scalar(name) and pd.isna(name))}
    if len(places) < 2:
        raise AnalysisError("A comparison needs two groups, and this table has one: measure several lines in a cell.")
    first = next(iter(places)) if baseline is None else baseline
    if not pd.api.types.is_hashable(first) or first not in places:
        known = enumerate_some([short_name(name) for name in places])
        raise AnalysisError(f"baseline must be one of the groups of this table: {known}.")
    columns = [name for name in dict.fromkeys((*_COLUMNS, metric)) if name in parts[0].columns]
    rows = pd.concat([parts[at][columns].assign(group=at) for at in places.values()], ignore_index=True)
    by_group: dict[Any, pd.DataFrame] = dict(iter(with_places(rows, by).groupby("group")))
    values_ms = {name: percentile(as_array(measured(parts[at], metric)), quantile) for name, at in places.items()}
    others = [name for name in places if name != first]
    found = [
        _compared(
            rounds_of(by_group, places[first], places[name], metric, quantile),
            values_ms[first],
            values_ms[name],
            quantile,
            comparisons=len(others),
        )
        for name in others
    ]
    index = names[[places[name] for name in others]]
    compared = pd.DataFrame(found, index=index).astype({"blocks": "int64", "verdict": "string"})
    compared.attrs["baseline"] = first
    return compared


def _compared(
    rounds: Rounds, baseline_ms: float, value_ms: float, quantile: float, *, comparisons: int
) -> dict[str, Any]:
    needed = rounds_needed(comparisons)
    if math.isnan(baseline_ms) or math.isnan(value_ms):
        reason = f"p{100 * quantile:g} needs {pings_needed(quantile)} successes of each"
    elif rounds.reason or rounds.other.size >= needed:
        reason = rounds.reason
    else:
        reason = f"{rounds.other.size} rounds of the {needed} that it needs"
    shift = Shift(value_ms - baseline_ms, math.nan, math.nan, math.nan)
    ratio = _UNKNOWN._replace(estimate=value_ms / baseline_ms if baseline_ms > 0 and value_ms > 0 else math.nan)
    if not reason:
        shift, ratio = signed_rank(rounds.other - rounds.baseline, comparisons), _ratio(rounds, comparisons)
    return {
        "baseline_ms": baseline_ms,
        "value_ms": value_ms,
        "difference_ms": shift.estimate,
        "low_ms": shift.low,
        "high_ms": shift.high,
        "ratio": ratio.estimate,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "p_value": shift.p_value,
        "blocks": rounds.other.size,
        "verdict": f"no verdict: {reason}" if reason else verdict(shift, ratio.estimate, baseline_ms, rounds.pings),
    }


def _ratio(rounds: Rounds, comparisons: int) -> Shift:
    if min(rounds.baseline.min(), rounds.other.min()) <= 0:
        return _UNKNOWN
    found = signed_rank(np.log(rounds.other) - np.log(rounds.baseline), comparisons)
    estimate, low, high = map(math.exp, found[:3])
    return Shift(estimate, low, high, found.p_value)
