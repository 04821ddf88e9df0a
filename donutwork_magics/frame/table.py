"""From the rows of runs to a DataFrame of schema 1."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import donutwork_magics.frame.accessor  # noqa: F401 - whoever makes a table gets df.donutwork with it
from donutwork_magics.frame.attrs import describe
from donutwork_magics.frame.schema import COLUMNS
from donutwork_magics.sampling.rows import NOT_AVAILABLE, OPTIONAL, Rows


def table_of(rows: Rows, runs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Make the DataFrame of some rows.

    Parameters
    ----------
    runs
        What is known of each run that they are of, by its id.

    Returns
    -------
    pandas.DataFrame
        One row a completed ping, in planned order within a run, with the columns of `donutwork_magics.columns` in
        their order and dtypes; ``attrs["donutwork"]`` is a small dict of plain values without a header or a key: the
        ``schema``, and the ``runs`` by their ids.
    """
    floats = {name: _numpy(column) for name, column in rows.floats.items()}
    integers = {name: _numpy(column) for name, column in rows.integers.items()}
    flags = {name: _numpy(column).astype(bool) for name, column in rows.flags.items()}
    spans = list(rows.spans())
    of_run = np.repeat(np.arange(len(spans)), [count for _, count in spans])
    columns: dict[str, Any] = {
        **floats,
        **flags,
        "seq": integers["seq"],
        "block": integers["block"],
        "timestamp": pd.to_datetime(integers["timestamp_ns"], unit="ns", utc=True),
        "lag_ms": floats["started_ms"] - floats["scheduled_ms"],
        "corrected_ms": floats["started_ms"] + floats["duration_ms"] - floats["scheduled_ms"],
        "network_ms": floats["ttfb_ms"] - floats["rrt_ms"],
        **{name: pd.array(list(texts), dtype="string") for name, texts in rows.texts.items()},
        **{name: _nullable(integers[name], COLUMNS[name]) for name in OPTIONAL},
        **{name: _strings(words.distinct, _numpy(words.codes)) for name, words in rows.words.items()},
        "run": _strings([run for run, _ in spans], of_run),
        "vantage": _strings([], np.full(len(rows), NOT_AVAILABLE)),
    }
    df = pd.DataFrame({name: columns[name] for name in COLUMNS})
    order = np.lexsort((integers["seq"], of_run))
    if not np.array_equal(order, np.arange(len(order))):
        df = df.take(order).reset_index(drop=True)
    described = {run: dict(runs[run]) for run, _ in spans} or {run: dict(attrs) for run, attrs in runs.items()}
    describe(df, described)
    return df


def _numpy(column: array[Any]) -> npt.NDArray[Any]:
    # A copy: the buffer may still grow, and cannot while numpy looks at it.
    return np.array(column)


def _nullable(values: npt.NDArray[np.int64], dtype: str) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(values.astype(dtype.lower()), values == NOT_AVAILABLE)


def _strings(distinct: list[str], codes: npt.NDArray[np.int64]) -> Any:
    # The last place is the one that -1, the code of a missing value, picks.
    return pd.array(np.array([*distinct, pd.NA], dtype=object), dtype="string").take(codes)
