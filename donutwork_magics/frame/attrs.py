"""What a table says of the runs that its rows are of, in ``df.attrs["donutwork"]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from donutwork_magics.frame.schema import ATTRS
from donutwork_magics.sampling.series import SCHEMA

_MOST_REMEMBERED: Final = 1000
_remembered: Final[dict[str, Mapping[str, Any]]] = {}
"""What was said of the runs of this process, by their ids: attributes do not survive ``concat``."""


def describe(df: pd.DataFrame, runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Let a table say what is known of its runs, and remember it.

    Parameters
    ----------
    runs
        What is known of each, by its id.
    """
    _remembered.update(runs)
    for run in list(_remembered)[:-_MOST_REMEMBERED]:
        del _remembered[run]
    df.attrs[ATTRS] = {"schema": SCHEMA, "runs": dict(runs)}


def runs_of(df: pd.DataFrame) -> dict[str, Mapping[str, Any]]:
    """Return what is known of the runs that the rows of a table are of, by their ids, in the order of the ids.

    The table itself tells it, or this process remembers it.
    """
    described = df.attrs.get(ATTRS)
    told = described.get("runs") if isinstance(described, dict) else None
    told = told if isinstance(told, dict) else {}
    ids = sorted(map(str, df["run"].dropna().unique())) if len(df) else list(told)
    known = {run: told.get(run, _remembered.get(run)) for run in ids}
    return {run: attrs for run, attrs in known.items() if isinstance(attrs, Mapping)}
