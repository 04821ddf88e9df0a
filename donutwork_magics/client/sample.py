"""One ping as a row: every outcome is a value, never an exception."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, NamedTuple

from donutwork_magics.errors import Kind
from donutwork_magics.network.caller import Exchange


class Sample(NamedTuple):
    """What is known of one ping."""

    exchange: Exchange
    error: Kind | None = None
    reason: str = ""
    """A few words on the error, of ours; for messages."""
    status_code: int | None = None
    retry_after_s: float | None = None
    body_bytes: int | None = None
    env: str | None = None
    """As answered, but without markup, as it goes into a table; `rrt` likewise."""
    rrt: str | None = None
    rrt_ms: float = math.nan

    @property
    def network_ms(self) -> float:
        """The time to the first byte that the server does not report as its own."""
        return self.exchange.phases.ttfb_ms - self.rrt_ms

    def timing(self) -> dict[str, Any]:
        """Return the row's columns that a single call has, by name, in the order of the DataFrame."""
        exchange = self.exchange
        return {
            "timestamp": datetime.fromtimestamp(exchange.timestamp_ns / 1e9, UTC),
            **exchange.phases._asdict(),
            "duration_ms": exchange.duration_ms,
            "rrt_ms": self.rrt_ms,
            "network_ms": self.network_ms,
            "reused": exchange.reused,
            "retried": exchange.retried,
            "status_code": self.status_code,
            "http_version": exchange.http_version,
            "peer": exchange.peer,
            "tls_version": exchange.tls_version,
            "tcp_rtt_ms": exchange.tcp_rtt_ms,
            "tcp_retransmits": exchange.tcp_retransmits,
            "body_bytes": self.body_bytes,
        }
