"""The bridge from a result to its picture: a result says what it is, `donutwork_magics.display` knows how it looks.

Values that no room computes are here too: what a kernel is set up to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

KeyState = Literal["set", "missing", "unusable"]


class Displayed:
    """A value that Jupyter shows as a static card, and a terminal as text.

    Only ``text/plain`` and ``text/html`` are offered: a widget view in a saved notebook would be dead when it is
    opened again.
    """

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        bundle: dict[str, str] = import_module("donutwork_magics.display").mimebundle(self)
        return bundle


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One environment variable for a key: whether it can be used, never its value."""

    variable: str
    state: KeyState
    advice: str
    """What to do where it cannot be used, else empty."""


@dataclass(frozen=True, slots=True)
class Overview(Displayed):
    """Where calls go, with which key, and what there is to type; made without a request."""

    destination: str
    """Scheme, host and port of the API or the sandbox; or why it cannot be said, in one line."""
    destination_ok: bool
    sandbox: bool
    base_url_variable: str | None
    """The variable that was read for it; None for the sandbox."""
    keys: tuple[KeyStatus, ...]
    """The plain key first, then those of an environment that are set; none for the sandbox."""
    commands: tuple[tuple[str, str], ...]
    """Pairs of usage and meaning."""
    watches: int = 0
    """How many have not ended."""


@dataclass(frozen=True, slots=True)
class SandboxStatus(Displayed):
    """Whether the sandbox runs, and how it behaves."""

    state: Literal["running", "stopped", "died"]
    url: str | None = None
    seed: int | None = None
    behaviour: tuple[tuple[str, str], ...] = ()
    """Pairs of option and value, of those that were given."""
    in_block: bool = False
    """Whether it is on in a ``with sandbox()`` block only."""
