"""From a journal back to the DataFrame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, BinaryIO, Final

import msgspec
import pandas as pd

from donutwork_magics.errors import DonutworkError
from donutwork_magics.frame.table import table_of
from donutwork_magics.network.faults import os_reason
from donutwork_magics.sampling.journal import BEGINNING, journal_path
from donutwork_magics.sampling.pauses import MOST_PAUSES
from donutwork_magics.sampling.rows import Rows

# Several runs are added up, and the sum is to fit into an int64 too.
_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Row(msgspec.Struct, frozen=True):
    """A row as the journal has it; what is not available is not there."""

    seq: _Natural
    block: _Natural
    timestamp_ns: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    reused: bool
    retried: bool
    warmup: bool
    label: str
    started_ms: float
    duration_ms: float
    scheduled_ms: float | None = None
    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    send_ms: float | None = None
    ttfb_ms: float | None = None
    receive_ms: float | None = None
    rrt_ms: float | None = None
    retry_after_s: float | None = None
    tcp_rtt_ms: float | None = None
    status_code: Annotated[int, msgspec.Meta(ge=0, le=2**15 - 1)] | None = None
    tcp_retransmits: Annotated[int, msgspec.Meta(ge=0, le=2**15 - 1)] | None = None
    body_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None
    error: str | None = None
    env: str | None = None
    http_version: str | None = None
    peer: str | None = None
    tls_version: str | None = None
    rrt: str | None = None

    def record(self) -> dict[str, Any]:
        """Return what is available by name, as `Rows` takes it."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


class _Pauses(msgspec.Struct, frozen=True):
    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0
    first: list[tuple[float, float]] = []


class _Attrs(msgspec.Struct, frozen=True):
    """What is joined of the descriptions of several runs."""

    plan: list[dict[str, Any]] = []
    client: list[dict[str, Any]] = []
    pauses: _Pauses = _Pauses()
    machine_pauses: _Pauses = _Pauses()
    skipped: int = 0
    in_flight: int = 0


class _Description(msgspec.Struct, frozen=True):
    """What a run says of itself; the last of a run counts."""

    attrs: dict[str, Any]


@dataclass(slots=True)
class _RunRead:
    """What is known of one of the runs in a journal."""

    attrs: dict[str, Any]
    """As it was written."""
    typed: _Attrs
    offset_ms: float = 0.0
    """When it began, since the beginning of the first run."""


_rows: Final = msgspec.json.Decoder(_Row)
_descriptions: Final = msgspec.json.Decoder(_Description)
_DESCRIPTION: Final = b'{"attrs":'


class _Reader:
    """Reads a journal line by line into rows: of the lines themselves nothing is kept, as there may be millions."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.runs: list[_RunRead] = []
        self._torn_at = 0
        self._first_origin_ms: float | None = None
        self._after_ms = 0.0
        self._first_seq = self._next_seq = 0
        self._is_first_row = True

    def read(self, number: int, line: bytes) -> None:
        """Take in a line.

        Raises
        ------
        _DamagedError
            The one before was damaged, and was not the last of its run.
        """
        begins = line.startswith(BEGINNING)
        if self._torn_at and not begins:
            raise _DamagedError(
                f"Line {self._torn_at} of the journal is damaged. Take it out with an editor, and load again."
            )
        self._torn_at = 0
        try:
            if begins:
                self.runs.append(_described(line))
                self._first_seq, self._is_first_row = self._next_seq, True
            elif line.startswith(_DESCRIPTION):
                self.runs[-1] = replace(_described(line), offset_ms=self.runs[-1].offset_ms)
            else:
                self._add(_rows.decode(line).record())
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self._torn_at = number

    def _add(self, record: dict[str, Any]) -> None:
        run = self.runs[-1]
        if self._is_first_row:
            self._is_first_row = False
            origin_ms = record["timestamp_ns"] / 1e6 - record["started_ms"]
            if self._first_origin_ms is None:
                self._first_origin_ms = origin_ms
            else:
                # The wall clock may have been set back in between.
                run.offset_ms = max(origin_ms - self._first_origin_ms, self._after_ms)
        if len(self.runs) > 1:
            record["seq"] += self._first_seq
            record["started_ms"] += run.offset_ms
            if "scheduled_ms" in record:
                record["scheduled_ms"] += run.offset_ms
        self.rows.append_record(record)
        self._next_seq = max(self._next_seq, record["seq"] + 1)
        self._after_ms = max(self._after_ms, record["started_ms"] + record["duration_ms"])


def load(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the DataFrame of a journal, also of one whose process was killed.

    A line that was torn when its process died is left out. Where the journal has several runs, their rows follow one
    another: ``seq`` goes on, and the times since the beginning are those since the beginning of the first run, by the
    wall clock between the runs.

    Returns
    -------
    pandas.DataFrame
        Schema 1. Of one run, it equals what the run returned: values, dtypes and attrs. Of a run whose process was
        killed, ``attrs["donutwork"]["ended"]`` is ``unfinished``.

    Raises
    ------
    DonutworkError
        The file cannot be read, is no journal of this schema, or is damaged.
    """
    problem = ""
    try:
        with journal_path(path).open("rb") as file:
            head = file.read(len(BEGINNING))
            if head != BEGINNING:
                problem = _foreign(head)
            else:
                file.seek(0)
                reader = _Reader()
                for number, line in enumerate(_lines(file), start=1):
                    reader.read(number, line)
                return table_of(reader.rows, _joined(reader.runs))
    except _DamagedError as error:
        problem = str(error)
    except (OSError, ValueError) as error:
        problem = f"The file cannot be read ({_reason(error)}). Check its name."
    raise DonutworkError(problem)


class _DamagedError(Exception):
    pass


def _described(line: bytes) -> _RunRead:
    attrs = _descriptions.decode(line).attrs
    return _RunRead(attrs, msgspec.convert(attrs, _Attrs))


def _foreign(head: bytes) -> str:
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
    if len(runs) < 2:
        return runs[0].attrs if runs else {}
    return {
        **runs[-1].attrs,
        "plan": [plan for run in runs for plan in run.typed.plan],
        "client": [client for run in runs for client in _clients(run.typed)],
        "pauses": _joined_pauses([(run.offset_ms, run.typed.pauses) for run in runs]),
        "machine_pauses": _joined_pauses([(run.offset_ms, run.typed.machine_pauses) for run in runs]),
        "skipped": sum(run.typed.skipped for run in runs),
        "in_flight": sum(run.typed.in_flight for run in runs),
    }


def _joined_pauses(pauses: list[tuple[float, _Pauses]]) -> dict[str, Any]:
    first = [[offset_ms / 1e3 + at_s, pause_s] for offset_ms, of_run in pauses for at_s, pause_s in of_run.first]
    return {
        "count": sum(of_run.count for _, of_run in pauses),
        "total_s": sum(of_run.total_s for _, of_run in pauses),
        "longest_s": max(of_run.longest_s for _, of_run in pauses),
        "first": first[:MOST_PAUSES],
    }


def _clients(attrs: _Attrs) -> list[dict[str, Any]]:
    # A run that was killed has not come to say what each of its series cost the client.
    unknown: dict[str, Any] = {}
    return [*attrs.client, *[unknown] * len(attrs.plan)][: len(attrs.plan)]


def _reason(error: Exception) -> str:
    return os_reason(error) if isinstance(error, OSError) else "not a valid name"
