"""A table in its normal form, after what a join, a file of text or an index of one's own did to it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from donutwork_magics.frame.schema import COLUMNS

_VERSIONS: Final = {1.0: "1.0", 1.1: "1.1", 2.0: "2", 3.0: "3"}
"""A file of text gives them back as numbers."""


def restored(df: pd.DataFrame) -> pd.DataFrame:
    """Restore what can be restored without loss; whoever reads a table that he did not make begins with this.

    The rows are numbered anew, as an index may repeat itself, or have the name of a column; time stamps are UTC, also
    where some are text; times are float64, and none is infinite; texts are pandas' strings. Further columns stay as
    they are.

    Parameters
    ----------
    df
        A table with some columns of schema 1 at least, each once.
    """
    columns: dict[str, Any] = {}
    if "timestamp" in df:
        moments = pd.to_datetime(df["timestamp"], format="ISO8601", utc=True)
        columns["timestamp"] = moments.astype(pd.DatetimeTZDtype("ns", "UTC"))
    for name in df.columns.intersection([name for name, dtype in COLUMNS.items() if dtype == "float64"]):
        # Measured times are never infinite.
        columns[name] = df[name].astype("float64").replace([np.inf, -np.inf], np.nan)
    for name in df.columns.intersection([name for name, dtype in COLUMNS.items() if dtype == "string"]):
        texts = df[name]
        if name == "http_version" and texts.dtype != "string":
            texts = texts.astype(object).replace(_VERSIONS)
        columns[name] = texts.astype("string")
    return df.assign(**columns).reset_index(drop=True)
