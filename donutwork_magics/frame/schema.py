"""Schema 1 of the DataFrame, as pandas sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from donutwork_magics import columns

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final[dict[str, str]] = {column.name: column.dtype for column in columns.COLUMNS}
"""The dtype of each column, in the order of the table."""

ATTRS: Final = "donutwork"
"""The key of ``df.attrs`` under which a run describes itself."""

METRICS: Final = tuple(name for name, dtype in COLUMNS.items() if dtype == "float64" and name.endswith("_ms"))
"""The columns that can be analysed."""

PHASES: Final[dict[str, str]] = {
    "dns_ms": "DNS",
    "connect_ms": "connect",
    "tls_ms": "TLS",
    "send_ms": "send",
    "ttfb_ms": "first byte",
    "receive_ms": "receive",
}
"""Column and name; the first byte is that of the reply, waited for since the last byte of the request."""


def missing_columns(df: pd.DataFrame) -> list[str]:
    """Return the columns of the schema that a frame does not have, in the schema's order."""
    return [name for name in COLUMNS if name not in df.columns]


def repeated_columns(df: pd.DataFrame) -> list[str]:
    """Return the columns of the schema that a frame has more than once, as after ``concat(axis=1)``."""
    return [name for name in df.columns[df.columns.duplicated()].unique() if name in COLUMNS]
