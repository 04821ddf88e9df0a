"""From a journal back to the DataFrame."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

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


@dataclass(slots=True)
class _Run:
    """One run of a journal."""

    attrs: dict[str, Any]
    records: list[_Row] = field(default_factory=list)


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
                return _table(list(_runs(file)))
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


def _runs(lines: Iterable[bytes]) -> Iterator[_Run]:
    run: _Run | None = None
    torn_at = 0
    for number, line in enumerate(lines, start=1):
        begins = line.startswith(BEGINNING)
        if torn_at and not begins:
            # A torn line is the last of its run; this one is not.
            raise _DamagedError(
                f"Line {torn_at} of the journal is damaged. Take it out with an editor, and load again."
            )
        torn_at = 0
        try:
            if begins:
                attrs = _descriptions.decode(line).attrs
                if run is not None:
                    yield run
                run = _Run(attrs)
            elif run is not None and line.startswith(_DESCRIPTION):
                run.attrs = _descriptions.decode(line).attrs
            elif run is not None:
                run.records.append(_rows.decode(line))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            torn_at = number
    if run is not None:
        yield run


def _table(runs: list[_Run]) -> pd.DataFrame:
    rows = Rows()
    first_origin_ms = after_ms = 0.0
    seq = 0
    for position, run in enumerate(runs):
        offset_ms = 0.0
        if run.records:
            opening = run.records[0]
            origin_ms = opening.timestamp_ns / 1e6 - opening.started_ms
            first_origin_ms = first_origin_ms or origin_ms
            # The wall clock may have been set back in between.
            offset_ms = max(origin_ms - first_origin_ms, after_ms) if position else 0.0
        next_seq = seq
        for row in run.records:
            record = row.record()
            if position:
                record["seq"] += seq
                record["started_ms"] += offset_ms
                if "scheduled_ms" in record:
                    record["scheduled_ms"] += offset_ms
            rows.append_record(record)
            next_seq = max(next_seq, record["seq"] + 1)
            after_ms = max(after_ms, record["started_ms"] + record["duration_ms"])
        seq = next_seq
    return table_of(rows, _joined([run.attrs for run in runs]))


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
