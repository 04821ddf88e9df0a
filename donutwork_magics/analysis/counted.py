"""The rows of a table that count, on one clock, their groups, and what is known of their runs together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from donutwork_magics.columns import METRICS
from donutwork_magics.errors import AnalysisError
from donutwork_magics.frame.schema import missing_columns, repeated_columns, restored, runs_of
from donutwork_magics.sampling.machine import MOST_PAUSES
from donutwork_magics.sampling.outages import MOST_OUTAGES
from donutwork_magics.units import plain

By: TypeAlias = Any
"""What ``DataFrame.groupby`` takes: a column, several, a `pandas.Grouper`, a Series, a function of the index."""

_BY: Final = "what groupby takes: a column, several, a Grouper, or a Series with the index of this table"

_NEEDED: Final = frozenset({"seq", "label", "timestamp", "started_ms", "warmup", "error", "run"})
_LISTS: Final = ("plan", "in_flight", "overdue")
_COUNTS: Final = ("skipped", "unread", "journal_elsewhere")
_LARGEST_ERROR_MS: Final = 0.1
"""Clocks have steps, and a server rounds: the server's own time may be so much above the wait and still be right."""
_FEW: Final = 0.05
"""On a busy machine a thread may note late that a request was sent, and find a wait too short."""
_FEWEST: Final = 3
_STEERED_S: Final = 1.0
"""Clocks are steered by less than this from one ping to the next."""


def counted(df: pd.DataFrame, metric: str, *, more: Iterable[str] = ()) -> pd.DataFrame:
    """Return the rows of a table that count, those of a warm-up apart, in the order of their starts.

    Raises
    ------
    AnalysisError
        The table lacks a column, one of `more` too, or has one twice, or the metric is none of `METRICS`.
    """
    return _in_order(_checked(df, metric, more))


def groups(
    df: pd.DataFrame, by: By, metric: str, *, more: Iterable[str] = ()
) -> tuple[pd.Index[Any], list[pd.DataFrame]]:
    """Return the groups of a table and, for each, its rows that count, in the order of their starts.

    Labels are in the order of their lines where the table knows it, all other groups in that of their first rows. With
    None for `by` there is one group, ``all``.

    Raises
    ------
    AnalysisError
        As for `counted`, or `by` is nothing that groups this table.
    """
    table = _checked(df, metric, more)
    if by is None:
        return pd.Index(["all"]), [_in_order(table)]
    keys = list(by) if isinstance(by, list | tuple) else [by]
    names = [key for key in keys if isinstance(key, str)]
    lacking = [name for name in names if name not in table.columns and name not in df.index.names]
    if lacking:
        named = plain(", ".join(lacking))
        raise AnalysisError(f"This DataFrame lacks the columns {named}: it cannot be analysed.")
    # A name that a column has too would be ambiguous.
    index = df.index.set_names([None if name in table.columns else name for name in df.index.names])
    table = table.set_axis(index).assign(_row=np.arange(len(table)))
    try:
        grouped = table.groupby(keys if len(keys) > 1 else keys[0], sort=False, observed=True, dropna=False)["_row"]
        found, rows = grouped.size().index, [part.to_numpy() for _, part in grouped]
    except (IndexError, KeyError, TypeError, ValueError):
        found = None
    if found is None:
        raise AnalysisError(f"by needs {_BY}.")
    parts = [_in_order(table.iloc[part].drop(columns="_row").reset_index(drop=True)) for part in rows]
    if len(keys) == 1 and names == ["label"]:
        places = planned_order(df)
        order = np.argsort([places.get(label, len(places)) for label in found], kind="stable")
        return found[order], [parts[at] for at in order]
    return found, parts


def planned_order(df: pd.DataFrame) -> dict[str, int]:
    """Return the place of each label among the lines of its run; empty where the table does not tell.

    The rows do not: where lines are interleaved, any of them may have the first.
    """
    plans = attributes(df).get("plan") or []
    labels = dict.fromkeys(plan["label"] for plan in plans if "label" in plan)
    return {label: at for at, label in enumerate(labels)}


