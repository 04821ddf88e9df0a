"""Percentiles of a table with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from donutwork_magics.analysis.counted import By, as_array, groups, measured
from donutwork_magics.analysis.intervals import quantile_intervals
from donutwork_magics.errors import AnalysisError

_COLUMNS = ("value_ms", "low_ms", "high_ms", "n", "n_effective")


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
    if not quantiles or not all(0 < each < 1 for each in quantiles):
        raise AnalysisError("q needs numbers above 0 and below 1, such as 0.5 or 0.95.")
    return quantiles
