"""Schema 1 of the DataFrame: one row a ping, these columns in this order with these dtypes.

Times are milliseconds in float64: 0 where a phase did not happen, NaN where it was not reached or is unknown.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

from donutwork_magics.errors import KINDS

COLUMNS: Final[dict[str, str]] = {
    "seq": "int64",
    "label": "category",
    "block": "int64",
    "timestamp": "datetime64[ns, UTC]",
    "scheduled_ms": "float64",
    "started_ms": "float64",
    "lag_ms": "float64",
    "dns_ms": "float64",
    "connect_ms": "float64",
    "tls_ms": "float64",
    "send_ms": "float64",
    "ttfb_ms": "float64",
    "receive_ms": "float64",
    "duration_ms": "float64",
    "corrected_ms": "float64",
    "rrt_ms": "float64",
    "rrt": "string",
    "network_ms": "float64",
    "reused": "bool",
    "retried": "bool",
    "warmup": "bool",
    "status_code": "Int16",
    "error": "category",
    "retry_after_s": "float64",
    "env": "category",
    "http_version": "category",
    "peer": "category",
    "tls_version": "category",
    "tcp_rtt_ms": "float64",
    "tcp_retransmits": "Int16",
    "body_bytes": "Int32",
}

KNOWN_CATEGORIES: Final[dict[str, tuple[str, ...]]] = {
    # Columns with the same categories in every frame stay categories when frames are concatenated.
    "error": KINDS,
    "env": ("staging", "production"),
    "http_version": ("1.0", "1.1", "2", "3"),
    "tls_version": ("TLSv1.2", "TLSv1.3"),
}


def missing_columns(df: pd.DataFrame) -> list[str]:
    """Return the columns of the schema that a frame does not have, in the schema's order."""
    return [name for name in COLUMNS if name not in df.columns]


def repeated_columns(df: pd.DataFrame) -> list[str]:
    """Return the columns of the schema that a frame has more than once, as after ``concat(axis=1)``."""
    return [name for name in df.columns[df.columns.duplicated()].unique() if name in COLUMNS]
