"""The row format: one completed ping as a value, as a line of JSON, and in columnar buffers of many.

A line has the columns of `donutwork_magics.columns` that do not follow from others, in their order; what is missing is
left out. The same line goes to the journal and to the process that asked for the pings.
"""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec

from donutwork_magics.client.results import Sample
from donutwork_magics.columns import COLUMNS, Column
from donutwork_magics.errors import Kind
from donutwork_magics.sampling.plan import LONGEST_LABEL
from donutwork_magics.sampling.schedule import Slot
from donutwork_magics.units import plain, without_markup

NOT_AVAILABLE: Final = -1
"""What stands in an integer buffer where the table will say NA."""
LONGEST_WORD: Final = 100
"""No documented text comes near: a server that sends more cannot make a row grow without end."""
LARGEST: Final = 2**53
"""Of a count: a JSON reader that takes numbers for floats reads it too."""

_CHUNKS: Final = 10
_FEW_WORDS: Final = 1000
_NAN: Final = math.nan

_DERIVED: Final = {"network_ms", "lag_ms", "corrected_ms", "run", "vantage"}
"""Columns that follow from others of the row, or that all rows of a run have in common."""
_SELDOM_REPEATED: Final = {"rrt"}
_OF_A_SERVER: Final = {"env", "http_version", "peer", "tls_version", "rrt"}

_Natural = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
_STORED: Final = tuple(column for column in COLUMNS if column.name not in _DERIVED)
_TYPES: Final[dict[str, Any]] = {
    "int64": _Natural,
    "Int16": Annotated[int, msgspec.Meta(ge=0, le=2**15 - 1)] | None,
    "Int32": Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None,
    "float64": Annotated[float, msgspec.Meta(ge=0)],
    "string": Annotated[str, msgspec.Meta(max_length=LONGEST_WORD)] | None,
    "bool": bool,
}
_DEFAULTS: Final[dict[str, Any]] = {"float64": _NAN, "bool": False}


def _field(column: Column) -> tuple[str, Any] | tuple[str, Any, Any]:
    if column.name == "label":
        return column.name, Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_LABEL)]
    if column.name == "timestamp":
        return "timestamp_ns", Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    if column.name == "error":
        return column.name, Kind | None, None
    if column.dtype == "int64" or column.name in {"duration_ms", "started_ms"}:
        return column.name, _TYPES[column.dtype]
    return column.name, _TYPES[column.dtype], _DEFAULTS.get(column.dtype)


Row: Any = msgspec.defstruct(
    "Row", [_field(column) for column in _STORED], frozen=True, kw_only=True, omit_defaults=True, module=__name__
)
"""One completed ping: the stored columns by name, `timestamp_ns` since 1970; all that a run can write, and no more."""

decode: Final[Callable[[bytes], Any]] = msgspec.json.Decoder(Row).decode
"""Reads the line of a row; a `msgspec.MsgspecError` or a `ValueError` where it is none that a run writes."""


def _of(*dtypes: str) -> tuple[str, ...]:
    return tuple(column.name for column in _STORED if column.dtype in dtypes)


FLOATS: Final = _of("float64")
OPTIONAL: Final = _of("Int16", "Int32")
INTEGERS: Final = (*_of("int64"), "timestamp_ns", *OPTIONAL)
FLAGS: Final = _of("bool")
TEXTS: Final = tuple(name for name in _of("string") if name in _SELDOM_REPEATED)
WORDS: Final = tuple(name for name in _of("string") if name not in _SELDOM_REPEATED)


