"""The one table of columns: schema 1 of the DataFrame, one row a ping, these columns in this order.

What is read first comes first. Times are milliseconds: 0 where a phase did not happen, NaN where it was not reached or
is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Dtype: TypeAlias = Literal["string", "int64", "Int16", "Int32", "float64", "bool", "datetime64[ns, UTC]"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the DataFrame.

    The unit of the values is the ending of the name; ``missing`` says when one is missing, and is empty where none is.
    """

    name: str
    dtype: Dtype
    unit: str
    meaning: str
    missing: str = ""


_UNREACHED: Final = "the ping ended before this phase"
_NO_REPLY: Final = "no complete reply arrived"
_NO_HEAD: Final = "no reply arrived"
_NO_CONNECTION: Final = "no connection was made"
_NO_PLAN: Final = "there is no plan (-r max)"

COLUMNS: Final[tuple[Column, ...]] = (
    Column("label", "string", "", "which series of pings the row belongs to: --label, or the label of the cell's line"),
    Column("seq", "int64", "", "0, 1, 2 ... in planned order within a run"),
    Column(
        "duration_ms",
        "float64",
        "ms",
        "the whole ping, from its first network act to its last byte; the phases add up to it within 5 %",
    ),
    Column("error", "string", "", "the outcome, where it is not a success: see help errors", "the ping succeeded"),
    Column(
        "rrt_ms", "float64", "ms", "the server's own time, as its reply states it", f"{_NO_REPLY}, or it states none"
    ),
    Column(
        "network_ms",
        "float64",
        "ms",
        "ttfb_ms less rrt_ms: the wait for the first byte outside of what the server reports",
        "ttfb_ms or rrt_ms is missing",
    ),
    Column("timestamp", "datetime64[ns, UTC]", "", "the actual start, by the wall clock"),
    Column("dns_ms", "float64", "ms", "name resolution; 0 on a reused connection", _UNREACHED),
    Column("connect_ms", "float64", "ms", "the TCP (HTTP/3: QUIC) handshake; 0 on a reused connection", _UNREACHED),
    Column("tls_ms", "float64", "ms", "the TLS handshake; 0 on a reused connection and without TLS", _UNREACHED),
    Column("send_ms", "float64", "ms", "sending the request", _UNREACHED),
    Column("ttfb_ms", "float64", "ms", "last byte sent to first byte received", _UNREACHED),
    Column("receive_ms", "float64", "ms", "first byte to last byte of the reply", _UNREACHED),
    Column("scheduled_ms", "float64", "ms", "planned start, since the run began (monotonic clock)", _NO_PLAN),
    Column("started_ms", "float64", "ms", "actual start, since the run began (monotonic clock)"),
    Column("lag_ms", "float64", "ms", "started_ms less scheduled_ms: how late the ping started", _NO_PLAN),
    Column(
        "corrected_ms",
        "float64",
        "ms",
        "planned start to last byte: what a punctual caller would have waited; of a timeout, a lower bound",
        _NO_PLAN,
    ),
    Column("reused", "bool", "", "whether the connection had served a request before"),
    Column("retried", "bool", "", "whether the ping was retried once on a new connection, as the kept one was stale"),
    Column("warmup", "bool", "", "whether it is a warm-up ping (-w), which summaries leave out"),
    Column("status_code", "Int16", "", "the HTTP status", _NO_HEAD),
    Column("retry_after_s", "float64", "s", "the rest that the server asked for (Retry-After)", "it asked for none"),
    Column(
        "env", "string", "", "the environment that answered: staging or production", f"{_NO_REPLY}, or it names none"
    ),
    Column("http_version", "string", "", "the HTTP version of the reply: 1.1, 2 or 3", _NO_HEAD),
    Column("peer", "string", "", "the IP address that was called", _NO_CONNECTION),
    Column("tls_version", "string", "", "the TLS version of the connection", f"{_NO_CONNECTION}, or it has no TLS"),
    Column("rrt", "string", "", "the server's own time, as the text of its reply", f"{_NO_REPLY}, or it states none"),
    Column(
        "tcp_rtt_ms",
        "float64",
        "ms",
        "the least round trip of the path that the kernel saw on this connection (HTTP/3: that QUIC saw)",
        "the system does not tell",
    ),
    Column(
        "tcp_retransmits",
        "Int16",
        "",
        "packets that the kernel has sent again on this connection (HTTP/3: packets that QUIC has lost)",
        "the system does not tell",
    ),
    Column("body_bytes", "Int32", "bytes", "the size of the reply's body", _NO_REPLY),
    Column("block", "int64", "", "the round in which a cell's lines took turns, from 0 on; 0 where they did not"),
    Column("vantage", "string", "", "the machine that measured the ping", "it was measured here"),
    Column("run", "string", "", "the run's id: sorts by time and is unique, so that joined tables can tell runs apart"),
)
"""The columns in the order of the DataFrame."""

METRICS: Final = tuple(each.name for each in COLUMNS if each.dtype == "float64" and each.unit == "ms")
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
