"""The rows of a series as they come in: columnar buffers, about two hundred bytes a row."""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from donutwork_magics.client.sample import Sample
from donutwork_magics.sampling.schedule import Slot

Number = TypeVar("Number", int, float)

NOT_AVAILABLE: Final = -1
"""What stands in an integer buffer where the table will say NA."""
_CHUNKS: Final = 10
_FEW_WORDS: Final = 1000

FLOATS: Final = (
    "scheduled_ms",
    "started_ms",
    "dns_ms",
    "connect_ms",
    "tls_ms",
    "send_ms",
    "ttfb_ms",
    "receive_ms",
    "duration_ms",
    "rrt_ms",
    "retry_after_s",
    "tcp_rtt_ms",
)
OPTIONAL: Final = ("status_code", "tcp_retransmits", "body_bytes")
INTEGERS: Final = ("seq", "block", "timestamp_ns", *OPTIONAL)
FLAGS: Final = ("reused", "retried", "warmup")
WORDS: Final = ("label", "error", "env", "http_version", "peer", "tls_version")
TEXTS: Final = ("rrt",)

LONGEST_WORD: Final = 100
"""No documented text comes near: a server that sends more cannot make a row grow without end."""


class Words:
    """A column of words that repeat: each distinct one is kept once, and a row is its number."""

    def __init__(self) -> None:
        self.codes = array("i")
        self.distinct: list[str] = []
        """The words, in the order of their numbers."""
        self._numbers: dict[str, int] = {}

    def append(self, word: str | None) -> None:
        """Add a row."""
        if word is None:
            self.codes.append(NOT_AVAILABLE)
            return
        word = word[:LONGEST_WORD]
        number = self._numbers.setdefault(word, len(self.distinct))
        if number == len(self.distinct):
            self.distinct.append(word)
        self.codes.append(number)

    def __getitem__(self, row: int) -> str | None:
        code = self.codes[row]
        return None if code == NOT_AVAILABLE else self.distinct[code]

    def copy(self, first: int = 0) -> Words:
        """Copy the rows from one on; where there are many words, those that no longer occur are forgotten."""
        copy = Words()
        codes, words = self.codes[first:], self.distinct
        if len(words) <= _FEW_WORDS:
            copy.codes, copy.distinct, copy._numbers = codes, list(words), dict(self._numbers)
            return copy
        for code in codes:
            copy.append(None if code == NOT_AVAILABLE else words[code])
        return copy


