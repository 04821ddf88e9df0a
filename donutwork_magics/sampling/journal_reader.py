"""Reading a journal, line by line, into rows: what `donutwork_magics.sampling.journal` has written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, BinaryIO, Final, NamedTuple

import msgspec

from donutwork_magics.errors import DonutworkError
from donutwork_magics.interrupts import interruption, uninterrupted
from donutwork_magics.network.exchange import CallCancelledError
from donutwork_magics.sampling.journal import BEGINNING, is_whole, journal_path, reason_of, was_ended
from donutwork_magics.sampling.machine import Notice, Pauses
from donutwork_magics.sampling.outages import Outage, Outages, pinged, places_of
from donutwork_magics.sampling.plan import MOST_OVERDUE, Plan
from donutwork_magics.sampling.rows import LARGEST, Rows, cleaned, decode
from donutwork_magics.sampling.series import UNFINISHED
from donutwork_magics.types import Env, Family, Http

_MOST_GAPS: Final = 20
_LONGEST_BEGINNING: Final = 2**20

_AT_ONCE: Final = 1000
_Natural = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]


class _Outages(msgspec.Struct, frozen=True):
    count: _Natural = 0
    total_s: float = 0.0
    first: list[Outage] = []


class _InFlight(msgspec.Struct, frozen=True):
    label: str
    waited_ms: float


class _Overdue(msgspec.Struct, frozen=True):
    label: str
    starts: Annotated[int, msgspec.Meta(ge=0, le=MOST_OVERDUE)]
    waited_ms: float
    every_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned(Plan):
    """What is planned of a line, as `donutwork_magics.sampling.series.beginning` describes it."""

    http: Http = "auto"
    family: Family | None = None
    timeout_s: float = 0.0
    env: Env | None = None
    host: str = ""
    key: str = ""
    sandbox: bool = False
    until: float | None = None
    expect: tuple[str, ...] = ()


class _Load(msgspec.Struct, frozen=True):
    """As `donutwork_magics.sampling.machine.ClientLoad` describes itself."""

    own_p50_ms: float
    own_p95_ms: float
    wake_p50_ms: float
    wake_p95_ms: float
    cpu_share: float
    wakes: int
    notices: list[Notice]


class _Attrs(msgspec.Struct, frozen=True):
    """What a description may be like for cards and analyses."""

    began: str = ""
    host: str = ""
    path: str = ""
    sandbox: bool | dict[str, str | int] = False
    plan: list[_Planned] = []
    seed: int | None = None
    versions: dict[str, str] = {}
    platform: str = ""
    ended: str | None = None
    client: list[_Load] = []
    pauses: Pauses = msgspec.field(default_factory=Pauses)
    machine_pauses: Pauses = msgspec.field(default_factory=Pauses)
    outages: _Outages = _Outages()
    rows: _Natural = 0
    skipped: _Natural = 0
    in_flight: list[_InFlight] = []
    overdue: list[_Overdue] = []
    unread: _Natural = 0
    journal_elsewhere: _Natural = 0
    journal: None = None
    """Only the reader says what is missing."""


class _Description(msgspec.Struct, frozen=True):
    """What a run says of itself; the last of a run counts."""

    attrs: dict[str, Any]
    rows: _Natural
    """How many rows the run had written by then."""


class _Beginning(_Description, frozen=True):
    run: str
    """The same in each file that the run has written to."""
    torn: bool = False
    """The line before was torn when its process died."""


@dataclass(slots=True)
class _Part:
    """What a run wrote in one go to one file, from a beginning on."""

    begun: int
    """How many rows the run had written to this journal before it."""
    written: int
    """How many it had written by the line that was read last."""
    labels: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _RunRead:
    """What is known of one of the runs in a journal."""

    run: str
    attrs: dict[str, Any] = field(default_factory=dict)
    """As it was written."""
    typed: _Attrs = field(default_factory=_Attrs)
    places: dict[str, str] = field(default_factory=dict)
    outages: Outages = field(default_factory=Outages)
    """As its rows tell: what it says of them itself is whole only where it has come to its end."""
    seen: set[int] = field(default_factory=set)
    """Each ``seq`` that was read."""
    last_seq: int = -1
    """Of the row before this one in the same file."""
    parts: list[_Part] = field(default_factory=list)
    missing: int = 0

    def begin(self, beginning: _Beginning) -> None:
        """Take in the beginning of the run, or of its part of another file."""
        self.parts.append(_Part(beginning.rows, beginning.rows))
        self.last_seq = -1
        self.describe(beginning)

    def describe(self, description: _Description) -> None:
        """Take in a description; a `ValueError` where it is of a part of the rows that were read before it."""
        part = self.parts[-1]
        if description.rows < part.written:
            raise ValueError
        self.missing += description.rows - part.written
        part.written = description.rows
        self.attrs, self.typed = description.attrs, msgspec.convert(description.attrs, _Attrs)
        self.places = places_of(self.attrs.get("plan", ()))

    def add(self, row: Any) -> None:
        """Take in a row; a `ValueError` where the run has written none that is like this, or none here."""
        is_late = row.seq < self.last_seq and all(plan.concurrency == 1 for plan in self.typed.plan)
        if is_late or row.seq in self.seen:
            raise ValueError
        self.seen.add(row.seq)
        self.last_seq = row.seq
        self.parts[-1].written += 1
        self.parts[-1].labels.add(row.label)
        self.outages.add(pinged(row, self.places.get(row.label, "")))

    def described(self) -> dict[str, Any]:
        """Return what is known of the run now that no line follows."""
        attrs = self.attrs
        if attrs.get("ended") == UNFINISHED:
            # It has not come to say it itself.
            self.outages.finish()
            attrs = {**attrs, "outages": self.outages.as_attrs()}
        elsewhere = self.elsewhere()
        if not self.missing and not elsewhere:
            return attrs
        journal = {"missing": self.missing, "missing_seq": self.missing_seq()[:_MOST_GAPS], "elsewhere": elsewhere}
        return {**attrs, "journal": journal}

    def elsewhere(self) -> int:
        """Count the rows that were written to other files.

        Each line of a cell may have a journal of its own, which counts its own rows only, and these may be joined in
        one file. A line has one journal: so parts that share a label are of the same one.
        """
        journals: list[list[_Part]] = []
        for part in self.parts:
            same = [parts for parts in journals if any(part.labels & other.labels for other in parts)]
            journals = [parts for parts in journals if parts not in same]
            journals.append([*(each for parts in same for each in parts), part])
        if sum(any(part.labels for part in parts) for parts in journals) < 2:
            return _before_or_between(self.parts)
        # Parts of one journal without a label in common would count each other's rows: what is there tells.
        gaps = max(self.seen) + 1 - len(self.seen) - self.missing
        counted = sum(_before_or_between(parts) for parts in journals if any(part.labels for part in parts))
        return max(0, min(counted, gaps))

    def missing_seq(self) -> list[list[int]]:
        """Return the first and the last ``seq`` of each gap, if the gaps are of the missing rows and of no others."""
        gaps = [[seq + 1, after - 1] for seq, after in pairwise(sorted(self.seen)) if after > seq + 1]
        return gaps if sum(last - first + 1 for first, last in gaps) == self.missing else []


def _before_or_between(parts: list[_Part]) -> int:
    """Count the rows that a journal had before its last row, and that are in none of these parts."""
    count = reached = 0
    for part in sorted(parts, key=lambda part: part.begun):
        count += max(0, part.begun - reached)
        reached = max(reached, part.written)
    return count


_descriptions: Final = msgspec.json.Decoder(_Description)
_beginnings: Final = msgspec.json.Decoder(_Beginning)
_DESCRIPTION: Final = b'{"attrs":'


class _Reader:
    """Reads a journal line by line into rows: of the lines themselves nothing is kept, as there may be millions."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.runs: dict[str, _RunRead] = {}
        self._run: _RunRead | None = None
        self._read: list[Any] = []
        """Rows that are added together."""
        self._torn_at = 0
        self._has_end = False

    def read(self, number: int, line: bytes) -> None:
        """Take in a line; an error where it is damaged, or the one before was, and not torn when its process died."""
        content = line.removesuffix(b"\n")
        self._has_end = len(content) < len(line)
        if not is_whole(content):
            if self._torn_at or was_ended(content):
                raise _DamagedError(self._torn_at or number)
            self._torn_at = number
            return
        try:
            if line.startswith(BEGINNING):
                self._begin(_beginnings.decode(line))
            elif self._torn_at:
                raise _DamagedError(self._torn_at)
            elif self._run is None:
                raise ValueError
            elif line.startswith(_DESCRIPTION):
                self._run.describe(_descriptions.decode(line))
            else:
                row = decode(line)
                self._run.add(row)
                self._read.append(cleaned(row))
                if len(self._read) >= _AT_ONCE:
                    self._flush()
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise _DamagedError(number) from None

    def end(self) -> None:
        """Take note that no line follows; an error where the last one was damaged, and not torn."""
        if self._torn_at and self._has_end:
            raise _DamagedError(self._torn_at)
        self._flush()

    def _flush(self) -> None:
        self.rows.extend(self._read)
        self._read.clear()

    def _begin(self, beginning: _Beginning) -> None:
        if self._torn_at and not beginning.torn:
            raise _DamagedError(self._torn_at)
        self._torn_at = 0
        if self._run is None or self._run.run != beginning.run:
            self._flush()
            self._run = self.runs.setdefault(beginning.run, _RunRead(beginning.run))
            self.rows.begin(beginning.run)
        self._run.begin(beginning)