def row_of(sample: Sample, slot: Slot, *, origin_ns: int, label: str, block: int, warmup: bool) -> Any:
    """Make the row of a completed ping of a run that began at `origin_ns`, on the monotonic clock."""
    exchange, phases = sample.exchange, sample.exchange.phases
    return Row(
        label=label,
        seq=slot.seq,
        duration_ms=exchange.duration_ms,
        error=sample.error,
        rrt_ms=_known(sample.rrt_ms),
        timestamp_ns=exchange.timestamp_ns,
        dns_ms=_known(phases.dns_ms),
        connect_ms=_known(phases.connect_ms),
        tls_ms=_known(phases.tls_ms),
        send_ms=_known(phases.send_ms),
        ttfb_ms=_known(phases.ttfb_ms),
        receive_ms=_known(phases.receive_ms),
        scheduled_ms=_NAN if slot.scheduled_ns is None else (slot.scheduled_ns - origin_ns) / 1e6,
        started_ms=(exchange.started_ns - origin_ns) / 1e6,
        reused=exchange.reused,
        retried=exchange.retried,
        warmup=warmup,
        status_code=sample.status_code,
        retry_after_s=_NAN if sample.retry_after_s is None else sample.retry_after_s,
        env=_cut(sample.env),
        http_version=exchange.http_version,
        peer=exchange.peer,
        tls_version=exchange.tls_version,
        rrt=_cut(sample.rrt),
        tcp_rtt_ms=_known(exchange.tcp_rtt_ms),
        tcp_retransmits=exchange.tcp_retransmits,
        body_bytes=sample.body_bytes,
        block=block,
    )


def encode(row: Any) -> bytes:
    """Make the line of a row, without a line end."""
    return msgspec.json.encode(row)


def cleaned(row: Any) -> Any:
    """Clean the texts of a row that somebody else may have written."""
    texts = {name: getattr(row, name) for name in ("label", *_OF_A_SERVER)}
    changed = {
        name: clean
        for name, text in texts.items()
        if text is not None and (clean := plain(text) if name == "label" else without_markup(plain(text))) != text
    }
    return msgspec.structs.replace(row, **changed) if changed else row


def _known(value: float) -> float:
    # The very default, so that it is left out of the line; and no negative time, which no line may have.
    return max(value, 0.0) if value == value else _NAN  # noqa: PLR0124


def _cut(text: str | None) -> str | None:
    return text if text is None else text[:LONGEST_WORD]


class Words:
    """A column of words that repeat: each distinct one is kept once, and a row is its number."""

    def __init__(self) -> None:
        self.codes = array("i")
        self.distinct: list[str] = []
        """The words, in the order of their numbers."""
        self._numbers: dict[str | None, int] = {None: NOT_AVAILABLE}

    def extend(self, words: Sequence[str | None]) -> None:
        """Add rows."""
        numbers = self._numbers
        for word in dict.fromkeys(words):
            if word not in numbers:
                numbers[word] = len(self.distinct)
                self.distinct.append(word)  # type: ignore[arg-type] # None has a number already
        self.codes.extend(map(numbers.__getitem__, words))

    def copy(self, first: int = 0) -> Words:
        """Copy the rows from one on; where there are many words, those that no longer occur are forgotten."""
        copy = Words()
        codes, words = self.codes[first:], self.distinct
        if len(words) <= _FEW_WORDS:
            copy.codes, copy.distinct, copy._numbers = codes, list(words), dict(self._numbers)
        else:
            copy.extend([None if code == NOT_AVAILABLE else words[code] for code in codes])
        return copy


@dataclass(frozen=True, slots=True)
class Tail:
    """Copies of the latest rows, of as much as is watched while they come in."""

    first: int
    """How many rows came before these."""
    started_ms: array[float]
    """Since the first run began."""
    duration_ms: array[float]
    error_codes: array[int]
    """`NOT_AVAILABLE` for a success."""
    warmup: array[int]
    label_codes: array[int]
    """The same for rows of the same label."""
    label: str
    """Of the last row."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where the rows of a run begin."""

    run: str
    first: int
    """How many rows came before it."""
    offset_ms: float
    """When it began, since the first run did."""


