"""Tables of pings with known numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from donutwork_magics.errors import Kind
from donutwork_magics.frame.schema import COLUMNS
from tests.support.tables import RUN, describe

ATTRS: dict[str, Any] = {
    "schema": 1,
    "host": "127.0.0.1:8080",
    "path": "/2026-02-01/ping.json",
    "sandbox": True,
    "plan": [{"label": "ping", "count": 5, "duration_s": None, "rate_hz": 10.0, "cold": False, "concurrency": 1}],
    "pauses": {"count": 0, "total_s": 0.0, "first": []},
    "in_flight": [],
    "ended": None,
    "versions": {"donutwork_magics": "1.0"},
    "platform": "Linux",
}


def frame(
    durations_ms: Sequence[float],
    *,
    label: str = "ping",
    errors: Mapping[int, Kind] | None = None,
    warmup: int = 0,
    every_ms: float = 100.0,
    env: str = "staging",
) -> pd.DataFrame:
    """Make a table of schema 1, one row a duration, started on time at equal distances."""
    n = len(durations_ms)
    started_ms = pd.Series([every_ms * seq for seq in range(n)])
    duration_ms = pd.Series(durations_ms, dtype="float64")
    columns: dict[str, Any] = {
        "seq": range(n),
        "label": label,
        "block": 0,
        "timestamp": pd.to_datetime(1_700_000_000_000 + started_ms, unit="ms", utc=True),
        "scheduled_ms": started_ms,
        "started_ms": started_ms,
        "lag_ms": 0.0,
        "dns_ms": 0.0,
        "connect_ms": 0.0,
        "tls_ms": 0.0,
        "send_ms": duration_ms * 0.05,
        "ttfb_ms": duration_ms * 0.9,
        "receive_ms": duration_ms * 0.05,
        "duration_ms": duration_ms,
        "corrected_ms": duration_ms,
        "rrt_ms": duration_ms * 0.3,
        "rrt": "0.08 ms",
        "network_ms": duration_ms * 0.6,
        "reused": True,
        "retried": False,
        "warmup": [seq < warmup for seq in range(n)],
        "status_code": 200,
        "error": [(errors or {}).get(seq) for seq in range(n)],
        "retry_after_s": float("nan"),
        "env": env,
        "http_version": "1.1",
        "peer": "127.0.0.1",
        "tls_version": None,
        "tcp_rtt_ms": 0.1,
        "tcp_retransmits": 0,
        "body_bytes": 60,
        "vantage": None,
        "run": RUN,
    }
    df = pd.DataFrame({name: columns[name] for name in COLUMNS}).astype(COLUMNS)
    describe(df, ATTRS)
    return df
