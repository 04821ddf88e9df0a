"""What one series does, and to whom; how a run is described; and how both travel between a prober and its parent."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from donutwork_magics._version import __version__
from donutwork_magics.client.client import Client
from donutwork_magics.client.key import ApiKey
from donutwork_magics.client.replies import PING
from donutwork_magics.client.settings import Target
from donutwork_magics.errors import Kind
from donutwork_magics.interrupts import uninterrupted
from donutwork_magics.sampling.machine import Pauses
from donutwork_magics.sampling.outages import Outage, Outages
from donutwork_magics.sampling.plan import Plan, Segment
from donutwork_magics.types import Family, Http

SCHEMA: Final = 1
"""Of the table and of the journal: they have the same columns."""

UNFINISHED: Final = "unfinished"
"""How a run has ended whose journal has no end: its process ended before it did, or it goes on."""
INTERRUPTED: Final = "interrupted"
"""How a run has ended that Ctrl-C or another signal has ended."""
NARROW: Final = "narrow"
"""How a run has ended whose interval was as narrow as it was to become."""
CONTINUED: Final = "continued"
"""How a journal ends that was moved while its run went on: the later rows are in another file."""
JOURNAL_FAILED: Final = "journal_failed"
"""How a run has ended whose journal could not be written."""


@dataclass(frozen=True, slots=True)
class Series:
    """What one series does, and to whom."""

    plan: Plan
    target: Target
    http: Http = "auto"
    family: Family | None = None
    timeout_s: float = 10.0
    journal: Path | None = None
    """Where each row goes as it is completed."""
    until: float | None = None
    """The share of its median to which the interval has to narrow for the run to end; None does not end it."""
    expect: tuple[str, ...] = ()
    """What is expected of it, as `donutwork_magics.analysis.expectations.parse_expectation` reads it."""

    def client(self) -> Client:
        """Make the client of one worker."""
        return Client(self.target, http=self.http, family=self.family, timeout_s=self.timeout_s, cold=self.plan.cold)


def beginning(lines: Sequence[Series], *, sandbox: dict[str, Any] | None, seed: int | None) -> dict[str, Any]:
    """Describe a run before its first ping: what is planned, where, and with what.

    It is an allow-list, without a header or a key: it travels with every copy of the frame into pickle and parquet.
    """
    first = lines[0].target
    return {
        "began": datetime.now(UTC).isoformat(),
        "host": first.host,
        "path": first.base_url.path.rstrip("/") + PING.path,
        "sandbox": first.sandbox if sandbox is None else sandbox,
        "plan": [_planned(series) for series in lines],
        "seed": seed,
        "versions": _versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        # How it fares is described by its prober.
        "pauses": Pauses().as_attrs(),
        "machine_pauses": Pauses().as_attrs(),
        "outages": Outages().as_attrs(),
        "rows": 0,
        "skipped": 0,
        "client": [],
        "in_flight": [],
        "overdue": [],
        "ended": UNFINISHED,
    }


def _planned(series: Series) -> dict[str, Any]:
    return {
        **asdict(series.plan),
        "http": series.http,
        "family": series.family,
        "timeout_s": series.timeout_s,
        "env": series.target.env,
        "host": series.target.host,
        "key": series.target.key.variable,
        "sandbox": series.target.sandbox,
        "until": series.until,
        "expect": list(series.expect),
    }


@cache
def _versions() -> dict[str, str]:
    return {
        "donutwork_magics": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("httpx", "pandas")},
    }


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Carry out a run."""

    run: str
    lines: tuple[Series, ...]
    segments: tuple[Segment, ...]
    attrs: dict[str, Any]
    """What is known of it already, as `beginning` returns it."""
    reached: bool
    """Whether the address is known to be right."""
    outage: Outage | None = None
    """What went on as the run before it ended, which asked the same service."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End the run that is carried out."""

    ended: str | None
    """How the run has ended then, in one word: `INTERRUPTED` or `NARROW`; None where it was to be stopped."""


class Began(msgspec.Struct, frozen=True, tag="began"):
    """The journals are open, and the first ping is due."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The run was not begun."""

    why: str


class Described(msgspec.Struct, frozen=True, tag="described"):
    """What is known of a run now."""

    attrs: dict[str, Any]
    elsewhere: int
    """How many rows were written to its journal before that was moved or truncated."""
    unread: int = 0
    """How many rows were given up, as they were not read in time."""
    waiting_s: float = 0.0
    """How long the oldest ping in flight has waited; 0 where it is not long."""


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The run is over; all of its rows came before this."""

    name: str = ""
    """Why it ended before its plan did, in one word: the kind of the error that ended it, what `Stop` said, or what
    kept it from going on; empty where its plan was carried out."""
    why: str = ""
    """What happened, and what to do next, in one line; empty where its plan was carried out, or for a stop."""
    kind: Kind | None = None
    """The error of the ping that ended it."""
    reached: bool = False
    """Whether the address has turned out to be right."""


Command = Begin | Stop
Event = Began | Refused | Described | Ended


@uninterrupted
def encode_command(command: Command) -> bytes:
    """Make the line of a command; that of a `Begin` holds the key."""
    return msgspec.json.encode(command, enc_hook=_plain) + b"\n"


def command_decoder() -> msgspec.json.Decoder[Command]:
    """Make what reads the line of a command."""
    return msgspec.json.Decoder(Command, dec_hook=_made)


def _plain(value: Any) -> Any:
    return value.arguments() if isinstance(value, ApiKey) else str(value)


def _made(wanted: type, value: Any) -> Any:
    return ApiKey(*value) if wanted is ApiKey else wanted(value)
