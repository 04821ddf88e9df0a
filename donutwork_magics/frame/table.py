"""From the rows of runs, or from a journal, to a DataFrame of schema 1."""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import donutwork_magics.frame.accessor  # noqa: F401 - whoever makes a table gets df.donutwork with it
from donutwork_magics.frame.schema import COLUMNS, describe
from donutwork_magics.sampling.journal_reader import read_journal
from donutwork_magics.sampling.rows import NOT_AVAILABLE, OPTIONAL, Rows


def table_of(rows: Rows, runs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Make the DataFrame of some rows, in planned order within a run, and of what is known of their runs by their ids.

    It has the columns of `donutwork_magics.columns`; ``attrs["donutwork"]`` is a small dict of plain values without a
    header or a key: the ``schema``, and the ``runs``.
    """
    floats = {name: _numpy(column) for name, column in rows.floats.items()}
    integers = {name: _numpy(column) for name, column in rows.integers.items()}
    spans = list(rows.spans())
    of_run = np.repeat(np.arange(len(spans)), [count for _, count in spans])
    columns: dict[str, Any] = {
        **floats,
        **{name: _numpy(column).astype(bool) for name, column in rows.flags.items()},
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
    with_rows = {run for run, _ in spans}
    describe(df, {run: dict(attrs) for run, attrs in runs.items() if run in with_rows or not attrs.get("rows")})
    return df


def _numpy(column: array[Any]) -> npt.NDArray[Any]:
    # A copy: the buffer may still grow, and cannot while numpy looks at it.
    return np.array(column)


def _nullable(values: npt.NDArray[np.int64], dtype: str) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(values.astype(dtype.lower()), values == NOT_AVAILABLE)


def _strings(distinct: list[str], codes: npt.NDArray[np.int64]) -> Any:
    # The last place is the one that -1, the code of a missing value, picks.
    return pd.array(np.array([*distinct, pd.NA], dtype=object), dtype="string").take(codes)


def load(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the DataFrame of a journal, also of one whose process was killed.

    A line that was torn when its process died is left out. Where the journal has several runs, their rows follow one
    another; the column ``run`` tells them apart. The parts of a run whose journal was moved or truncated load each by
    itself, and joined in one file as one run.

    Returns
    -------
    pandas.DataFrame
        Schema 1. It equals what the runs returned: values, dtypes and attrs. ``attrs["donutwork"]["runs"]`` has what
        is known of each run by its id: ``ended`` is ``unfinished`` where its process was killed, and ``continued`` in a
        file that was moved while it went on. Where rows of a run are not in the file, ``journal`` has the number that
        is ``missing``, their ``seq`` where it is known, and the number that was written ``elsewhere``, to another file.

    Raises
    ------
    DonutworkError
        The file cannot be read, is no journal of this schema, or is damaged.
    """
    return table_of(*read_journal(path))
