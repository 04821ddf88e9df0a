"""The rows of one label, and what is known about them: what findings and the card of a run are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from donutwork_magics.analysis.counted import as_array, counted, measured, overdue_ms, planned_order, runs
from donutwork_magics.analysis.intervals import percentile, quantile_intervals
from donutwork_magics.analysis.summary import NEEDED, PERCENTILES, rate_within_blocks_hz, summarised
from donutwork_magics.frame.schema import runs_of
from donutwork_magics.sampling.series import CONTINUED

_ADDED: Final = {"count", "duration_s"}
"""What the parts of a watch, or the runs of a journal, have together; the rest is told where all have the same."""

_WITHOUT: Final = "no label"
_RATE_REACHED: Final = 0.95
_ANOTHER: Final = 1.5
"""Corrected percentiles are shown where they are so many times the raw ones, and this much above them."""
_WORTH_MS: Final = 1.0

_OF_ALL_ROWS: Final = {"count", "duration_s", "rate_hz"}
"""What a plan says of a series whose rows are all there, and no others."""


@dataclass(frozen=True, slots=True)
class RunSeries:
    """The rows of one label, or of a run that has only one, and what is known about them."""

    df: pd.DataFrame
    rows: pd.DataFrame
    """Those that count, in the order of their starts."""
    figures: Mapping[str, Any]
    """One row of the summary."""
    plan: Mapping[str, Any]
    """Empty where the frame does not tell."""
    client: Mapping[str, Any]
    """What the series cost the client; empty where the frame does not tell."""
    attrs: Mapping[str, Any]
    """Of the whole run; empty where the frame does not tell."""
    intervals: Mapping[str, tuple[float, float]]
    """Of each percentile among the figures the ends of its 95 % interval; NaN where there is none."""
    missing: int
    """How many pings are not there between those that are, as in a table that was filtered; those apart that the file
    did not have from which the table was loaded."""
    joined: int
    """How many runs the rows are of, each with a zero of its own."""
    known: Mapping[str, Mapping[str, Any]]
    """What is known of each run of the table by itself, by its id."""


def with_labels(df: pd.DataFrame) -> pd.DataFrame:
    """Give the rows without a label one: a file of text takes a label such as None for one that is not there."""
    return df.assign(label=df["label"].astype(object).where(df["label"].notna(), _WITHOUT))


def labels_of(df: pd.DataFrame) -> list[Any]:
    """Return the labels of a table that `with_labels` returned: in the order of the lines, where the table knows it."""
    places = planned_order(df)
    return sorted(df["label"].drop_duplicates(), key=lambda label: places.get(label, len(places)))


def series_of(df: pd.DataFrame, attrs: Mapping[str, Any], label: Any = None) -> RunSeries:
    """Take the rows of one label out of a restored table of several, and find what its attributes tell of them.

    None for `label` takes all the rows of a table that has only one: it may be another than that of the plan.
    """
    own = df.copy(deep=False)
    # pandas copies them deeply with every selection.
    own.attrs = {}
    own = own if label is None else own[own["label"] == label]
    plans = attrs.get("plan") or [{}]
    known_as = own["label"].iloc[0] if len(own) else None
    places = [place for place, plan in enumerate(plans) if plan.get("label") == known_as]
    if label is None and len(plans) == 1:
        places = [0]
    clients = [client for place, client in enumerate(attrs.get("client") or []) if place in places]
    plan = _common([plans[place] for place in places])
    journal = attrs.get("journal") or {}
    unread = attrs.get("unread") or 0
    missing = _missing(own, df) - journal.get("missing", 0) - journal.get("elsewhere", 0) - unread
    if missing <= max(len(attrs.get("in_flight") or ()), plan.get("concurrency", 1)):
        # So many may have been in flight when the run ended, between those that had completed.
        missing = 0
    joined = int(runs(own).nunique())
    if journal.get("elsewhere") or attrs.get("ended") == CONTINUED:
        plan = {name: value for name, value in plan.items() if name not in _ADDED}
    if missing or joined > max(1, len(places)):
        plan = {name: value for name, value in plan.items() if name not in _OF_ALL_ROWS}
    rows = counted(own, "duration_ms", more=NEEDED)
    client = clients[-1] if clients else {}
    found = quantile_intervals(as_array(measured(rows, "duration_ms")), list(PERCENTILES.values()))
    intervals = {name: (each.low, each.high) for name, each in zip(PERCENTILES, found, strict=True)}
    return RunSeries(own, rows, summarised(rows), plan, client, attrs, intervals, missing, joined, runs_of(df))


def _missing(own: pd.DataFrame, df: pd.DataFrame) -> int:
    """Count the pings between those of a label that no row of the table is of; between its blocks are other labels."""
    missing = 0
    for run, rows in own.dropna(subset="seq").groupby(runs(own)):
        blocks = rows.groupby("block")["seq"].agg(["min", "max"]).astype("int64")
        there = np.sort(df.loc[runs(df) == run, "seq"].dropna().unique()).astype("int64")
        first, last = np.searchsorted(there, blocks["min"]), np.searchsorted(there, blocks["max"], side="right")
        missing += int((blocks["max"] - blocks["min"] + 1 - (last - first)).sum())
    return missing


def _common(plans: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what the parts of a watch, or the runs of a journal, have in common."""
    if len(plans) < 2:
        return plans[0] if plans else {}
    first, *others = plans
    alike = {name: value for name, value in first.items() if all(plan.get(name) == value for plan in others)}
    for name in _ADDED & first.keys():
        values = [plan.get(name) for plan in plans]
        alike[name] = None if None in values else sum(filter(None, values))
    return alike


