"""The cards of all values but a run: ping, connection, overview, sandbox and check.

`card_of` finds the card of any value; `run` registers its own there, as it needs pandas.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Final

from donutwork_magics.client.replies import http_version
from donutwork_magics.client.results import Connection, Ping, Result, stood_still
from donutwork_magics.columns import PHASES
from donutwork_magics.display.card import Breakdown, Card, Details, Figure, Row, Segment, Steps, Table, Tone
from donutwork_magics.displayed import CheckReport, KeyState, Overview, SandboxStatus, Step, StepState
from donutwork_magics.types import ENVS
from donutwork_magics.units import UNKNOWN, format_ms, format_utc, plural

if TYPE_CHECKING:
    from donutwork_magics.client.settings import Target

_WAIT: Final = "Wait for the first byte: in the server (RRT in its reply), and outside of it"
_WAIT_WITH_PATH: Final = (
    "Wait for the first byte: path (smallest TCP round trip), server (RRT), unexplained (gateway, queue)"
)
_UNQUOTED: Final = str.maketrans('"[]', "'''")
_KEY_SET: Final = "key set"
_TRY: Final = "Whether it is accepted shows in a call: %donutwork check tries it, step by step."
_KEY_STATES: Final[dict[KeyState, str]] = {"set": "✓ set", "missing": "○ not set", "unusable": "✗ not usable"}
_SANDBOX_STATES: Final[dict[str, tuple[Tone, str]]] = {
    "running": ("ok", "Every call goes to the sandbox until %donutwork sandbox stop."),
    "stopped": (
        "off",
        "Calls go to the API itself (%donutwork tells where). %donutwork sandbox start brings it back.",
    ),
    "died": (
        "bad",
        "Calls are refused: %donutwork sandbox start begins a new one, %donutwork sandbox stop leaves it off.",
    ),
}
_IN_BLOCK: Final = {"running": "goes to the sandbox", "died": "is refused"}
_STEP_STATES: Final[dict[StepState, tuple[Tone, str]]] = {
    "ok": ("ok", "ok"),
    "warn": ("warn", "warning"),
    "bad": ("bad", "failed"),
    "skipped": ("off", "skipped"),
}


@singledispatch
def card_of(value: object) -> Card:
    """Make the card of a value."""
    raise TypeError(f"no card for a {type(value).__name__}")


@card_of.register
def _ping_card(ping: Ping) -> Card:
    timing = ping.timing
    opening_ms = sum(timing[phase] for phase in ("dns_ms", "connect_ms", "tls_ms"))
    figures = (
        Figure(format_ms(timing["duration_ms"]), "in total"),
        *((Figure(format_ms(opening_ms), "to open the connection"),) if opening_ms else ()),
        _network(ping),
        Figure(ping.rrt, "server (RRT in its reply)"),
    )
    notes = _of_pause(ping)
    return Card(
        title="Ping",
        tone="warn" if notes else "ok",
        state=ping.status,
        badges=badges("sandbox" if ping.sandbox else "", (ping.env,)),
        figures=figures,
        notes=notes,
        # The time of a pause is in the wait, and nobody knows of which part it would have been.
        sections=(*_phases_of_call(timing), *(() if notes else wait(timing, "time"))),
        details=(Details("Connection and reply", (_call(ping),)),),
    )


def _network(ping: Ping) -> Figure:
    if ping.paused_ms > 0:
        return Figure(UNKNOWN, "network: not known, as this machine stood still")
    network_ms = ping.timing["network_ms"]
    # The server may say that it took longer than anybody waited.
    if network_ms < 0:
        return Figure(UNKNOWN, "network: the server reports more than the wait")
    return Figure(format_ms(network_ms), "network, outside the server")


def _of_pause(result: Result) -> tuple[str, ...]:
    pause = stood_still(result.paused_ms)
    return (f"{pause}: that time is in the numbers. Repeat the call.",) if pause else ()


@card_of.register
def _connection_card(connection: Connection) -> Card:
    seen = {
        "IPv4 address": connection.ipv4,
        "IPv6 address": connection.ipv6,
        "User agent": connection.user_agent,
        "Protocol": connection.protocol,
        "Environment": connection.env,
        "API version": connection.api_version,
    }
    spoken = connection.timing["http_version"]
    is_another = http_version(connection.protocol) != spoken
    translated = f"HTTP/{spoken} was spoken from here, and the API saw {connection.protocol}."
    notes = (*_of_pause(connection), *((translated,) if is_another else ()))
    return Card(
        title="Connection",
        tone="warn" if notes else "ok",
        state="connected",
        notes=notes,
        badges=badges("sandbox" if connection.sandbox else "", (connection.env,)),
        figures=(
            Figure(connection.ipv4 or connection.ipv6 or "", "your address, as the API sees it"),
            Figure(connection.protocol, "protocol"),
            Figure(format_ms(connection.timing["duration_ms"]), "in total"),
        ),
        sections=(Table("As the API sees it", tuple((name, text) for name, text in seen.items() if text)),),
        details=(Details("Connection and reply", (_call(connection), *_phases_of_call(connection.timing))),),
    )


def badges(sandbox: str, envs: Iterable[str]) -> tuple[str, ...]:
    """Show what is ours, if it is not empty, and which environments answered.

    The name of one is the server's own text: where it is not a documented one, it must not pass for a word of ours.
    """
    said = (env if env in ENVS else f'env "{env.translate(_UNQUOTED)}"' for env in envs)
    return (*filter(None, (sandbox,)), *said)


def _call(result: Result) -> Table:
    timing = result.timing
    state = f"{'reused' if timing['reused'] else 'new'}{', after a retry' if timing['retried'] else ''}"
    protocol = f"HTTP/{timing['http_version']}" if timing["http_version"] else ""
    rows = (
        ("Host", result.host),
        ("Peer", timing["peer"] or "unknown"),
        ("Connection", ", ".join(filter(None, (state, protocol, timing["tls_version"] or "no TLS")))),
        ("Status", str(timing["status_code"])),
        ("TCP round trip, min", format_ms(timing["tcp_rtt_ms"])),
        ("Time", format_utc(timing["timestamp"].timestamp())),
        ("Reply", json.dumps(result.raw, ensure_ascii=False, default=str)),
    )
    return Table("Call", rows)


def _phases_of_call(timing: Mapping[str, Any]) -> tuple[Breakdown, ...]:
    second = "Phases of the second attempt: the total holds both"
    return phases(timing, second if timing["retried"] else "Phases of this call", "time")


def phases(times_ms: Mapping[str, float], caption: str, value: str) -> tuple[Breakdown, ...]:
    """Break a call down into its phases, from times by column; those that did not happen are left out."""
    return _breakdown({name: times_ms[column] for column, name in PHASES.items()}, caption, ("phase", value))


def wait(times_ms: Mapping[str, float], value: str) -> tuple[Breakdown, ...]:
    """Break the wait for the first byte down into path, server and the rest, or into server and network.

    It is in three parts where the system tells the round trip. There is none where the server's own time is unknown, 0,
    or longer than the wait.
    """
    ttfb_ms, rrt_ms, path_ms = times_ms["ttfb_ms"], times_ms["rrt_ms"], times_ms["tcp_rtt_ms"]
    if not 0 < rrt_ms <= ttfb_ms:
        return ()
    if not path_ms + rrt_ms <= ttfb_ms:
        # Unknown; or the least round trip was of a better moment than this one.
        return _breakdown({"server": rrt_ms, "network": ttfb_ms - rrt_ms}, _WAIT, ("part", value))
    parts_ms = {"path": path_ms, "server": rrt_ms, "unexplained": ttfb_ms - rrt_ms - path_ms}
    return _breakdown(parts_ms, _WAIT_WITH_PATH, ("part", value))


def _breakdown(times_ms: Mapping[str, float], caption: str, head: tuple[str, str]) -> tuple[Breakdown, ...]:
    # NaN is not above 0 either.
    taken = {name: time_ms for name, time_ms in times_ms.items() if time_ms > 0}
    total_ms = sum(taken.values())
    segments = tuple(Segment(name, format_ms(time_ms), time_ms / total_ms) for name, time_ms in taken.items())
    return (Breakdown(caption, head, segments),) if segments else ()


def badges_of(target: Target) -> tuple[str, ...]:
    """Say where pings go while they go there."""
    return ("sandbox" if target.sandbox else target.host, *((target.env,) if target.env else ()))


@card_of.register
def _overview_card(overview: Overview) -> Card:
    tone, state = _readiness(overview)
    n = overview.watches
    watches = "one watch: %donutwork watch stop ends it" if n == 1 else f"{n} watches: %donutwork watch stop ends them"
    setup = (
        *((("Calls go to", overview.destination),) if overview.destination_ok else ()),
        *((("Can be changed with", overview.base_url_variable),) if overview.base_url_variable else ()),
        *((("In the background", watches),) if n else ()),
    )
    keys = tuple((key.variable, _KEY_STATES[key.state]) for key in overview.keys)
    return Card(
        title="Donutwork",
        tone=tone,
        state=state,
        badges=("sandbox",) if overview.sandbox else (),
        notes=(
            *(() if overview.destination_ok else (overview.destination,)),
            *(key.advice for key in overview.keys if key.advice),
            *overview.elsewhere,
            *((_TRY,) if state == _KEY_SET else ()),
        ),
        sections=(
            *((Table("Setup", setup),) if setup else ()),
            *((Table("Keys", keys, code=True),) if keys else ()),
            Table("Commands", overview.commands, code=True),
        ),
    )


def _readiness(overview: Overview) -> tuple[Tone, str]:
    if not overview.destination_ok:
        return "bad", "not ready"
    if overview.sandbox:
        return "ok", "ready"
    if overview.keys[0].state == "set":
        return "ok", _KEY_SET
    if overview.keys[0].state == "unusable":
        return "bad", "key not usable"
    if any(key.state == "set" for key in overview.keys):
        return "ok", "key set, for --env"
    return "warn", "no key set"


@card_of.register
def _sandbox_card(status: SandboxStatus) -> Card:
    tone, note = _SANDBOX_STATES[status.state]
    if status.in_block:
        note = f"Every call {_IN_BLOCK[status.state]} until its `with` block ends."
    rows = (
        *((("URL", status.url),) if status.url else ()),
        *((("Seed", str(status.seed)),) if status.seed is not None else ()),
        *((name.capitalize() + (", p50/p95" if "/" in value else ""), value) for name, value in status.behaviour),
    )
    return Card(
        title="Sandbox",
        tone=tone,
        state=status.state,
        notes=(note,),
        sections=(Table("A local stand-in for the API", rows),) if rows else (),
    )


@card_of.register
def _check_card(report: CheckReport) -> Card:
    tone, state = _verdict(report)
    caption = f"Step by step: {report.host}" if report.host else "Step by step"
    return Card(
        title="Check",
        tone=tone,
        state=state,
        badges=badges("sandbox" if report.sandbox else "", filter(None, (report.env,))),
        sections=(Steps(caption, tuple(map(_row, report.steps))),),
    )


def _verdict(report: CheckReport) -> tuple[Tone, str]:
    if not report.ok:
        return "bad", f"failed at {', '.join(step.name for step in report.failed)}"
    reservations = [
        *([f"with {plural(len(report.warnings), 'warning')}"] if report.warnings else []),
        *([f"{plural(len(report.untried), 'step')} not tried"] if report.untried else []),
    ]
    return "warn" if reservations else "ok", ", ".join(["ready", *reservations])


def _row(step: Step) -> Row:
    tone, state = _STEP_STATES[step.state]
    time = "" if step.duration_ms is None else format_ms(step.duration_ms)
    return Row(tone, state, step.name, time, step.detail, step.advice)
