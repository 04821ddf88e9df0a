"""The bridge from a result to its picture: a result says what it is, `donutwork_magics.display` knows how it looks.

Values that belong to no room are here too: what a kernel is set up to do, and what a check found.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from donutwork_magics.errors import Kind

KeyState = Literal["set", "missing", "unusable"]
StepState = Literal["ok", "warn", "bad", "skipped"]


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
    elsewhere: tuple[str, ...] = ()
    """What goes on calling another address, a line each."""


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


@dataclass(frozen=True, slots=True)
class Step:
    """One question of a check, and its answer.

    All texts are ours: nothing that the server sent is in them unless it is of a documented form.
    """

    name: str
    state: StepState
    detail: str
    """What was found; for a step that was skipped, why."""
    advice: str = ""
    """What to do next, else empty."""
    duration_ms: float | None = None
    """How long it took, where it was measured."""
    kind: Kind | None = None
    """The outcome of the call that failed here, one of `donutwork_magics.errors.KINDS`."""
    untried: bool = False
    """Skipped because something stood in the way, and not because there was nothing to look at."""


@dataclass(frozen=True, slots=True, repr=False)
class CheckReport(Displayed):
    """Whether key, permissions and connection are right.

    Attributes
    ----------
    host : str
        What was checked: host, and port unless it is the usual one; empty where the base URL is not usable.
    sandbox : bool
        Whether that was the sandbox.
    env : str or None
        The environment that answered, ``staging`` or ``production``.
    steps : tuple of Step
        In the order in which a call depends on them.
    """

    host: str
    sandbox: bool
    env: str | None
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """Whether no step is bad; warnings do not count."""
        return not self.failed

    @property
    def failed(self) -> tuple[Step, ...]:
        """The steps that are bad."""
        return tuple(step for step in self.steps if step.state == "bad")

    @property
    def warnings(self) -> tuple[Step, ...]:
        """The steps to look at, although calls work."""
        return tuple(step for step in self.steps if step.state == "warn")

    @property
    def untried(self) -> tuple[Step, ...]:
        """The steps of which nothing is known, as something stood in the way: calls may work or not."""
        return tuple(step for step in self.steps if step.untried)

    def __repr__(self) -> str:
        return self._repr_mimebundle_()["text/plain"]
