"""What a line or a cell means, as values: the parser makes them, the shell acts on them.

A value holds the built-in default of each option.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from ..sampling.plan import Plan
from ..types import Env, Family, Http, whole
from .values import LARGEST_PORT, LARGEST_SEED, LONGEST_RETRY_AFTER_S, delay_s, fault_shares, stall_s

SandboxAction: TypeAlias = Literal["start", "stop", "status"]
WatchAction: TypeAlias = Literal["stop", "status"]

_MOST_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How each call is made, and where its result goes.

    Attributes
    ----------
    timeout_s
        Total deadline of one call, name resolution to last byte.
    env
        Which key and base URL, and what ``env`` the reply must say; None asks for none.
    out
        The variable that takes the result, or None.
    widget
        Show buttons above the card; False for a series and in a cell.
    """

    http: Http = "auto"
    family: Family | None = None
    timeout_s: float = 10.0
    env: Env | None = None
    out: str | None = None
    widget: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """What a line means; each kind has a class of its own."""

    silenced: bool = field(default=False, kw_only=True)
    """Whether a ``;`` hides the value."""


@dataclass(frozen=True, slots=True)
class Overview(Command):
    """``%donutwork``: where calls go, which key variable is set, the commands."""


@dataclass(frozen=True, slots=True)
class PingCommand(Command):
    """``ping``: one call, or a series where there is a plan.

    Attributes
    ----------
    plan
        What the series does; None for one call, which has nothing of what follows either.
    until
        The share of the p50 to which its interval has to narrow for the series to end; None does not end it.
    expect
        Expectations, ``p95<200ms``, checked for form.
    """

    call: CallOptions
    plan: Plan | None = None
    journal: str | None = None
    quiet: bool = False
    until: float | None = None
    expect: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectionCommand(Command):
    """``connection``: one call."""

    call: CallOptions


@dataclass(frozen=True, slots=True)
class CheckCommand(Command):
    """``check``: step by step, over one connection; ``strict`` makes a failed step an error."""

    call: CallOptions
    strict: bool = False


@dataclass(frozen=True, slots=True)
class LoadCommand(Command):
    """``load``: a journal as a DataFrame; either a file, or the name of an example that comes with the package."""

    file: str | None
    example: str | None = None
    out: str | None = None


@dataclass(frozen=True, slots=True)
class WatchCommand(Command):
    """``watch``: pings in the background, until a duration ends them or they are stopped; the latest rows are kept."""

    call: CallOptions
    plan: Plan
    keep: int = 100_000
    journal: str | None = None


@dataclass(frozen=True, slots=True)
class WatchesCommand(Command):
    """``watch stop`` and ``watch status``: all watches, also those that no variable has any more."""

    action: WatchAction


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How the sandbox shall behave: one value for the magics, scripts, the command line and the child process.

    Parameters
    ----------
    latency, server_time
        A delay outside and inside RRT: ``20ms``, or ``20ms/60ms`` for median and 95th percentile; None for none.
    faults
        ``KIND:SHARE`` each.
    stalls
        ``LENGTH@START`` each, as in ``2s@10s``; the start is counted from the sandbox's own.
    retry_after_s
        What ``rate_limited`` asks for.
    seed
        None for a random one.
    port
        0 for a free one.

    Raises
    ------
    ValueError
        If a value cannot be read; one line that does not repeat it.
    """

    latency: str | None = None
    server_time: str | None = None
    faults: Sequence[str] = ()
    stalls: Sequence[str] = ()
    retry_after_s: int = 1
    seed: int | None = None
    port: int = 0

    def __post_init__(self) -> None:
        for name in ("faults", "stalls"):
            object.__setattr__(self, name, _texts(getattr(self, name)))
        for name, text in (("latency", self.latency), ("server_time", self.server_time)):
            if text is not None:
                _check(name, delay_s, text if isinstance(text, str) else "")
        _check("a fault", fault_shares, self.faults)
        for stall in self.stalls:
            _check("a stall", stall_s, stall)
        whole("retry_after_s", self.retry_after_s, 1, LONGEST_RETRY_AFTER_S)
        whole("seed", 0 if self.seed is None else self.seed, 0, LARGEST_SEED)
        whole("port", self.port, 0, LARGEST_PORT)

    def behaviour(self) -> dict[str, str]:
        """Return what is injected, by name, as a few words; what is not is not there."""
        more = len(self.stalls) - _MOST_SHOWN
        told = {
            "latency": self.latency or "",
            "server time": self.server_time or "",
            "faults": ", ".join(self.faults),
            # A card and a table have room for no more.
            "stalls": ", ".join(self.stalls[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else ""),
        }
        return {name: text for name, text in told.items() if text}


def _texts(given: object) -> tuple[str, ...]:
    """Take a text alone as one of a sequence, and what is no text as the empty one, which no reader takes."""
    several = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    return tuple(each if isinstance(each, str) else "" for each in several)


def _check(name: str, read: Callable[[Any], object], value: object) -> None:
    try:
        read(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


@dataclass(frozen=True, slots=True)
class SandboxCommand(Command):
    """``sandbox``: ``action`` is None where none was named (start if it is off, status if it is on)."""

    action: SandboxAction | None
    options: SandboxOptions


@dataclass(frozen=True, slots=True)
class TutorialCommand(Command):
    """``tutorial``: copy a notebook that comes with the package, or (None) list them."""

    name: str | None


@dataclass(frozen=True, slots=True)
class VersionCommand(Command):
    """``version``: of this extension, and of what it runs on."""


@dataclass(frozen=True, slots=True)
class HelpCommand(Command):
    """``help``, on a command, on one of `options.REFERENCE` or (None) on all commands."""

    topic: str | None


@dataclass(frozen=True, slots=True)
class CellLine:
    """One command of a cell; ``label`` is unique in the cell, and is the label of a series too."""

    label: str
    command: PingCommand | ConnectionCommand


@dataclass(frozen=True, slots=True)
class Cell(Command):
    """A ``%%donutwork`` cell: at least one line, the variable for the value of the whole, and how lines take turns.

    Attributes
    ----------
    blocks
        Into how many blocks the pings of each line are cut; None leaves it to the number of pings.
    seed
        For the order of the blocks; None is one that is drawn.
    """

    lines: tuple[CellLine, ...]
    out: str | None = None
    blocks: int | None = None
    seed: int | None = None
