"""What a line or a cell means, as values: the parser makes them, the shell acts on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..sampling.plan import Plan
from ..types import Env, Family, Http

SandboxAction: TypeAlias = Literal["start", "stop", "status"]
WatchAction: TypeAlias = Literal["stop", "status"]


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

    http: Http
    family: Family | None
    timeout_s: float
    env: Env | None
    out: str | None
    widget: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """``%donutwork``: where calls go, which key variable is set, the commands."""

    silenced: bool = False


@dataclass(frozen=True, slots=True)
class PingCommand:
    """``ping``: one call, or a series where there is a plan.

    Attributes
    ----------
    plan
        What the series does; None for one call, which has nothing of what follows either.
    journal
        The file that takes each row as it is completed, or None.
    quiet
        No progress and no card.
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
    silenced: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionCommand:
    """``connection``: one call."""

    call: CallOptions
    silenced: bool = False


@dataclass(frozen=True, slots=True)
class CheckCommand:
    """``check``: step by step, over one connection; ``strict`` makes a failed step an error."""

    call: CallOptions
    strict: bool
    silenced: bool = False


@dataclass(frozen=True, slots=True)
class LoadCommand:
    """``load``: a journal as a DataFrame.

    Attributes
    ----------
    file, example
        The journal's file, or the name of one that comes with the package: one of the two.
    out
        The variable that takes the DataFrame, or None.
    """

    file: str | None
    example: str | None
    out: str | None
    silenced: bool = False


@dataclass(frozen=True, slots=True)
class WatchCommand:
    """``watch``: pings in the background, until they are stopped.

    Attributes
    ----------
    plan
        What it does, as a monitor; it is endless unless a duration ends it.
    keep
        How many rows are kept in memory at most, the latest.
    journal
        The file that takes each row as it is completed, or None.
    """

    call: CallOptions
    plan: Plan
    keep: int
    journal: str | None = None
    silenced: bool = False


@dataclass(frozen=True, slots=True)
class StopWatchesCommand:
    """``watch stop``: end all watches, also those that no variable has any more."""

    silenced: bool = False


@dataclass(frozen=True, slots=True)
class WatchStatusCommand:
    """``watch status``: what each running watch has seen so far."""

    silenced: bool = False


@dataclass(frozen=True, slots=True)
class SandboxCommand:
    """``sandbox``: ``action`` is None where none was named (start if it is off, status if it is on).

    Attributes
    ----------
    latency, server_time
        A delay (``20ms``) or its median and 95th percentile (``20ms/60ms``), checked for form.
    faults
        ``KIND:SHARE`` texts, checked for form; the shares add up to 1 at most.
    stalls
        ``LENGTH@START`` texts, checked for form.
    port
        0 is any free port.
    """

    action: SandboxAction | None
    latency: str | None
    server_time: str | None
    faults: tuple[str, ...]
    stalls: tuple[str, ...]
    retry_after_s: int
    seed: int | None
    port: int
    silenced: bool = False


@dataclass(frozen=True, slots=True)
class TutorialCommand:
    """``tutorial``: copy a notebook that comes with the package, or (None) list them."""

    name: str | None
    silenced: bool = False


@dataclass(frozen=True, slots=True)
class VersionCommand:
    """``version``: of this extension, and of what it runs on."""

    silenced: bool = False


@dataclass(frozen=True, slots=True)
class HelpCommand:
    """``help``, on one of `options.TOPICS` or (None) on all commands."""

    topic: str | None
    silenced: bool = False


Command: TypeAlias = (
    Overview
    | PingCommand
    | ConnectionCommand
    | CheckCommand
    | WatchCommand
    | StopWatchesCommand
    | WatchStatusCommand
    | LoadCommand
    | SandboxCommand
    | TutorialCommand
    | VersionCommand
    | HelpCommand
)


@dataclass(frozen=True, slots=True)
class CellLine:
    """One command of a cell; ``label`` is unique in the cell, and is the label of a series too."""

    label: str
    command: PingCommand | ConnectionCommand


@dataclass(frozen=True, slots=True)
class Cell:
    """A ``%%donutwork`` cell: at least one line.

    Attributes
    ----------
    out
        The variable that takes the value of the whole cell, or None.
    blocks
        Into how many blocks the pings of each line are cut; None leaves it to the number of pings.
    seed
        For the order of the blocks; None is one that is drawn.
    """

    lines: tuple[CellLine, ...]
    out: str | None
    blocks: int | None = None
    seed: int | None = None
    silenced: bool = False
