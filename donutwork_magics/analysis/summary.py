"""Latency, errors and rate of a run or of its parts, and percentiles with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from donutwork_magics.analysis.counted import By, as_array, clock_s, counted, groups, measured, runs
from donutwork_magics.analysis.intervals import percentile, quantile_intervals, share_interval
from donutwork_magics.errors import AnalysisError

PERCENTILES: Final[dict[str, float]] = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}

NEEDED: Final = ("scheduled_ms", "lag_ms", "duration_ms", "ttfb_ms", "rrt_ms", "reused")
_STEPS_AROUND: Final = 7
_STEP_OF_A_REST: Final = 2.0
_IDLE_MS: Final = 1000.0
_COLUMNS: Final = ("value_ms", "low_ms", "high_ms", "n", "n_effective")


def summary(df: pd.DataFrame, by: By = None, *, metric: str = "duration_ms") -> pd.DataFrame:
    """Summarise a run, or each of its groups.

    Warm-up rows are left out. Latency is taken over successes, with the errors beside it; with ``corrected_ms`` a
    timeout counts as well, as the lower bound that it is.

    Parameters
    ----------
    df
        A table of schema 1.
    by
        Whatever ``groupby`` takes, for example ``"label"``, or ``pd.Grouper(key="timestamp", freq="1min")`` for windows
        of time; None for one row over all.
    metric
        The column that is summarised, one of `donutwork_magics.frame.schema.METRICS`.

    Returns
    -------
    pandas.DataFrame
        One row a group in the order of their first rows, or one row named ``all``, with these columns (float64, NaN
        where unknown; the first three int64):

        ``n``, ``ok``, ``errors``
            Pings without warm-up, those that succeeded and those that did not.
        ``error_share``, ``error_share_low``, ``error_share_high``
            The share of errors and its 95 % interval (`share_interval`), which is wide where errors come in outages.
        ``min_ms``, ``p50_ms``, ``p95_ms``, ``p99_ms``, ``max_ms``
            Of the metric: the median, and for the tail the nearest rank, which is a value that was measured (between
            two modes, interpolation would name one that no ping had). NaN where there are fewer values than
            `pings_needed`.
        ``jitter_ms``
            Of the metric, the mean of the absolute differences of consecutive values.
        ``network_share``, ``server_share``
            ``server_share`` is the median of ``rrt_ms`` over the median of ``ttfb_ms``: how much of the wait for the
            first byte the server reports as its own. ``network_share`` is the rest. NaN where the server reports more
            than the wait.
        ``rate_hz``
            Starts a second, as achieved while pings were planned: left out is what lies between runs that were joined,
            also in a journal, while a watch was paused, and where the server asked for a rest. What runs achieved side
            by side adds up.
        ``lag_p50_ms``
            Median delay of the starts behind the plan.
        ``reused_share``
            The share of successes on a connection that was there already.

    Raises
    ------
    AnalysisError
        A ValueError: the frame lacks a column, or has one more than once, or `by` or `metric` is not one.
    """
    keys, parts = groups(df, by, metric, more=NEEDED)
    columns = list(summarised(counted(df.iloc[:0], metric, more=NEEDED), metric))
    return pd.DataFrame([summarised(part, metric) for part in parts], index=keys, columns=columns)


def percentiles(
    df: pd.DataFrame,
    q: float | Sequence[float] = (0.5, 0.9, 0.95, 0.99, 0.999),
    by: By = None,
    *,
    metric: str = "duration_ms",
) -> pd.DataFrame:
    """Compute percentiles with 95 % intervals that hold also where pings resemble each other.

    Warm-up rows are left out; latency is taken over successes, with ``corrected_ms`` over timeouts too.

    Parameters
    ----------
    df
        A table of schema 1.
    q
        Quantiles, each above 0 and below 1.
    by
        Whatever ``groupby`` takes: a column, several, a `pandas.Grouper`, a Series; None for one group, ``all``.
    metric
        A column in milliseconds.

    Returns
    -------
    pandas.DataFrame
        One row a group and quantile, indexed by both, with these columns:

        ``value_ms``
            The median, and otherwise the nearest rank; NaN where there are fewer values than `pings_needed`.
        ``low_ms``, ``high_ms``
            The interval, as `quantile_intervals` has it; NaN where the sample has no such end, and where the pings are
            too few or too alike for an interval.
        ``n``, ``n_effective``
            How many values there are, and how many independent ones they are worth.

    Raises
    ------
    AnalysisError
        A ValueError: the frame lacks a column, or `q`, `by` or `metric` is not one.
    """
    quantiles = checked_quantiles(q)
    keys, parts = groups(df, by, metric)
    rows = []
    for part in parts:
        values = as_array(measured(part, metric))
        rows += [(*found[:3], values.size, found.n_effective) for found in quantile_intervals(values, quantiles)]
    index = pd.MultiIndex.from_tuples(
        [(*(key if isinstance(key, tuple) else (key,)), quantile) for key in keys for quantile in quantiles],
        names=[*(["group"] if by is None else keys.names), "q"],
    )
    return pd.DataFrame(rows, index=index, columns=list(_COLUMNS)).astype({"n": "int64"})


def checked_quantiles(q: float | Sequence[float]) -> list[float]:
    """Return quantiles as a list.

    Raises
    ------
    AnalysisError
        One of them is no number above 0 and below 1.
    """
    try:
        quantiles = [float(each) for each in ([q] if isinstance(q, int | float | str) else q)]
    except (TypeError, ValueError):
        quantiles = []
    # One that is next to 0 must be told from it at the other end too.
    if not quantiles or not all(0 < 1 - each < 1 for each in quantiles):
        raise AnalysisError("q needs numbers above 0 and below 1, such as 0.5 or 0.95.")
    return quantiles


def summarised(df: pd.DataFrame, metric: str = "duration_ms") -> dict[str, float]:
    """Summarise the rows that `counted` returned, as one row of a `summary`."""
    succeeded = df["error"].isna()
    ok = df[succeeded]
    values = as_array(measured(df, metric))
    n, errors = len(df), len(df) - len(ok)
    low, high = share_interval(~succeeded.to_numpy(dtype=bool))
    server_share = _server_share(ok)
    return {
        "n": n,
        "ok": len(ok),
        "errors": errors,
        "error_share": errors / n if n else math.nan,
        "error_share_low": low,
        "error_share_high": high,
        "min_ms": float(values.min()) if len(values) else math.nan,
        **{name: percentile(values, quantile) for name, quantile in PERCENTILES.items()},
        "max_ms": float(values.max()) if len(values) else math.nan,
        "jitter_ms": float(np.abs(np.diff(values)).mean()) if len(values) > 1 else math.nan,
        "network_share": 1 - server_share,
        "server_share": server_share,
        "rate_hz": _rate_hz(df),
        # With -r max there is none, and pandas 2 warns of a median of nothing.
        "lag_p50_ms": float(df["lag_ms"].median()) if df["lag_ms"].notna().any() else math.nan,
        "reused_share": float(ok["reused"].astype(bool).mean()) if len(ok) else math.nan,
    }


def _server_share(ok: pd.DataFrame) -> float:
    known = ok[["rrt_ms", "ttfb_ms"]].dropna()
    if not len(known):
        return math.nan
    rrt_ms, ttfb_ms = float(known["rrt_ms"].median()), float(known["ttfb_ms"].median())
    return rrt_ms / ttfb_ms if ttfb_ms > 0 and rrt_ms <= ttfb_ms else math.nan


def rate_within_blocks_hz(df: pd.DataFrame) -> float:
    """Compute the starts a second of a line while it had its turn, from the rows that `counted` returned."""
    return _rate_hz(df, within=["block"])


def _rate_hz(df: pd.DataFrame, within: Sequence[str] = ()) -> float:
    """Count the starts over the time in which they were planned; the rows are in the order of their starts."""
    at_s = clock_s(df).dropna()
    df = df.loc[at_s.index]
    steps = [_steps_s(part, at_s.loc[part.index]) for _, part in df.groupby([runs(df), *within])]
    start_s, end_s = np.concatenate([np.empty((0, 2)), *steps]).T
    order = np.argsort(start_s, kind="stable")
    start_s, end_s = start_s[order], end_s[order]
    # What runs did at the same time took that time once.
    reached_s = np.maximum.accumulate(np.concatenate([[-math.inf], end_s]))[:-1]
    span_s = float(np.maximum(end_s - np.maximum(start_s, reached_s), 0.0).sum())
    return start_s.size / span_s if span_s > 0 else math.nan


def _steps_s(run: pd.DataFrame, at_s: pd.Series[float]) -> npt.NDArray[np.float64]:
    """Return from when to when it was from one start of a run to the next, shape (n, 2), without what was a rest."""
    at = np.asarray(at_s, dtype=np.float64)
    rests_s = _rests_s(run)[1:]
    steps_s = np.stack([at[:-1], np.maximum(at[:-1], at[1:] - rests_s)], axis=1)
    return steps_s[np.isfinite(rests_s)]


def _rests_s(run: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Compute for how long nothing was planned before each row of a run, in seconds; infinite for the whole step.

    No column says it: but a plan's steps are alike, and a rest is a step much longer than those around it. A stall
    before the rest does not shift the plan, and so is not left out. Without a plan a ping is due when the one before
    has ended.
    """
    rows = run["seq"].astype("float64").diff().clip(lower=1)
    planned_ms = run["scheduled_ms"].diff() / rows
    usual_ms = planned_ms.rolling(_STEPS_AROUND, center=True, min_periods=1).median()
    idle_ms = run["started_ms"] - (run["started_ms"] + run["duration_ms"]).cummax().shift()
    rests_ms = ((planned_ms - usual_ms) * rows).where(planned_ms > _STEP_OF_A_REST * usual_ms, 0.0)
    return rests_ms.mask(planned_ms.isna() & (idle_ms > _IDLE_MS), np.inf).to_numpy(dtype=np.float64) / 1e3
