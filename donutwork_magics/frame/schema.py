"""Schema 1 of the DataFrame, as pandas sees it."""

from __future__ import annotations

from typing import Final

import pandas as pd

from donutwork_magics import columns

COLUMNS: Final[dict[str, str]] = {column.name: column.dtype for column in columns.COLUMNS}
"""The dtype of each column, in the order of the table."""


def missing_columns(df: pd.DataFrame) -> list[str]:
    """Return the columns of the schema that a frame does not have, in the schema's order."""
    return [name for name in COLUMNS if name not in df.columns]


def repeated_columns(df: pd.DataFrame) -> list[str]:
    """Return the columns of the schema that a frame has more than once, as after ``concat(axis=1)``."""
    return [name for name in df.columns[df.columns.duplicated()].unique() if name in COLUMNS]
