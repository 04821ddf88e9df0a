"""The runs that a table is of: one clock for all of their rows, and one description for all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from donutwork_magics.frame.attrs import runs_of
from donutwork_magics.sampling.machine import MOST_PAUSES
from donutwork_magics.sampling.outages import MOST_OUTAGES

_COUNTS: Final = ("skipped", "in_flight", "unread", "journal_elsewhere")
_STEERED_S: Final = 1.0
"""Clocks are steered by less than this from one ping to the next."""


def runs(df: pd.DataFrame) -> pd.Series[str]:
    """Return the id of each row's run; empty where it is missing."""
    return df["run"].fillna("")


def clock_s(df: pd.DataFrame) -> pd.Series[float]:
    """Return when each row was started, in seconds since the first run began.

    Within a run the monotonic clock counts: the wall clock may be set meanwhile. How long after another a run began,
    only the wall clock knows.

    Parameters
    ----------
    df
        A table that `donutwork_magics.frame.restored.restored` returned.
    """
    started_s: pd.Series[float] = df["started_ms"].astype("float64") / 1e3
    if df["run"].nunique(dropna=False) < 2:
        return started_s
    began_s = _began_s(df)
    return started_s + (df["run"].map(began_s - began_s.min()).astype("float64").fillna(0.0))


def described(df: pd.DataFrame) -> Mapping[str, Any]:
    """Return what is known of the runs of a table, as if they were one; empty where nothing is.

    Of a single run it is its description in ``df.attrs``, with the key ``run``.

    Parameters
    ----------
    df
        A table that `donutwork_magics.frame.restored.restored` returned.
    """
    runs = runs_of(df)
    if not runs:
        return {}
    *_, last = runs.values()
    if len(runs) == 1:
        return last
    began_s = _began_s(df) if len(df) else pd.Series(dtype="float64")
    at_s = {run: float(began_s[run] - began_s.min()) if run in began_s else 0.0 for run in runs}
    journals = [attrs["journal"] for attrs in runs.values() if attrs.get("journal")]
    return {
        **last,
        "plan": [plan for attrs in runs.values() for plan in attrs.get("plan") or ()],
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
    """Return by how much the wall clock was set during a run, the largest of several; 0.0 where it was not.

    Parameters
    ----------
    df
        A table that `donutwork_magics.frame.restored.restored` returned.
    """
    in_order = _in_order_with_zeros(df)
    steps_s = in_order.groupby(runs(in_order))["zero_s"].diff().dropna().to_numpy()
    largest_s = float(max(steps_s, key=abs, default=0.0))
    return largest_s if abs(largest_s) > _STEERED_S else 0.0


def _began_s(df: pd.DataFrame) -> pd.Series[float]:
    """Compute when each run began, by the wall clock at its first row."""
    began_s: pd.Series[float] = _in_order_with_zeros(df).groupby("run", sort=False)["zero_s"].first()
    return began_s


def _in_order_with_zeros(df: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in the order of their starts, each with what the wall clock showed at the zero of its run."""
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
    first = [(began_s, outage) for began_s, of_run in outages for outage in of_run.get("first", ())]
    return {
        "count": sum(of_run.get("count", 0) for _, of_run in outages),
        "total_s": sum(of_run.get("total_s", 0.0) for _, of_run in outages),
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
