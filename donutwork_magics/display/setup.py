"""The cards that make no call: the overview, and the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from donutwork_magics.display.card import Card, Table, Tone
from donutwork_magics.displayed import KeyState, Overview, SandboxStatus

if TYPE_CHECKING:
    from donutwork_magics.client.settings import Target

_KEY_SET: Final = "key set"
_TRY: Final = "Whether it is accepted shows in a call: %donutwork check tries it, step by step."
_KEY_STATES: Final[dict[KeyState, str]] = {
    "set": "✓ set",
    "missing": "○ not set",
    "unusable": "✗ not usable",
}
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


def badges_of(target: Target) -> tuple[str, ...]:
    """Say where pings go while they go there."""
    return ("sandbox" if target.sandbox else target.host, *((target.env,) if target.env else ()))


def overview_card(overview: Overview) -> Card:
    """Make the card of the overview."""
    tone, state = _readiness(overview)
    variable = overview.base_url_variable
    setup = (
        *((("Calls go to", overview.destination),) if overview.destination_ok else ()),
        *((("Can be changed with", variable),) if variable else ()),
        *((("In the background", _watches(overview.watches)),) if overview.watches else ()),
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
            *((_TRY,) if state == _KEY_SET else ()),
        ),
        sections=(
            *((Table("Setup", setup),) if setup else ()),
            *((Table("Keys", keys, code=True),) if keys else ()),
            Table("Commands", overview.commands, code=True),
        ),
    )


def sandbox_card(status: SandboxStatus) -> Card:
    """Make the card of the sandbox."""
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


def _watches(count: int) -> str:
    if count == 1:
        return "one watch: %donutwork watch stop ends it"
    return f"{count} watches: %donutwork watch stop ends them"


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
