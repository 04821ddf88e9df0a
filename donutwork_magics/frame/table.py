"""From the rows of a run to a DataFrame of schema 1."""

from __future__ import annotations

import platform
from array import array
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

import donutwork_magics.frame.accessor  # noqa: F401 - whoever makes a table gets df.donutwork with it
from donutwork_magics._version import __version__
from donutwork_magics.client.endpoints import PING
from donutwork_magics.frame.schema import COLUMNS, KNOWN_CATEGORIES, SCHEMA
from donutwork_magics.sampling.rows import NOT_AVAILABLE, Words
from donutwork_magics.sampling.run import Run, Series

ATTRS: Final = "donutwork"
"""The key of ``df.attrs`` under which a run describes itself."""

_MOST_PAUSES: Final = 20


def table(run: Run) -> pd.DataFrame:
    """Make the DataFrame of a run.

    Returns
    -------
    pandas.DataFrame
        One row a completed ping, in planned order, with the columns of `donutwork_magics.frame.schema.COLUMNS` in
        their order and dtypes; ``attrs["donutwork"]`` is a small dict of plain values without a header or a key.
    """
    rows = run.rows
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
        "rrt": _texts(rows.words["rrt"]),
        **{name: _nullable(integers[name], COLUMNS[name]) for name in ("status_code", "tcp_retransmits", "body_bytes")},
        **{name: _categorical(name, words) for name, words in rows.words.items() if name != "rrt"},
    }
    df = pd.DataFrame({name: columns[name] for name in COLUMNS})
    df = df.sort_values("seq", kind="stable", ignore_index=True)
    df.attrs[ATTRS] = describe(run)
    return df


def describe(run: Run) -> dict[str, Any]:
    """Describe a run in a small dict of plain values: what was planned, where, with what, and how it ended.

    It is an allow-list: it travels with every copy of the frame into pickle and parquet files.
    """
    first = run.series[0].target
    return {
        "schema": SCHEMA,
        "host": first.host,
        "path": first.base_url.path.rstrip("/") + PING.path,
        "sandbox": first.sandbox,
        "plan": [_planned(series) for series in run.series],
        "seed": None,
        "pauses": {
            "count": len(run.pauses),
            "total_s": sum(pause.pause_s for pause in run.pauses),
            "first": [[pause.at_s, pause.pause_s] for pause in run.pauses[:_MOST_PAUSES]],
        },
        "in_flight": run.in_flight,
        "ended": _ended(run),
        "versions": {
            "donutwork_magics": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("httpx", "pandas")},
        },
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _planned(series: Series) -> dict[str, Any]:
    return {
        **series.plan.as_attrs(),
        "http": series.http,
        "family": series.family,
        "timeout_s": series.timeout_s,
        "env": series.target.env,
        "host": series.target.host,
        "sandbox": series.target.sandbox,
    }


def _ended(run: Run) -> str | None:
    if run.ending is None:
        return None
    return "interrupted" if run.ending.sample is None else run.ending.sample.error


def _numpy(column: array[Any]) -> npt.NDArray[Any]:
    # A copy: the buffer may still grow, and cannot while numpy looks at it.
    return np.array(column)


def _texts(words: Words) -> pd.Series[str]:
    distinct = np.array([*words.distinct, None], dtype=object)
    return pd.Series(distinct[_numpy(words.codes)], dtype="string")


def _nullable(values: npt.NDArray[np.int64], dtype: str) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(values.astype(dtype.lower()), values == NOT_AVAILABLE)


def _categorical(name: str, words: Words) -> pd.Categorical[str]:
    categories = list(dict.fromkeys([*KNOWN_CATEGORIES.get(name, ()), *words.distinct]))
    # The last place is the one that -1, the code of a missing value, picks.
    renumbered = np.array([*map(categories.index, words.distinct), -1], dtype=np.int64)
    codes: npt.NDArray[np.int64] = renumbered[_numpy(words.codes)]
    return pd.Categorical.from_codes(codes, categories=pd.Index(categories, dtype=object))
