"""The rows of a table that count, in the order of their starts, and their groups: what every analysis begins with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from donutwork_magics.analysis.runs import clock_s, described
from donutwork_magics.errors import AnalysisError
from donutwork_magics.frame.restored import restored
from donutwork_magics.frame.schema import METRICS, missing_columns, repeated_columns

By: TypeAlias = Any
"""What ``DataFrame.groupby`` takes: a column, several, a `pandas.Grouper`, a Series, a function of the index."""

_BY: Final = "what groupby takes: a column, several, a Grouper, or a Series with the index of this table"

_NEEDED: Final = frozenset({"seq", "label", "timestamp", "started_ms", "warmup", "error", "run"})


def counted(df: pd.DataFrame, metric: str, *, more: Iterable[str] = ()) -> pd.DataFrame:
    """Return the rows of a table that count, those of a warm-up apart, in the order of their starts.

    Parameters
    ----------
    more
        Further columns that the analysis needs.

    Raises
    ------
    AnalysisError
        The table lacks a column or has one twice, or the metric is none of `METRICS`.
    """
    return _in_order(_checked(df, metric, more))


def groups(
    df: pd.DataFrame, by: By, metric: str, *, more: Iterable[str] = ()
) -> tuple[pd.Index[Any], list[pd.DataFrame]]:
    """Return the groups of a table and, for each, its rows that count, in the order of their starts.

    Labels are in the order of their lines where the table knows it, all other groups in that of their first rows.

    Parameters
    ----------
    by
        None for one group of all rows, named ``all``.
    more
        Further columns that the analysis needs.

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
        raise AnalysisError(f"This DataFrame lacks the columns {', '.join(lacking)}: it cannot be analysed.")
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


def attributes(df: pd.DataFrame) -> Mapping[str, Any]:
    """Return what is known of the runs of a table together; empty where nothing is."""
    return described(df) if "run" in df else {}


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
        rows |= (df["error"] == "timeout").fillna(False).astype(bool)
    values: pd.Series[float] = df.loc[rows, metric].dropna()
    return values


def as_array(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """Return numbers as numpy has them."""
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _checked(df: pd.DataFrame, metric: str, more: Iterable[str]) -> pd.DataFrame:
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