class JournalRead(NamedTuple):
    """What a journal holds."""

    rows: Rows
    runs: dict[str, dict[str, Any]]
    """What is known of each run by its id."""


@uninterrupted
def read_journal(path: str | os.PathLike[str]) -> JournalRead:
    """Read a journal, also one whose process was killed, or goes on.

    Raises
    ------
    DonutworkError
        The file cannot be read, is no journal of this schema, or is damaged.
    CallCancelledError
        There was an interrupt.
    """
    problem = ""
    try:
        name = journal_path(path)
        if stat.S_ISFIFO(name.stat().st_mode):
            # To open it would wait for a writer, and no interrupt would end that.
            raise DonutworkError("The file is a pipe: load reads regular files only. Save it as a file first.")
        with name.open("rb") as file:
            head = file.read(len(BEGINNING))
            if head != BEGINNING:
                problem = _foreign(head, file.readline(_LONGEST_BEGINNING))
            else:
                file.seek(0)
                reader = _Reader()
                stop = interruption()
                for number, line in enumerate(_lines(file), start=1):
                    if stop.is_set():
                        raise CallCancelledError
                    reader.read(number, line)
                reader.end()
                return JournalRead(reader.rows, {run: read.described() for run, read in reader.runs.items()})
    except _DamagedError as error:
        problem = str(error)
    except (OSError, ValueError) as error:
        problem = f"The file cannot be read ({reason_of(error)}). Check its name."
    raise DonutworkError(problem)


class _DamagedError(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(
            f"Line {line} of the journal is damaged. Load an undamaged copy, or delete the line and load again."
        )


def _foreign(head: bytes, rest: bytes) -> str:
    line = (head + rest).removesuffix(b"\n")
    if was_ended(line) and not is_whole(line):
        return str(_DamagedError(1))
    if not head:
        return "The file is empty: no run has begun in it."
    return "The file is not a journal of this version: load reads what --journal has written."


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Give the lines that are whole now: a run may be writing the next."""
    left = os.fstat(file.fileno()).st_size
    for line in file:
        left -= len(line)
        # The last line of a journal that was torn has no end either, and is taken for what it is.
        if left < 0:
            return
        yield line
