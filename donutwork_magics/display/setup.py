"""The cards that make no call: the overview, and the sandbox."""

from __future__ import annotations

from typing import Final

from donutwork_magics.display.card import Card, Table, Tone
from donutwork_magics.status import KeyState, Overview, SandboxStatus

_KEY_STATES: Final[dict[KeyState, str]] = {
    "set": "✓ set",
    "missing": "○ not set",
    "unusable": "✗ not usable",
}
_SANDBOX_STATES: Final[dict[str, tuple[Tone, str]]] = {
    "running": ("ok", "Every call goes to the sandbox until %donutwork sandbox stop."),
    "stopped": ("off", "Calls go to the real API. %donutwork sandbox start begins a sandbox."),
    "died": (
        "bad",
        "Calls are refused: %donutwork sandbox start begins a new one, %donutwork sandbox stop leaves it off.",
    ),
}


def overview_card(overview: Overview) -> Card:
    """Make the card of the overview."""
    tone, state = _readiness(overview)
    variable = overview.base_url_variable
    setup = (
        ("Calls go to", overview.destination),
        *((("Changed by", variable),) if variable else ()),
    )
    keys = tuple((key.variable, _KEY_STATES[key.state]) for key in overview.keys)
    return Card(
        title="Donutwork",
        tone=tone,
        state=state,
        badges=("sandbox",) if overview.sandbox else (),
        notes=tuple(key.advice for key in overview.keys if key.advice),
        sections=(
            Table("Setup", setup),
            *((Table("Keys", keys, code=True),) if keys else ()),
            Table("Commands", overview.commands, code=True),
        ),
    )


def sandbox_card(status: SandboxStatus) -> Card:
    """Make the card of the sandbox."""
    tone, note = _SANDBOX_STATES[status.state]
    rows = (
        *((("URL", status.url),) if status.url else ()),
        *((("Seed", str(status.seed)),) if status.seed is not None else ()),
        *((name.capitalize(), value) for name, value in status.behaviour),
    )
    return Card(
        title="Sandbox",
        tone=tone,
        state=status.state,
        notes=(note,),
        sections=(Table("A local stand-in for the API", rows),) if rows else (),
    )


def _readiness(overview: Overview) -> tuple[Tone, str]:
    if not overview.destination_ok:
        return "bad", "not ready"
    if overview.sandbox or overview.keys[0].state == "set":
        return "ok", "ready"
    if overview.keys[0].state == "unusable":
        return "bad", "key not usable"
    if any(key.state == "set" for key in overview.keys):
        return "ok", "ready with --env"
    return "warn", "no key set"
