"""What one series does, and to whom; and how both travel to the process that carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from donutwork_magics.client.client import Client
from donutwork_magics.client.key import ApiKey
from donutwork_magics.client.settings import Target, Variables
from donutwork_magics.errors import Kind
from donutwork_magics.sampling.plan import Plan, Segment
from donutwork_magics.types import Env, Family, Http


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


class _Place(msgspec.Struct, frozen=True):
    """A `Target` on its way."""

    base_url: str
    key: str
    key_from: str
    variables: Variables | None
    env: Env | None
    ca_pem: str | None
    proxy_variables: tuple[str, ...]


class _Line(msgspec.Struct, frozen=True):
    """A `Series` on its way."""

    plan: Plan
    place: _Place
    http: Http
    family: Family | None
    timeout_s: float
    journal: str | None


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Carry out a run."""

    run: str
    lines: tuple[_Line, ...]
    segments: tuple[Segment, ...]
    attrs: dict[str, Any]
    """What is known of it already, as `donutwork_magics.sampling.describe.beginning` returns it."""
    reached: bool
    """Whether the address is known to be right."""

    def series(self) -> list[Series]:
        """Return the lines."""
        return [_series(line) for line in self.lines]


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End the run that is carried out."""

    ended: str | None
    """How the run has ended then, in one word: ``interrupted`` or `NARROW`; None where it was to be stopped."""


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


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The run is over; all of its rows came before this."""

    why: str = ""
    """Why it ended early, and what to do next, in one line; empty where its plan was carried out, or for a stop."""
    kind: Kind | None = None
    """The error of the ping that ended it."""
    reached: bool = False
    """Whether the address has turned out to be right."""
    journal_failed: bool = False


Command = Begin | Stop
Event = Began | Refused | Described | Ended


def begin_command(
    run: str, lines: Sequence[Series], segments: Sequence[Segment], attrs: dict[str, Any], *, reached: bool
) -> bytes:
    """Return the bytes of a `Begin`, which hold the key."""
    return msgspec.json.encode(Begin(run, tuple(map(_line, lines)), tuple(segments), attrs, reached)) + b"\n"


def _line(series: Series) -> _Line:
    target = series.target
    authorization = target.key.authorization().decode("ascii")
    place = _Place(
        str(target.base_url),
        authorization.removeprefix("Bearer "),
        target.key.variable,
        target.variables,
        target.env,
        target.ca_pem,
        target.proxy_variables,
    )
    journal = None if series.journal is None else str(series.journal)
    return _Line(series.plan, place, series.http, series.family, series.timeout_s, journal)


def _series(line: _Line) -> Series:
    place = line.place
    target = Target(
        httpx.URL(place.base_url),
        ApiKey(place.key, place.key_from),
        place.variables,
        env=place.env,
        ca_pem=place.ca_pem,
        proxy_variables=place.proxy_variables,
    )
    journal = None if line.journal is None else Path(line.journal)
    return Series(line.plan, target, line.http, line.family, line.timeout_s, journal)
