"""From a journal back to the DataFrame."""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, BinaryIO, Final

import msgspec
import pandas as pd

from donutwork_magics.errors import DonutworkError, Kind
from donutwork_magics.frame.table import table_of
from donutwork_magics.interrupts import interruption, uninterrupted
from donutwork_magics.network.faults import CallCancelledError, os_reason
from donutwork_magics.plain import plain, without_markup
from donutwork_magics.sampling.describe import UNFINISHED
from donutwork_magics.sampling.journal import BEGINNING, is_whole, journal_path, was_ended
from donutwork_magics.sampling.outages import MOST_OUTAGES, Outage, Outages, Pinged
from donutwork_magics.sampling.pauses import MOST_PAUSES
from donutwork_magics.sampling.plan import LONGEST_LABEL
from donutwork_magics.sampling.rows import LONGEST_WORD, Rows

_MOST_GAPS: Final = 20
_LONGEST_BEGINNING: Final = 2**20

# Several runs are added up, and the sum is to fit into an int64 too.
_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Small = Annotated[int, msgspec.Meta(ge=0, le=2**15 - 1)]
_Time = Annotated[float, msgspec.Meta(ge=0)]
_Word = Annotated[str, msgspec.Meta(max_length=LONGEST_WORD)]
_SHOWN: Final = ("env", "http_version", "peer", "tls_version", "rrt")
"""The texts of a row that no user chose."""


class _Row(msgspec.Struct, frozen=True):
    """A row as the journal has it, and all that a run can write there; what is not available is not there."""

    seq: _Natural
    block: _Natural
    timestamp_ns: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    reused: bool
    retried: bool
    warmup: bool
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_LABEL)]
    started_ms: _Time
    duration_ms: _Time
    scheduled_ms: _Time | None = None
    dns_ms: _Time | None = None
    connect_ms: _Time | None = None
    tls_ms: _Time | None = None
    send_ms: _Time | None = None
    ttfb_ms: _Time | None = None
    receive_ms: _Time | None = None
    rrt_ms: _Time | None = None
    retry_after_s: _Time | None = None
    tcp_rtt_ms: _Time | None = None
    status_code: _Small | None = None
    tcp_retransmits: _Small | None = None
    body_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None
    error: Kind | None = None
    env: _Word | None = None
    http_version: _Word | None = None
    peer: _Word | None = None
    tls_version: _Word | None = None
    rrt: _Word | None = None

    def record(self) -> dict[str, Any]:
        """Return what is available by name, as `Rows` takes it, with its texts cleaned: others may have made them."""
        record = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        cleaned = {name: without_markup(plain(record[name])) for name in _SHOWN if name in record}
        return record | cleaned | {"label": plain(self.label)}


class _Pauses(msgspec.Struct, frozen=True):
    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0
    first: list[tuple[float, float]] = []


class _Outages(msgspec.Struct, frozen=True):
    count: int = 0
    total_s: float = 0.0
    first: list[Outage] = []


class _Attrs(msgspec.Struct, frozen=True):
    """What is joined of the descriptions of several runs."""

    plan: list[dict[str, Any]] = []
    client: list[dict[str, Any]] = []
    pauses: _Pauses = _Pauses()
    machine_pauses: _Pauses = _Pauses()
    outages: _Outages = _Outages()
    skipped: int = 0
    in_flight: int = 0


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