def measured(df: pd.DataFrame, metric: str) -> pd.Series[float]:
    """Return the known values of a metric: those of successes, and of ``corrected_ms`` also those of timeouts.

    A timeout is a lower bound of what a punctual caller would have waited.
    """
    rows = df["error"].isna()
    if metric == "corrected_ms":
        rows |= is_timeout(df)
    values: pd.Series[float] = df.loc[rows, metric].dropna()
    return values


def overdue_ms(attrs: Mapping[str, Any], labels: Iterable[str]) -> npt.NDArray[np.float64]:
    """Return how long those had waited at least, as a run ended, who had called at the starts that were not made."""
    known = set(labels)
    parts = [
        each["waited_ms"] - each["every_ms"] * np.arange(each["starts"], dtype=np.float64)
        for each in attrs.get("overdue") or ()
        if each["label"] in known
    ]
    return np.concatenate([np.empty(0), *parts])


def is_timeout(df: pd.DataFrame) -> pd.Series[bool]:
    """Tell of each row whether it is a timeout, whose times are lower bounds."""
    return (df["error"] == "timeout").fillna(False).astype(bool)


def as_array(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """Return numbers as numpy has them."""
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def above_wait(network_ms: npt.NDArray[np.float64]) -> int:
    """Count the replies whose RRT is above the wait for them, from the times of the network; 0 where it is a few only.

    Such an RRT is not the server's part of the wait, whatever else it may be.
    """
    known = int(np.isfinite(network_ms).sum())
    above = int((network_ms < -_LARGEST_ERROR_MS).sum())
    return above if above > _FEW * known and above >= min(known, _FEWEST) else 0


def _checked(df: pd.DataFrame, metric: str, more: Iterable[str]) -> pd.DataFrame:
    if not isinstance(df, pd.DataFrame):
        raise AnalysisError("A DataFrame is needed, as collect and load return one.")
    if metric not in METRICS:
        raise AnalysisError(f"metric must be one of {', '.join(METRICS)}.")
    needed = {*_NEEDED, metric, *more}
    lacking = [name for name in missing_columns(df) if name in needed]
    if lacking:
        raise AnalysisError(f"This DataFrame lacks the columns {', '.join(lacking)}: it cannot be analysed.")
    repeated = repeated_columns(df)
    if repeated:
        raise AnalysisError(f"This DataFrame has the columns {', '.join(repeated)} twice: it cannot be analysed.")
    table = restored(df)
    # pandas copies them deeply with every selection.
    table.attrs = {}
    return table


def _in_order(df: pd.DataFrame) -> pd.DataFrame:
    df = df[~df["warmup"].astype(bool)]
    at_s = clock_s(df)
    return df if at_s.is_monotonic_increasing else df.loc[at_s.sort_values(kind="stable").index]


def runs(df: pd.DataFrame) -> pd.Series[str]:
    """Return the id of each row's run; empty where it is missing."""
    return df["run"].fillna("")


def clock_s(df: pd.DataFrame) -> pd.Series[float]:
    """Return when each row was started, in seconds since the first run began.

    Within a run the monotonic clock counts: the wall clock may be set meanwhile. How long after another a run began,
    only the wall clock knows.
    """
    started_s: pd.Series[float] = df["started_ms"].astype("float64") / 1e3
    if df["run"].nunique(dropna=False) < 2:
        return started_s
    return started_s + df["run"].map(_began_s(df)).astype("float64").fillna(0.0)


def attributes(df: pd.DataFrame) -> Mapping[str, Any]:
    """Return what is known of the runs of a table, as if they were one; empty where nothing is."""
    runs = runs_of(df) if "run" in df else {}
    if not runs:
        return {}
    *_, last = runs.values()
    if len(runs) == 1 and df["run"].nunique() < 2:
        return last
    at_s = dict.fromkeys(runs, 0.0) | (_began_s(df).to_dict() if len(df) else {})
    journals = [attrs["journal"] for attrs in runs.values() if attrs.get("journal")]
    return {
        **last,
        **{name: [each for attrs in runs.values() for each in attrs.get(name) or ()] for name in _LISTS},
        "client": [client for attrs in runs.values() for client in _clients(attrs)],
        **{name: sum(attrs.get(name) or 0 for attrs in runs.values()) for name in _COUNTS},
        **{
            name: _joined([(at_s[run], attrs.get(name) or {}) for run, attrs in runs.items()])
            for name in ("pauses", "machine_pauses")
        },
        "outages": _joined_outages([(at_s[run], attrs.get("outages") or {}) for run, attrs in runs.items()]),
        **({"journal": _joined_journals(journals)} if journals else {}),
    }


def clock_was_set_by_s(df: pd.DataFrame) -> float:
    """Return by how much the wall clock was set during a run, the largest of several; 0.0 where it was not."""
    in_order = _in_order_with_zeros(df)
    steps_s = in_order.groupby(runs(in_order))["zero_s"].diff().dropna().to_numpy()
    largest_s = float(max(steps_s, key=abs, default=0.0))
    return largest_s if abs(largest_s) > _STEERED_S else 0.0


def _began_s(df: pd.DataFrame) -> pd.Series[float]:
    """Compute how long after the first each run began, by the wall clock at its first row; 0.0 where it is unknown."""
    began_s: pd.Series[float] = _in_order_with_zeros(df).groupby("run", sort=False)["zero_s"].first()
    return (began_s - began_s.min()).fillna(0.0)


def _in_order_with_zeros(df: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in the order of their starts, each with what the wall clock showed at the zero of its run."""
    df = restored(df[["run", "timestamp", "started_ms"]])
    wall_s = (df["timestamp"] - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    zero_s = wall_s - df["started_ms"].astype("float64") / 1e3
    return df.assign(zero_s=zero_s).sort_values("started_ms", kind="stable")


def _clients(attrs: Mapping[str, Any]) -> list[dict[str, Any]]:
    # A run that was killed has not come to say what each of its lines cost the client.
    plans, clients = attrs.get("plan") or [], attrs.get("client") or []
    return [*clients, *[{}] * len(plans)][: len(plans)]


def _joined(pauses: Sequence[tuple[float, Mapping[str, Any]]]) -> dict[str, Any]:
    first = [[began_s + at_s, pause_s] for began_s, of_run in pauses for at_s, pause_s in of_run.get("first", ())]
    return {
        "count": sum(of_run.get("count", 0) for _, of_run in pauses),
        "total_s": sum(of_run.get("total_s", 0.0) for _, of_run in pauses),
        "longest_s": max(of_run.get("longest_s", 0.0) for _, of_run in pauses),
        "first": first[:MOST_PAUSES],
    }


def _joined_outages(outages: Sequence[tuple[float, Mapping[str, Any]]]) -> dict[str, Any]:
    described = [(began_s, outage) for began_s, of_run in outages for outage in of_run.get("first", ())]
    # One that goes on in the next run of a watch is described there as a whole, with the same beginning.
    last = {outage["began_s"]: number for number, (_, outage) in enumerate(described) if outage["at_s"] < 0}
    first = [each for number, each in enumerate(described) if number >= last.get(each[1]["began_s"], 0)]
    parts_s = sum(outage["length_s"] for _, outage in described) - sum(outage["length_s"] for _, outage in first)
    return {
        "count": sum(of_run.get("count", 0) for _, of_run in outages) - len(described) + len(first),
        "total_s": sum(of_run.get("total_s", 0.0) for _, of_run in outages) - parts_s,
        "first": [{**outage, "at_s": began_s + outage["at_s"]} for began_s, outage in first[:MOST_OUTAGES]],
    }


def _joined_journals(journals: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    gaps = [gap for journal in journals for gap in journal["missing_seq"]]
    return {
        "missing": sum(journal["missing"] for journal in journals),
        # Of several runs a number alone does not say which row is meant.
        "missing_seq": gaps if len(journals) == 1 else [],
        "elsewhere": sum(journal["elsewhere"] for journal in journals),
    }
