"""What is known of the runs of a table, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from donutwork_magics.analysis.counted import attributes
from donutwork_magics.frame.schema import restored

RUN = "20261124T120000.000Z-0a1b2c"


def about(df: pd.DataFrame) -> Mapping[str, Any]:
    """Return what is known of the run of a table; of several, what is known of them together."""
    return attributes(restored(df))


def describe(df: pd.DataFrame, attrs: Mapping[str, Any], run: str = RUN) -> None:
    """Make a table one of a single run, of which that is known."""
    df["run"] = pd.array([run] * len(df), dtype="string")
    df.attrs["donutwork"] = {"schema": 1, "runs": {run: dict(attrs)}}


def card_of(df: pd.DataFrame) -> str:
    """Return the card of a table as text, without its line breaks."""
    return " ".join(repr(df.donutwork).split())