class _Seen:
    """Numbers that occur once each, as ranges: those of a journal have few gaps."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, number: int) -> bool:
        """Take a number in; False where it was there already."""
        after = bisect_right(self._starts, number)
        before = after - 1
        if after and number < self._stops[before]:
            return False
        if after and number == self._stops[before]:
            self._stops[before] += 1
            if after < len(self._starts) and self._starts[after] == number + 1:
                del self._starts[after], self._stops[before]
        elif after < len(self._starts) and self._starts[after] == number + 1:
            self._starts[after] = number
        else:
            self._starts.insert(after, number)
            self._stops.insert(after, number + 1)
        return True

    def gaps(self) -> list[tuple[int, int]]:
        """Return the first and the last number of each gap."""
        return [(stop, start - 1) for stop, start in zip(self._stops, self._starts[1:], strict=False)]


@dataclass(slots=True)
class _RunRead:
    """What is known of one of the runs in a journal."""

    run: str
    first_seq: int
    """What its first row has in the table, where other runs come before."""
    attrs: dict[str, Any] = field(default_factory=dict)
    """As it was written."""
    typed: _Attrs = field(default_factory=_Attrs)
    offset_ms: float | None = None
    """When it began, since the beginning of the first run; known with its first row."""
    outages: Outages = field(default_factory=Outages)
    """As its rows tell: what it says of them itself is whole only where it has come to its end."""
    seen: _Seen = field(default_factory=_Seen)
    last_seq: int = -1
    """Of the row before this one in the same file."""
    read: int = 0
    written: int = 0
    """How many rows it had written by the line that was read last."""
    written_at_most: int = 0
    missing: int = 0

    def begin(self, beginning: _Beginning) -> None:
        """Take in the beginning of the run, or of its part of another file."""
        self.written, self.last_seq = beginning.rows, -1
        self.describe(beginning)

    def describe(self, description: _Description) -> None:
        """Take in a description.

        Raises
        ------
        ValueError
            It is of a part of the rows that were read before it.
        """
        if description.rows < self.written:
            raise ValueError
        self.missing += description.rows - self.written
        self.written = description.rows
        self.written_at_most = max(self.written_at_most, self.written)
        self.attrs, self.typed = description.attrs, msgspec.convert(description.attrs, _Attrs)

    def add(self, seq: int) -> None:
        """Take in a row.

        Raises
        ------
        ValueError
            The run has written none that is like this, or none here.
        """
        is_late = seq < self.last_seq and all(plan.get("concurrency") == 1 for plan in self.typed.plan)
        if is_late or not self.seen.add(seq):
            raise ValueError
        self.last_seq = seq
        self.read += 1
        self.written += 1
        self.written_at_most = max(self.written_at_most, self.written)

    def end(self) -> None:
        """Add what a run without an end has not come to say of its outages."""
        if self.attrs.get("ended") == UNFINISHED:
            self.outages.finish()
            self.attrs = {**self.attrs, "outages": self.outages.as_attrs()}
            self.typed = msgspec.convert(self.attrs, _Attrs)

    @property
    def elsewhere(self) -> int:
        """How many rows it has written to other files."""
        return self.written_at_most - self.read - self.missing

    def missing_seq(self) -> list[list[int]]:
        """Return the first and the last ``seq`` of each gap, if the gaps are of the missing rows and of no others."""
        gaps = self.seen.gaps()
        if sum(last - first + 1 for first, last in gaps) != self.missing:
            return []
        return [[self.first_seq + first, self.first_seq + last] for first, last in gaps]


_rows: Final = msgspec.json.Decoder(_Row)
_descriptions: Final = msgspec.json.Decoder(_Description)
_beginnings: Final = msgspec.json.Decoder(_Beginning)
_DESCRIPTION: Final = b'{"attrs":'


class _Reader:
    """Reads a journal line by line into rows: of the lines themselves nothing is kept, as there may be millions."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.runs: list[_RunRead] = []
        self._torn_at = 0
        self._has_end = False
        self._first_origin_ms: float | None = None
        self._after_ms = 0.0
        self._next_seq = 0

    def read(self, number: int, line: bytes) -> None:
        """Take in a line.

        Raises
        ------
        _DamagedError
            It is damaged, or the one before was, and was not torn when its process died.
        """
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
            elif line.startswith(_DESCRIPTION):
                self.runs[-1].describe(_descriptions.decode(line))
            else:
                self._add(_rows.decode(line).record())
        except (msgspec.MsgspecError, ValueError, IndexError, RecursionError):
            raise _DamagedError(number) from None

    def end(self) -> None:
        """Take note that no line follows.

        Raises
        ------
        _DamagedError
            The last one was damaged, and not torn.
        """
        if self._torn_at and self._has_end:
            raise _DamagedError(self._torn_at)
        for run in self.runs:
            run.end()

    def _begin(self, beginning: _Beginning) -> None:
        if self._torn_at and not beginning.torn:
            raise _DamagedError(self._torn_at)
        self._torn_at = 0
        if not self.runs or self.runs[-1].run != beginning.run:
            self.runs.append(_RunRead(beginning.run, self._next_seq))
        self.runs[-1].begin(beginning)

    def _add(self, record: dict[str, Any]) -> None:
        run = self.runs[-1]
        run.add(record["seq"])
        run.outages.add(_pinged(record, run.typed.plan))
        if run.offset_ms is None:
            origin_ms = record["timestamp_ns"] / 1e6 - record["started_ms"]
            if self._first_origin_ms is None:
                self._first_origin_ms = origin_ms
            # The wall clock may have been set back in between.
            run.offset_ms = max(origin_ms - self._first_origin_ms, self._after_ms)
        if len(self.runs) > 1:
            record["seq"] += run.first_seq
            record["started_ms"] += run.offset_ms
            if "scheduled_ms" in record:
                record["scheduled_ms"] += run.offset_ms
        self.rows.append_record(record)
        self._next_seq = max(self._next_seq, record["seq"] + 1)
        self._after_ms = max(self._after_ms, record["started_ms"] + record["duration_ms"])


