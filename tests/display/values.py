"""One of each value that has a card."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd

from donutwork_magics.client.results import Connection, Ping
from donutwork_magics.display.run import RunCard
from donutwork_magics.displayed import CheckReport, Displayed, KeyStatus, Overview, SandboxStatus, Step
from tests.display.frames import ATTRS, frame
from tests.support.tables import describe

HOSTILE = "<script>alert('x')</script>&\x1b[31m\u202e\n" + "A" * 500
"""What a server might send: markup, terminal controls, turned direction, a line break, no end."""

TIMING: dict[str, Any] = {
    "timestamp": datetime(2026, 11, 24, 4, 5, 6, tzinfo=UTC),
    "dns_ms": 1.5,
    "connect_ms": 10.0,
    "tls_ms": 20.0,
    "send_ms": 0.05,
    "ttfb_ms": 12.0,
    "receive_ms": 0.2,
    "duration_ms": 43.9,
    "rrt_ms": 0.08,
    "network_ms": 11.92,
    "reused": False,
    "retried": False,
    "status_code": 200,
    "http_version": "2",
    "peer": "192.0.2.1",
    "tls_version": "TLSv1.3",
    "tcp_rtt_ms": 9.8,
    "tcp_retransmits": 0,
    "body_bytes": 60,
}


def ping(text: str = "staging", *, sandbox: bool = True, rrt_ms: float = 0.08, paused_ms: float = 0.0) -> Ping:
    """Make a ping whose environment and reply hold a text."""
    return Ping(
        host="api.example",
        sandbox=sandbox,
        timing={**TIMING, "rrt_ms": rrt_ms, "network_ms": 12.0 - rrt_ms},
        raw={"status": "success", "note": text},
        paused_ms=paused_ms,
        status="success",
        env=text,
        rrt="0.08 ms" if rrt_ms == rrt_ms else text,  # noqa: PLR0124 - NaN
        rrt_ms=rrt_ms,
    )


def connection(text: str = "staging") -> Connection:
    """Make a connection whose every answered field is a text."""
    return Connection(
        host="api.example",
        sandbox=False,
        timing=TIMING,
        raw={"endpoint": {"env": text}},
        paused_ms=0.0,
        user_agent=text,
        ipv4="192.0.2.7",
        ipv6=None,
        api_version=text,
        env=text,
        protocol=text,
    )


def overview(text: str = "where calls go") -> Overview:
    """Make an overview without a key."""
    missing = KeyStatus("DONUTWORK_API_KEY", "missing", "Set DONUTWORK_API_KEY.")
    return Overview(
        "https://api.example",
        True,
        False,
        "DONUTWORK_BASE_URL",
        (missing,),
        (("%donutwork", text), ("%%donutwork", text)),
    )


def run(text: str = "ping", *, ended: str | None = None) -> RunCard:
    """Make a run with errors, whose label is a text."""
    df = frame([5.0 + 0.1 * seq for seq in range(70)], label=text, errors={3: "timeout", 9: "server_error"}, env=text)
    describe(df, {**ATTRS, "ended": ended})
    return RunCard(df)


def comparison(text: str = "cold", labels: int = 3) -> RunCard:
    """Make a run of several labels."""
    parts = [frame([5.0 + at] * 70, label=f"{text} {at}") for at in range(labels)]
    df = pd.concat(parts, ignore_index=True)
    describe(df, ATTRS)
    return RunCard(df)


def report(text: str = "staging", *, bad: bool = True) -> CheckReport:
    """Make a report with a step of each state, in which a text stands wherever one can."""
    steps = (
        Step("API key", "ok", text),
        Step("TLS", "warn", text, text, duration_ms=12.0),
        *((Step("ping:read", "bad", text, text, kind="forbidden"),) if bad else ()),
        Step("Clock", "skipped", text),
    )
    return CheckReport(host=text, sandbox=True, env=text, steps=steps)


def everything(text: str = "staging") -> dict[str, Displayed]:
    """Make one of each, with a text wherever a foreign one can stand."""
    return {
        "ping": ping(text),
        "ping without RRT": ping(text, rrt_ms=float("nan")),
        "ping with a pause": ping(text, paused_ms=2000.0),
        "connection": connection(text),
        "overview": overview(text),
        "sandbox": SandboxStatus("running", "http://127.0.0.1:1", 7, (("latency", text),)),
        "stopped": SandboxStatus("stopped"),
        "died": SandboxStatus("died", "http://127.0.0.1:1", 7),
        "check": report(text),
        "check that passes": report(text, bad=False),
        "run": run(text),
        "interrupted run": run(text, ended="interrupted"),
        "comparison": comparison(text),
        "no pings": RunCard(frame([1.0]).iloc[:0]),
        "another table": RunCard(pd.DataFrame({text: [1]})),
    }
