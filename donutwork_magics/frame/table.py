"""From the rows of a run to a DataFrame of schema 1."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

import donutwork_magics.frame.accessor  # noqa: F401 - whoever makes a table gets df.donutwork with it
from donutwork_magics.frame.schema import COLUMNS, KNOWN_CATEGORIES
from donutwork_magics.sampling.describe import describe
from donutwork_magics.sampling.rows import NOT_AVAILABLE, OPTIONAL, Rows, Words
from donutwork_magics.sampling.run import Run

ATTRS: Final = "donutwork"
"""The key of ``df.attrs`` under which a run describes itself."""


def table(run: Run) -> pd.DataFrame:
    """Make the DataFrame of a run, as `table_of` has it."""
    return table_of(run.rows, describe(run))


def table_of(rows: Rows, attrs: Mapping[str, Any]) -> pd.DataFrame:
    """Make the DataFrame of some rows.

    Parameters
    ----------
    attrs
        What `describe` returned of the run that they are of.

    Returns
    -------
    pandas.DataFrame
        One row a completed ping, in planned order, with the columns of `donutwork_magics.frame.schema.COLUMNS` in
        their order and dtypes; ``attrs["donutwork"]`` is a small dict of plain values without a header or a key.
    """
    floats = {name: _numpy(column) for name, column in rows.floats.items()}
    integers = {name: _numpy(column) for name, column in rows.integers.items()}
    flags = {name: _numpy(column).astype(bool) for name, column in rows.flags.items()}
    columns: dict[str, Any] = {
        **floats,
        **flags,
        "seq": integers["seq"],
        "block": integers["block"],
        "timestamp": pd.to_datetime(integers["timestamp_ns"], unit="ns", utc=True),
        "lag_ms": floats["started_ms"] - floats["scheduled_ms"],
        "corrected_ms": floats["started_ms"] + floats["duration_ms"] - floats["scheduled_ms"],
        "network_ms": floats["ttfb_ms"] - floats["rrt_ms"],
        **{name: pd.Series(list(texts), dtype="string") for name, texts in rows.texts.items()},
        **{name: _nullable(integers[name], COLUMNS[name]) for name in OPTIONAL},
        **{name: _categorical(name, words) for name, words in rows.words.items()},
    }
    df = pd.DataFrame({name: columns[name] for name in COLUMNS})
    df = df.sort_values("seq", kind="stable", ignore_index=True)
    df.attrs[ATTRS] = dict(attrs)
    return df


def _numpy(column: array[Any]) -> npt.NDArray[Any]:
    # A copy: the buffer may still grow, and cannot while numpy looks at it.
    return np.array(column)


def _nullable(values: npt.NDArray[np.int64], dtype: str) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(values.astype(dtype.lower()), values == NOT_AVAILABLE)


def _categorical(name: str, words: Words) -> pd.Categorical[str]:
    categories = list(dict.fromkeys([*KNOWN_CATEGORIES.get(name, ()), *words.distinct]))
    # The last place is the one that -1, the code of a missing value, picks.
    renumbered = np.array([*map(categories.index, words.distinct), -1], dtype=np.int64)
    codes: npt.NDArray[np.int64] = renumbered[_numpy(words.codes)]
    return pd.Categorical.from_codes(codes, categories=pd.Index(categories, dtype=object))