class Rows:
    """The completed rows of runs that follow one another.

    One thread at a time writes it, and others may read it meanwhile through `tail` and `copy`; the columns that follow
    from others are made with the table.

    Parameters
    ----------
    keep
        How many rows are kept; the oldest make room. None for all.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.keep = keep
        self._lock = threading.Lock()
        self.dropped = 0
        """Rows that were there, and made room."""
        self.errors = 0
        """Failed pings among all that were added, warm-up apart."""
        self.parts: list[Part] = []
        self.floats: dict[str, array[float]] = {name: array("d") for name in FLOATS}
        self.integers: dict[str, array[int]] = {name: array("q") for name in INTEGERS}
        self.flags: dict[str, array[int]] = {name: array("b") for name in FLAGS}
        self.words: dict[str, Words] = {name: Words() for name in WORDS}
        self.texts: dict[str, list[str | None]] = {name: [] for name in TEXTS}

    def __len__(self) -> int:
        return len(self.integers["seq"])

    @property
    def total(self) -> int:
        """How many rows were added, also those that made room since."""
        return self.dropped + len(self)

    def begin(self, run: str, offset_ms: float = 0.0) -> None:
        """Take note that the rows from now on are of another run, which began so long after the first one."""
        with self._lock:
            self.parts.append(Part(run, self.total, offset_ms))

    def extend(self, rows: Sequence[Any]) -> None:
        """Add some rows of the run that was begun last."""
        if not rows:
            return
        with self._lock:
            for columns in (self.floats, self.flags):
                for name, column in columns.items():
                    column.extend(map(attrgetter(name), rows))
            for name, integers in self.integers.items():
                values = map(attrgetter(name), rows)
                integers.extend([NOT_AVAILABLE if value is None else value for value in values])
            for name, words in self.words.items():
                words.extend([getattr(row, name) for row in rows])
            for name, texts in self.texts.items():
                texts.extend(map(attrgetter(name), rows))
            self.errors += sum(row.error is not None and not row.warmup for row in rows)
            # In chunks: to move what is kept for each single row would cost more than the row.
            if self.keep is not None and len(self) > self.keep + max(1, self.keep // _CHUNKS):
                self._drop(len(self) - self.keep)

    def tail(self, rows: int) -> Tail:
        """Copy the latest rows, of the same length in each column."""
        with self._lock:
            first = max(0, len(self) - rows)
            words = self.words["label"]
            return Tail(
                self.dropped + first,
                self._since_the_first_run_ms(first),
                self.floats["duration_ms"][first:],
                self.words["error"].codes[first:],
                self.flags["warmup"][first:],
                words.codes[first:],
                words.distinct[words.codes[-1]] if len(self) else "",
            )

    def copy(self) -> Rows:
        """Copy the rows, no more than are to be kept."""
        with self._lock:
            copy = Rows(self.keep)
            first = 0 if self.keep is None else max(0, len(self) - self.keep)
            copy.dropped, copy.errors, copy.parts = self.dropped + first, self.errors, list(self.parts)
            copy.floats = {name: column[first:] for name, column in self.floats.items()}
            copy.integers = {name: column[first:] for name, column in self.integers.items()}
            copy.flags = {name: column[first:] for name, column in self.flags.items()}
            copy.words = {name: words.copy(first) for name, words in self.words.items()}
            copy.texts = {name: texts[first:] for name, texts in self.texts.items()}
            return copy

    def spans(self) -> Iterator[tuple[str, int]]:
        """Give each run with the number of its rows that are kept."""
        for part, end in self._ends():
            rows = end - max(part.first, self.dropped)
            if rows > 0:
                yield part.run, rows

    def _ends(self) -> Iterator[tuple[Part, int]]:
        return zip(self.parts, [*(part.first for part in self.parts[1:]), self.total], strict=True)

    def _since_the_first_run_ms(self, first: int) -> array[float]:
        started_ms = self.floats["started_ms"][first:]
        if len(self.parts) < 2:
            return started_ms
        since_ms = array("d")
        for part, end in self._ends():
            begin = max(0, part.first - self.dropped - first)
            own = started_ms[begin : max(begin, end - self.dropped - first)]
            since_ms.extend(value + part.offset_ms for value in own)
        return since_ms

    def _drop(self, rows: int) -> None:
        for columns in (self.floats, self.integers, self.flags):
            for column in columns.values():
                del column[:rows]
        self.words = {name: words.copy(rows) for name, words in self.words.items()}
        for texts in self.texts.values():
            del texts[:rows]
        self.dropped += rows
