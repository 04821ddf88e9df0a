"""One clock for the rows of a table, also where several runs were joined, each with a zero of its own.

Within a run the monotonic clock counts: the wall clock may be set meanwhile. What stands between two runs, only the
wall clock knows. No column says to which run a row belongs, and attributes do not survive ``concat``: but what the
wall clock showed at the zero of a run is the same for all of its rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

_SAME_ZERO_S: Final = 1.0
"""Clocks are steered by less than this from one ping to the next."""


def runs(df: pd.DataFrame) -> pd.Series[int]:
    """Find out to which run each row of a table belongs, numbered from 0.

    Parameters
    ----------
    df
        A table that `donutwork_magics.frame.restored.restored` returned.

    Returns
    -------
    pandas.Series
        One number a row. Where the wall clock was set during a run, it is one run still: there the rows after it go on
        in ``seq`` and in ``started_ms``, which those of another run do not.
    """
    zero_s = _zero_s(df)
    if not zero_s.max() - zero_s.min() > _SAME_ZERO_S:
        return pd.Series(0, index=df.index)
    in_order = zero_s.sort_values()
    zeros = (in_order.diff() > _SAME_ZERO_S).cumsum().reindex(df.index)
    parts = df.groupby(zeros)[["seq", "started_ms"]].agg(["min", "max"]).sort_values(("seq", "min"))
    latest: list[npt.NDArray[np.float64]] = []
    numbers = {}
    for zero, part in zip(parts.index, parts.to_numpy(dtype=np.float64), strict=True):
        run = numbers[zero] = next((run for run, before in enumerate(latest) if _goes_on(before, part)), len(latest))
        latest[run : run + 1] = [part]
    return zeros.map(numbers).astype("int64")


def _goes_on(before: npt.NDArray[np.float64], part: npt.NDArray[np.float64]) -> bool:
    """Tell by the least and the greatest of seq and of the start whether one part of a table goes on with another."""
    # Of pings that were in flight together, a later one may have begun before the clock was set.
    return bool(before[0] < part[0] and before[1] < part[1] and before[3] <= part[2])


def clock_s(df: pd.DataFrame) -> pd.Series[float]:
    """Return when each row was started, in seconds since the zero of the first run.

    Parameters
    ----------
    df
        A table that `donutwork_magics.frame.restored.restored` returned.
    """
    started_s: pd.Series[float] = df["started_ms"].astype("float64") / 1e3
    of_run = runs(df)
    if of_run.nunique() < 2:
        return started_s
    # Where the wall clock was set during a run, what it showed at first counts.
    in_order = _zero_s(df).loc[started_s.sort_values(kind="stable").index]
    first_s: pd.Series[float] = in_order.groupby(of_run).transform("first").reindex(df.index)
    return started_s + (first_s - first_s.min()).fillna(0.0)


def _zero_s(df: pd.DataFrame) -> pd.Series[float]:
    """Compute what the wall clock showed at the zero of each row's run, in seconds."""
    wall_s = (df["timestamp"] - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    zero_s: pd.Series[float] = wall_s - df["started_ms"].astype("float64") / 1e3
    return zero_s