def typical(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the successes in the middle: their phases add up to about the p50, which medians of phases do not."""
    ok = rows[rows["error"].isna()].sort_values("duration_ms", kind="stable")
    return ok.iloc[math.floor(0.4 * len(ok)) : math.ceil(0.6 * len(ok))]


def corrected_ms(series: RunSeries) -> dict[str, float]:
    """Return the percentiles from the planned start if they are well above the raw ones, as after a stall.

    Both are of the same pings: without its timeouts a stall may leave too few for a raw percentile. Starts that were
    due and not made as the run ended count with what they had waited by then.
    """
    measured_ms = measured(series.rows, "corrected_ms")
    raw_ms = as_array(series.rows.loc[measured_ms.index, "duration_ms"])
    late_ms = np.append(as_array(measured_ms), overdue_ms(series.attrs, series.df["label"].unique()))
    both = {name: [percentile(each, q) for each in (late_ms, raw_ms)] for name, q in PERCENTILES.items()}
    if late_ms.size > raw_ms.size:
        # Where the rows alone are too few, their longest time stands for the percentile.
        both = {name: [late, np.fmin(raw, raw_ms.max(initial=0.0))] for name, (late, raw) in both.items()}
    if not any(late > _ANOTHER * raw and late - raw > _WORTH_MS for late, raw in both.values()):
        return {}
    return {name.removesuffix("_ms"): late for name, (late, _raw) in both.items() if math.isfinite(late)}


def rate_hz(series: RunSeries) -> tuple[float, bool]:
    """Return the starts a second as they compare with the plan, and whether those are within the blocks of a line.

    Of a line that took turns with others, those over the whole run are fewer than planned in any case.
    """
    if series.rows["block"].nunique() > 1:
        within_hz = rate_within_blocks_hz(series.rows)
        if math.isfinite(within_hz):
            return within_hz, True
    return series.figures["rate_hz"], False


def is_behind(series: RunSeries) -> bool:
    """Tell whether the rate was not reached, and the last pings began late: one late start alone is no trend."""
    planned_hz = series.plan.get("rate_hz")
    if not planned_hz or not rate_hz(series)[0] < _RATE_REACHED * planned_hz:
        return False
    last = series.rows["lag_ms"].iloc[-max(3, len(series.rows) // 4) :]
    return bool(last.median() > 1e3 / planned_hz)
