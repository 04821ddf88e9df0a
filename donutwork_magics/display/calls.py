"""The cards of single calls: ping and connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from donutwork_magics.client.replies import http_version
from donutwork_magics.client.results import Connection, Ping, Result
from donutwork_magics.display.card import Breakdown, Card, Details, Figure, Table
from donutwork_magics.display.phases import known, phases, wait
from donutwork_magics.units import UNKNOWN, format_ms, format_utc

_PHASES_CAPTION: Final = "Phases of this call"
_RETRIED_CAPTION: Final = "Phases of the second attempt: the total holds both"


def ping_card(ping: Ping) -> Card:
    """Make the card of a ping."""
    timing = ping.timing
    # The server may say that it took longer than anybody waited.
    is_possible = not timing["network_ms"] < 0
    opening_ms = sum(timing[phase] for phase in ("dns_ms", "connect_ms", "tls_ms"))
    figures = (
        Figure(format_ms(timing["duration_ms"]), "in total"),
        *((Figure(format_ms(opening_ms), "to open the connection"),) if opening_ms else ()),
        Figure(format_ms(timing["network_ms"]), "network, outside the server")
        if is_possible
        else Figure(UNKNOWN, "network: the server reports more than the wait"),
        Figure(ping.rrt, "server (RRT in its reply)"),
    )
    return Card(
        title="Ping",
        tone="ok",
        state=ping.status,
        badges=_badges(ping, ping.env),
        figures=figures,
        sections=known(
            _phases(timing),
            wait(timing, "time"),
        ),
        details=(Details("Connection and reply", (Table("Call", (*_call(ping), _reply(ping))),)),),
    )


def connection_card(connection: Connection) -> Card:
    """Make the card of a connection."""
    seen = {
        "IPv4 address": connection.ipv4,
        "IPv6 address": connection.ipv6,
        "User agent": connection.user_agent,
        "Protocol": connection.protocol,
        "Environment": connection.env,
        "API version": connection.api_version,
    }
    address = connection.ipv4 or connection.ipv6 or ""
    spoken = connection.timing["http_version"]
    is_another = http_version(connection.protocol) != spoken
    return Card(
        title="Connection",
        tone="warn" if is_another else "ok",
        state="connected",
        notes=(f"HTTP/{spoken} was spoken from here, and the API saw {connection.protocol}.",) if is_another else (),
        badges=_badges(connection, connection.env),
        figures=(
            Figure(address, "your address, as the API sees it"),
            Figure(connection.protocol, "protocol"),
            Figure(format_ms(connection.timing["duration_ms"]), "in total"),
        ),
        sections=(Table("As the API sees it", tuple((name, text) for name, text in seen.items() if text)),),
        details=(
            Details(
                "Connection and reply",
                (
                    Table("Call", (*_call(connection), _reply(connection))),
                    *known(_phases(connection.timing)),
                ),
            ),
        ),
    )


def _badges(result: Result, env: str) -> tuple[str, ...]:
    return ("sandbox", env) if result.sandbox else (env,)


def _call(result: Result) -> tuple[tuple[str, str], ...]:
    timing = result.timing
    return (
        ("Host", result.host),
        ("Peer", timing["peer"] or "unknown"),
        ("Connection", _connection(timing)),
        ("Status", str(timing["status_code"])),
        ("TCP round trip, min", format_ms(timing["tcp_rtt_ms"])),
        ("Time", format_utc(timing["timestamp"].timestamp())),
    )


def _phases(timing: Mapping[str, Any]) -> Breakdown | None:
    return phases(timing, _RETRIED_CAPTION if timing["retried"] else _PHASES_CAPTION, "time")


def _connection(timing: Mapping[str, Any]) -> str:
    state = "reused" if timing["reused"] else "new"
    if timing["retried"]:
        state += ", after a retry"
    protocol = f"HTTP/{timing['http_version']}" if timing["http_version"] else ""
    return ", ".join(filter(None, (state, protocol, timing["tls_version"] or "no TLS")))


def _reply(result: Result) -> tuple[str, str]:
    return "Reply", json.dumps(result.raw, ensure_ascii=False, default=str)
