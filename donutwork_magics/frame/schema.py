"""Schema 1 as pandas has it: what a table lacks, its normal form, and what it says of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from donutwork_magics import columns
from donutwork_magics.errors import AnalysisError
from donutwork_magics.sampling.series import SCHEMA

COLUMNS: Final[dict[str, str]] = {column.name: column.dtype for column in columns.COLUMNS}
"""The dtype of each column, in the order of the table."""

ATTRS: Final = "donutwork"
"""The key of ``df.attrs`` under which a run describes itself."""

_VERSIONS: Final = {1.0: "1.0", 1.1: "1.1", 2.0: "2", 3.0: "3"}
"""A file of text gives them back as numbers."""
_BOOLS: Final = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_MOST_REMEMBERED: Final = 1000
_remembered: Final[dict[str, Mapping[str, Any]]] = {}
"""What was said of the runs of this process, by their ids: attributes do not survive ``concat``."""


def missing_columns(df: pd.DataFrame) -> list[str]:
    """Return the columns of the schema that a frame does not have, in the schema's order."""
    return [name for name in COLUMNS if name not in df.columns]


def repeated_columns(df: pd.DataFrame) -> list[str]:
    """Return the columns of the schema that a frame has more than once, as after ``concat(axis=1)``."""
    return [name for name in df.columns[df.columns.duplicated()].unique() if name in COLUMNS]


def restored(df: pd.DataFrame) -> pd.DataFrame:
    """Restore what can be restored without loss; whoever reads a table that he did not make begins with this.

    The rows are numbered anew, as an index may repeat itself, or have the name of a column; time stamps are UTC, also
    where some are text; times are float64, and none is infinite; texts are pandas' strings, and what is empty in a file
    of text is missing. Further columns stay as they are.

    Raises
    ------
    AnalysisError
        A column has values that it cannot have had.
    """
    table = df.copy(deep=False)
    # pandas copies them deeply with every selection.
    table.attrs = {}
    table = table.reset_index(drop=True)
    others = [name for name, dtype in table.dtypes.items() if name in COLUMNS and str(dtype) != COLUMNS[name]]
    # An error that is empty would count as one, also where it is pandas' string already.
    if "error" in table and "error" not in others and table["error"].eq("").any():
        others.append("error")
    table = table.assign(**{name: _restored(table[name], COLUMNS[name]) for name in others})
    times = [name for name, dtype in COLUMNS.items() if dtype == "float64" and name in table]
    # Measured times are never infinite.
    if np.isinf(table[times].to_numpy()).any():
        table = table.assign(**table[times].replace([np.inf, -np.inf], np.nan))
    table.attrs = df.attrs
    return table


def _restored(values: pd.Series[Any], dtype: str) -> pd.Series[Any]:
    try:
        return _converted(values, dtype)
    except (OverflowError, TypeError, ValueError):
        pass
    what = "moments" if values.name == "timestamp" else "True and False" if dtype == "bool" else "numbers"
    raise AnalysisError(
        f"The column {values.name} of this DataFrame has values other than {what}: it cannot be analysed."
    )


def _converted(values: pd.Series[Any], dtype: str) -> pd.Series[Any]:
    if values.name == "timestamp":
        if pd.api.types.is_numeric_dtype(values):
            # pandas takes a number for nanoseconds, and a file of text may have any unit.
            raise ValueError
        moments = pd.to_datetime(values, format="ISO8601", utc=True)
        return moments.astype(pd.DatetimeTZDtype("ns", "UTC"))
    # With keep_default_na=False, what is missing in a file of text is an empty text.
    values = values.mask(values.astype(object).isin([""]))
    if values.name == "http_version":
        values = values.astype(object).replace(_VERSIONS)
    if dtype == "string":
        return values.astype(pd.StringDtype())
    if dtype == "bool":
        # By way of a type that has missing values, which are refused then.
        return values.astype(str).str.lower().map(_BOOLS).astype("boolean").astype("bool")
    numbers = values.astype("float64")
    if dtype == "float64" or (dtype == "int64" and numbers.isna().any()):
        return numbers
    # Only such a type refuses what it cannot hold.
    return numbers.astype(pd.api.types.pandas_dtype(dtype.capitalize())).astype(pd.api.types.pandas_dtype(dtype))


def describe(df: pd.DataFrame, runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Let a table say what is known of its runs, each by its id, and remember it."""
    _remembered.update(runs)
    for run in list(_remembered)[:-_MOST_REMEMBERED]:
        del _remembered[run]
    df.attrs[ATTRS] = {"schema": SCHEMA, "runs": dict(runs)}


def runs_of(df: pd.DataFrame) -> dict[str, Mapping[str, Any]]:
    """Return what is known of the runs that the rows of a table are of, by their ids, in the order of the ids.

    The table itself tells it, or this process remembers it. A run that has made no row is of the table that tells it.
    """
    described = df.attrs.get(ATTRS)
    told = described.get("runs") if isinstance(described, dict) else None
    told = told if isinstance(told, dict) else {}
    without = [run for run, attrs in told.items() if isinstance(attrs, dict) and attrs.get("rows") == 0]
    ids = sorted({*map(str, df["run"].dropna().unique()), *without}) if len(df) else list(told)
    known = {run: told.get(run, _remembered.get(run)) for run in ids}
    return {run: attrs for run, attrs in known.items() if isinstance(attrs, Mapping)}