class Texts:
    """A column of texts that seldom repeat: their bytes one after the other, and where each ends."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        # Below 0 where there is no text, as there an end needs a sign of its own: 0 is a place too.
        self._ends = array("q")

    def append(self, text: str | None) -> None:
        """Add a row."""
        if text is not None:
            self._bytes += text[:LONGEST_WORD].encode()
        end = len(self._bytes)
        self._ends.append(~end if text is None else end)

    def __iter__(self) -> Iterator[str | None]:
        start = 0
        for end in self._ends:
            yield None if end < 0 else self._bytes[start:end].decode()
            start = ~end if end < 0 else end

    def __getitem__(self, row: int) -> str | None:
        end = self._ends[row]
        before = self._ends[row - 1] if row not in {0, -len(self._ends)} else 0
        return None if end < 0 else self._bytes[max(before, ~before) : end].decode()

    def copy(self, first: int = 0) -> Texts:
        """Copy the rows from one on, with their texts only."""
        copy = Texts()
        before = self._ends[first - 1] if first else 0
        start = max(before, ~before)
        copy._bytes = self._bytes[start:]
        copy._ends = array("q", (end + start if end < 0 else end - start for end in self._ends[first:]))
        return copy


@dataclass(frozen=True, slots=True)
class Tail:
    """Copies of the latest rows, of as much as is watched while they come in."""

    first: int
    """How many rows came before these."""
    started_ms: array[float]
    duration_ms: array[float]
    error_codes: array[int]
    """`NOT_AVAILABLE` for a success."""
    warmup: array[int]


class Rows:
    """The completed rows of one series, or of several one after the other.

    It is written by one thread at a time, and may be read by others meanwhile through `tail` and `copy`; the columns
    that follow from others are made with the table.

    Parameters
    ----------
    keep
        How many rows are kept; the oldest make room. None for all.

    Attributes
    ----------
    keep : int or None
        As given.
    dropped : int
        Rows that were there, and made room.
    errors : int
        Failed pings among all that were added, warm-up apart.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.keep = keep
        self._lock = threading.Lock()
        self.dropped = 0
        self.errors = 0
        self.floats: dict[str, array[float]] = {name: array("d") for name in FLOATS}
        self.integers: dict[str, array[int]] = {name: array("q") for name in INTEGERS}
        self.flags: dict[str, array[int]] = {name: array("b") for name in FLAGS}
        self.words: dict[str, Words] = {name: Words() for name in WORDS}
        self.texts: dict[str, Texts] = {name: Texts() for name in TEXTS}

    def __len__(self) -> int:
        return len(self.integers["seq"])

    @property
    def total(self) -> int:
        """How many rows were added, also those that made room since."""
        return self.dropped + len(self)

    def tail(self, rows: int) -> Tail:
        """Copy the latest rows, of the same length in each column."""
        with self._lock:
            first = max(0, len(self) - rows)
            return Tail(
                self.dropped + first,
                self.floats["started_ms"][first:],
                self.floats["duration_ms"][first:],
                self.words["error"].codes[first:],
                self.flags["warmup"][first:],
            )

    def copy(self) -> Rows:
        """Copy the rows, no more than are to be kept."""
        with self._lock:
            copy = Rows(self.keep)
            first = 0 if self.keep is None else max(0, len(self) - self.keep)
            copy.dropped, copy.errors = self.dropped + first, self.errors
            copy.floats = {name: column[first:] for name, column in self.floats.items()}
            copy.integers = {name: column[first:] for name, column in self.integers.items()}
            copy.flags = {name: column[first:] for name, column in self.flags.items()}
            copy.words = {name: words.copy(first) for name, words in self.words.items()}
            copy.texts = {name: texts.copy(first) for name, texts in self.texts.items()}
            return copy

    def append(
        self, sample: Sample, slot: Slot, *, origin_ns: int, label: str, block: int = 0, warmup: bool = False
    ) -> None:
        """Add one completed ping.

        Parameters
        ----------
        origin_ns
            When the run began, on the monotonic clock.
        """
        with self._lock:
            self._append(sample, slot, origin_ns=origin_ns, label=label, block=block, warmup=warmup)
            self.errors += sample.error is not None and not warmup
            # In chunks: to move what is kept for each single row would cost more than the row.
            if self.keep is not None and len(self) > self.keep + max(1, self.keep // _CHUNKS):
                self._drop(len(self) - self.keep)

    def _append(self, sample: Sample, slot: Slot, *, origin_ns: int, label: str, block: int, warmup: bool) -> None:
        exchange, phases = sample.exchange, sample.exchange.phases
        scheduled_ms = math.nan if slot.scheduled_ns is None else (slot.scheduled_ns - origin_ns) / 1e6
        _extend(
            self.floats,
            (
                scheduled_ms,
                (exchange.started_ns - origin_ns) / 1e6,
                *phases,
                exchange.duration_ms,
                sample.rrt_ms,
                math.nan if sample.retry_after_s is None else sample.retry_after_s,
                exchange.tcp_rtt_ms,
            ),
        )
        optional = (sample.status_code, exchange.tcp_retransmits, sample.body_bytes)
        numbers = (NOT_AVAILABLE if value is None else value for value in optional)
        _extend(self.integers, (slot.seq, block, exchange.timestamp_ns, *numbers))
        _extend(self.flags, (exchange.reused, exchange.retried, warmup))
        words = (label, sample.error, sample.env, exchange.http_version, exchange.peer, exchange.tls_version)
        for column, word in zip(self.words.values(), words, strict=True):
            column.append(word)
        self.texts["rrt"].append(sample.rrt)

    def record(self, row: int) -> dict[str, Any]:
        """Return a row as plain values by the names of its columns, without those that are not available."""
        numbers = {name: column[row] for name, column in self.integers.items()}
        floats = {name: column[row] for name, column in self.floats.items()}
        words = {name: column[row] for name, column in self.words.items()}
        texts = {name: column[row] for name, column in self.texts.items()}
        return {
            **{name: value for name, value in numbers.items() if value != NOT_AVAILABLE or name not in OPTIONAL},
            **{name: value for name, value in floats.items() if not math.isnan(value)},
            **{name: bool(column[row]) for name, column in self.flags.items()},
            **{name: text for name, text in (words | texts).items() if text is not None},
        }

    def append_record(self, record: Mapping[str, Any]) -> None:
        """Add the row that `record` returned."""
        for name, number in self.integers.items():
            number.append(record.get(name, NOT_AVAILABLE))
        for name, value in self.floats.items():
            value.append(record.get(name, math.nan))
        for name, flag in self.flags.items():
            flag.append(record[name])
        for name, word in self.words.items():
            word.append(record.get(name))
        for name, text in self.texts.items():
            text.append(record.get(name))
        self.errors += "error" in record and not record["warmup"]

    def _drop(self, rows: int) -> None:
        for columns in (self.floats, self.integers, self.flags):
            for column in columns.values():
                del column[:rows]
        self.words = {name: words.copy(rows) for name, words in self.words.items()}
        self.texts = {name: texts.copy(rows) for name, texts in self.texts.items()}
        self.dropped += rows


def _extend(columns: Mapping[str, array[Number]], values: Iterable[Number]) -> None:
    for column, value in zip(columns.values(), values, strict=True):
        column.append(value)
