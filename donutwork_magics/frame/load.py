"""From a journal back to the DataFrame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO, Final

import msgspec
import pandas as pd

from donutwork_magics.errors import DonutworkError
from donutwork_magics.frame.table import table_of
from donutwork_magics.network.faults import os_reason
from donutwork_magics.sampling.journal import BEGINNING, journal_path
from donutwork_magics.sampling.rows import Rows

_MOST_PAUSES: Final = 20

_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Row(msgspec.Struct, frozen=True):
    """A row as the journal has it; what is not available is not there."""

    seq: _Natural
    block: _Natural
    timestamp_ns: _Natural
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


class _Description(msgspec.Struct, frozen=True):
    """What a run says of itself; the last of a run counts."""

    attrs: dict[str, Any]


_rows: Final = msgspec.json.Decoder(_Row)
_descriptions: Final = msgspec.json.Decoder(_Description)
_DESCRIPTION: Final = b'{"attrs":'


class _Reader:
    """Reads a journal line by line into rows: of the lines themselves nothing is kept, as there may be millions."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.attrs: list[dict[str, Any]] = []
        """What each run says of itself."""
        self._torn_at = 0
        self._first_origin_ms: float | None = None
        self._offset_ms = self._after_ms = 0.0
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
                attrs = _descriptions.decode(line).attrs
                self.attrs.append(attrs)
                self._first_seq, self._is_first_row = self._next_seq, True
            elif line.startswith(_DESCRIPTION):
                self.attrs[-1] = _descriptions.decode(line).attrs
            else:
                self._add(_rows.decode(line).record())
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self._torn_at = number

    def _add(self, record: dict[str, Any]) -> None:
        if self._is_first_row:
            self._is_first_row = False
            origin_ms = record["timestamp_ns"] / 1e6 - record["started_ms"]
            if self._first_origin_ms is None:
                self._first_origin_ms = origin_ms
            else:
                # The wall clock may have been set back in between.
                self._offset_ms = max(origin_ms - self._first_origin_ms, self._after_ms)
        if len(self.attrs) > 1:
            record["seq"] += self._first_seq
            record["started_ms"] += self._offset_ms
            if "scheduled_ms" in record:
                record["scheduled_ms"] += self._offset_ms
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
                return table_of(reader.rows, _joined(reader.attrs))
    except _DamagedError as error:
        problem = str(error)
    except (OSError, ValueError) as error:
        problem = f"The file cannot be read ({_reason(error)}). Check its name."
    raise DonutworkError(problem)


class _DamagedError(Exception):
    pass


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


def _joined(attrs: list[dict[str, Any]]) -> dict[str, Any]:
    last = attrs[-1] if attrs else {}
    if len(attrs) < 2:
        return last
    # A run that was killed has not come to say what each of its series cost the client.
    clients = [[*(each.get("client") or []), *[{}] * len(each.get("plan") or [])] for each in attrs]
    pauses = [each.get("pauses") or {} for each in attrs]
    return {
        **last,
        "plan": [plan for each in attrs for plan in each.get("plan") or []],
        "client": [
            client
            for each, known in zip(attrs, clients, strict=True)
            for client in known[: len(each.get("plan") or [])]
        ],
        "pauses": {
            "count": sum(each.get("count", 0) for each in pauses),
            "total_s": sum(each.get("total_s", 0.0) for each in pauses),
            "first": [pause for each in pauses for pause in each.get("first", [])][:_MOST_PAUSES],
        },
        "in_flight": sum(each.get("in_flight") or 0 for each in attrs),
    }


def _reason(error: Exception) -> str:
    return os_reason(error) if isinstance(error, OSError) else "not a valid name"
