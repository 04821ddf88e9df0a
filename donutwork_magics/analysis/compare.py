"""Did it help? Groups against a baseline, by the differences of their blocks within each round, and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from donutwork_magics.analysis.counted import By, as_array, groups, measured, runs
from donutwork_magics.analysis.intervals import MOST_PAIRS, Numbers, Shift, percentile, pings_needed, signed_rank
from donutwork_magics.analysis.summary import checked_quantiles
from donutwork_magics.errors import AnalysisError
from donutwork_magics.sampling.plan import rounds_needed
from donutwork_magics.units import MINUS, UNITS, enumerate_some, plural, short_name

NOT_INTERLEAVED: Final = "not interleaved"
_ELSEWHERE: Final = f"{NOT_INTERLEAVED}, and measured on different machines"
_ROUND: Final = ["place", "block"]
_COLUMNS: Final = ("seq", "label", "block", "timestamp", "started_ms", "error", "run", "vantage")
_FOUND: Final = (
    *("baseline_ms", "value_ms", "difference_ms", "low_ms", "high_ms", "ratio", "ratio_low", "ratio_high"),
    *("p_value", "blocks", "verdict"),
)
_UNKNOWN: Final = Shift(math.nan, math.nan, math.nan, math.nan)
_SHARES: Final = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001)
_SHOWN: Final = 2.0
"""A difference of so many half widths is shown in 8 of 10 experiments at least (simulated: 84 to 92 %)."""


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
    by_group: dict[Any, pd.DataFrame] = dict(iter(_with_places(rows, by).groupby("group")))
    values_ms = {name: percentile(as_array(measured(parts[at], metric)), quantile) for name, at in places.items()}
    others = [name for name in places if name != first]
    found = [
        _compared(
            _rounds_of(by_group, places[first], places[name], metric, quantile),
            (values_ms[first], values_ms[name]),
            quantile,
            len(others),
        )
        for name in others
    ]
    index = names[[places[name] for name in others]]
    compared = pd.DataFrame(found, index=index, columns=list(_FOUND)).astype({"blocks": "int64", "verdict": "string"})
    compared.attrs["baseline"] = first
    return compared


def _compared(rounds: _Rounds, both_ms: tuple[float, float], quantile: float, comparisons: int) -> tuple[Any, ...]:
    """Return a row of the result, in the order of its columns."""
    baseline_ms, value_ms = both_ms
    needed, count, reason = rounds_needed(comparisons + 1), rounds.other.size, rounds.reason
    if math.isnan(baseline_ms) or math.isnan(value_ms):
        reason = f"p{100 * quantile:g} needs {pings_needed(quantile)} successes of each"
    elif not reason and count < needed:
        reason = f"{plural(count, 'round')} of the {needed} that it needs"
    if reason:
        shift = _UNKNOWN._replace(estimate=value_ms - baseline_ms)
        ratio = _UNKNOWN._replace(estimate=value_ms / baseline_ms if min(both_ms) > 0 else math.nan)
        return (*both_ms, *shift[:3], *ratio[:3], math.nan, count, f"no verdict: {reason}")
    shift, ratio = signed_rank(rounds.other - rounds.baseline, comparisons), _UNKNOWN
    if min(rounds.baseline.min(), rounds.other.min()) > 0:
        logs = signed_rank(np.log(rounds.other) - np.log(rounds.baseline), comparisons)
        ratio = Shift(math.exp(logs.estimate), math.exp(logs.low), math.exp(logs.high), logs.p_value)
    words = verdict(shift, ratio.estimate, baseline_ms, rounds.pings)
    return (*both_ms, *shift[:3], *ratio[:3], shift.p_value, count, words)


class _Rounds(NamedTuple):
    """The block quantiles of two groups in the rounds that both have; there are none where there is a reason for it."""

    baseline: Numbers
    other: Numbers
    pings: int
    """In these rounds, of the group that has fewer."""
    reason: str = ""


def _with_places(rows: pd.DataFrame, by: By) -> pd.DataFrame:
    """Add the ``place`` of each row (a run at one vantage point), and whether its block is ``whole``.

    Blocks of one number at one place are a round. A block is whole where all of its pings are of one ``group``: blocks
    were measured in random order, and their pings were not.
    """
    rows = rows.assign(run=runs(rows), vantage=rows["vantage"].astype(object) if "vantage" in rows else None)
    # Machines that are compared with each other share their rounds.
    places = ["run"] if isinstance(by, str) and by == "vantage" else ["run", "vantage"]
    rows["place"] = rows.groupby(places, dropna=False).ngroup()
    in_block = rows.groupby([*_ROUND, "vantage", "label"], observed=True, dropna=False)["group"]
    rows["whole"] = in_block.transform("min") == in_block.transform("max")
    return rows


def _rounds_of(rows: Mapping[int, pd.DataFrame], baseline: int, other: int, metric: str, quantile: float) -> _Rounds:
    """Compute the block quantiles of two groups in the rounds that both have.

    The median is that of the textbooks, another quantile the nearest rank, which needs ``1 / (1 - quantile)`` pings.
    Where blocks have fewer, or there are more than `MOST_PAIRS`, rounds that follow each other are taken together:
    where groups do not differ, exchanging their blocks in several rounds at once changes nothing either.
    """
    pair = pd.concat([rows[baseline], rows[other]])
    sizes = _by_round(pair, baseline, other).dropna()
    if not pair["whole"].all() or not sizes.groupby("place").size().gt(1).any():
        vantages = [set(pair.loc[pair["group"] == group, "vantage"].fillna("")) for group in (baseline, other)]
        return _Rounds(np.empty(0), np.empty(0), 0, NOT_INTERLEAVED if set.intersection(*vantages) else _ELSEWHERE)
    last = ~sizes.index.get_level_values("place").duplicated(keep="last")
    # An interrupt cuts the last round short; else the sizes of blocks differ by one at most.
    sizes = sizes[~(last & (sizes < sizes[~last].min() - 1).any(axis=1))]
    values = measured(pair, metric)
    pair = pair.loc[values.index].assign(value=values)
    needed = math.ceil(round(1 / min(quantile, 1 - quantile), 9))
    counts = _by_round(pair, baseline, other).reindex(sizes.index).fillna(0)
    typical = float(np.median(counts, axis=0).min())
    together = max(math.ceil(len(sizes) / MOST_PAIRS), math.ceil(needed / max(typical, 1)))
    taken = pd.DataFrame({"round": sizes.groupby("place").cumcount() // together})
    pair = pair.join(taken.groupby(["place", "round"]).ngroup().rename("round"), on=_ROUND, how="inner")
    found = [_quantiles(pair[pair["group"] == group], quantile, needed) for group in (baseline, other)]
    both = pd.concat(found, axis=1, join="inner", keys=["baseline", "other"])
    pings = int(both.xs("pings", axis=1, level=1).to_numpy().sum(axis=0).min())
    return _Rounds(as_array(both["baseline", "value"]), as_array(both["other", "value"]), pings)


def _by_round(pair: pd.DataFrame, baseline: int, other: int) -> pd.DataFrame:
    """Count the rows of two groups in each round."""
    return pair.groupby([*_ROUND, "group"]).size().unstack("group").reindex(columns=[baseline, other])


def _quantiles(rows: pd.DataFrame, quantile: float, needed: int) -> pd.DataFrame:
    """Compute the quantile of each ``round`` that has as many pings as it takes."""
    rounds, values = rows["round"].to_numpy(), as_array(rows["value"])
    order = np.lexsort((values, rounds))
    rounds, values = rounds[order], values[order]
    first = np.flatnonzero(np.diff(rounds, prepend=rounds[:1] - 1))
    sizes = np.diff(np.append(first, rounds.size))
    if quantile == 0.5:
        found = (values[first + (sizes - 1) // 2] + values[first + sizes // 2]) / 2
    else:
        found = values[first + np.ceil(np.round(quantile * sizes, 9)).astype(np.int64) - 1]
    return pd.DataFrame({"pings": sizes, "value": found}, index=rounds[first])[sizes >= needed]


def verdict(shift: Shift, ratio: float, baseline_ms: float, pings: int) -> str:
    """Say what a comparison has shown; a ratio of NaN is left out, and `pings` is how many a line had."""
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
    signed = (f"{each / size:+.{decimals}f}" if round(each / size, decimals) else "0" for each in (low, high))
    ends = [text.replace("-", MINUS) for text in signed]
    needed = pings_to_show(shift, baseline_ms, pings)
    more = f"; some {_roughly(needed[1])} pings a line would show {_percent(needed[0])}" if needed else ""
    return f"no difference shown: {ends[0]} to {ends[1]} {unit}{more}"


def pings_to_show(shift: Shift, baseline_ms: float, pings: int) -> tuple[float, float] | None:
    """Return a difference that is not shown yet, as a share of the baseline, and how many pings a line would show it.

    The interval narrows with the root of their number. None where it is exact, or the baseline takes no time.
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