@uninterrupted
def load(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the DataFrame of a journal, also of one whose process was killed.

    A line that was torn when its process died is left out. Where the journal has several runs, their rows follow one
    another: ``seq`` goes on, and the times since the beginning are those since the beginning of the first run, by the
    wall clock between the runs. The parts of a run whose journal was moved or truncated load each by itself, and joined
    in one file as the one run that they are.

    Returns
    -------
    pandas.DataFrame
        Schema 1. Of one run, it equals what the run returned: values, dtypes and attrs. Of a run whose process was
        killed, ``attrs["donutwork"]["ended"]`` is ``unfinished``; of a file that was moved while its run went on,
        ``continued``. Where rows of a run are not in the file, ``attrs["donutwork"]["journal"]`` has the number that is
        ``missing``, their ``seq`` where it is known, and the number that was written ``elsewhere``, to another file.

    Raises
    ------
    DonutworkError
        The file cannot be read, is no journal of this schema, or is damaged.
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
                return table_of(reader.rows, _joined(reader.runs))
    except _DamagedError as error:
        problem = str(error)
    except (OSError, ValueError) as error:
        problem = f"The file cannot be read ({_reason(error)}). Check its name."
    raise DonutworkError(problem)


class _DamagedError(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(
            f"Line {line} of the journal is damaged. Load an undamaged copy, or delete the line and load again."
        )


def _pinged(record: dict[str, Any], plans: list[dict[str, Any]]) -> Pinged:
    places = {plan.get("label"): (plan.get("host"), plan.get("env")) for plan in plans}
    times = record["timestamp_ns"], record["started_ms"], record["duration_ms"]
    return Pinged(record["seq"], places.get(record["label"]), *times, record.get("error"))


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


def _joined(runs: list[_RunRead]) -> dict[str, Any]:
    if not runs:
        return {}
    attrs, journal = runs[-1].attrs, _not_here(runs)
    if len(runs) > 1:
        attrs = {
            **attrs,
            "plan": [plan for run in runs for plan in run.typed.plan],
            "client": [client for run in runs for client in _clients(run.typed)],
            "pauses": _joined_pauses([(run.offset_ms or 0.0, run.typed.pauses) for run in runs]),
            "machine_pauses": _joined_pauses([(run.offset_ms or 0.0, run.typed.machine_pauses) for run in runs]),
            "outages": _joined_outages(runs),
            "skipped": sum(run.typed.skipped for run in runs),
            "in_flight": sum(run.typed.in_flight for run in runs),
        }
    return {**attrs, "journal": journal} if journal else attrs


def _not_here(runs: list[_RunRead]) -> dict[str, Any]:
    """Tell which rows are not in the file; empty where all are."""
    missing, elsewhere = sum(run.missing for run in runs), sum(run.elsewhere for run in runs)
    if not missing and not elsewhere:
        return {}
    gaps = [gap for run in runs if run.missing for gap in run.missing_seq()]
    return {"missing": missing, "missing_seq": gaps[:_MOST_GAPS], "elsewhere": elsewhere}


def _joined_pauses(pauses: list[tuple[float, _Pauses]]) -> dict[str, Any]:
    first = [[offset_ms / 1e3 + at_s, pause_s] for offset_ms, of_run in pauses for at_s, pause_s in of_run.first]
    return {
        "count": sum(of_run.count for _, of_run in pauses),
        "total_s": sum(of_run.total_s for _, of_run in pauses),
        "longest_s": max(of_run.longest_s for _, of_run in pauses),
        "first": first[:MOST_PAUSES],
    }


def _joined_outages(runs: list[_RunRead]) -> dict[str, Any]:
    described = [(run.offset_ms or 0.0, run.attrs.get("outages", {})) for run in runs]
    first = [(offset_ms / 1e3, outage) for offset_ms, of_run in described for outage in of_run.get("first", [])]
    return {
        "count": sum(run.typed.outages.count for run in runs),
        "total_s": sum(run.typed.outages.total_s for run in runs),
        "first": [{**outage, "at_s": offset_s + outage["at_s"]} for offset_s, outage in first[:MOST_OUTAGES]],
    }


def _clients(attrs: _Attrs) -> list[dict[str, Any]]:
    # A run that was killed has not come to say what each of its series cost the client.
    unknown: dict[str, Any] = {}
    return [*attrs.client, *[unknown] * len(attrs.plan)][: len(attrs.plan)]


def _reason(error: Exception) -> str:
    return os_reason(error) if isinstance(error, OSError) else "not a valid name"
