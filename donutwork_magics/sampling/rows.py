"""The rows of a series as they come in: columnar buffers, about two hundred bytes a row."""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

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
INTEGERS: Final = ("seq", "block", "timestamp_ns", "status_code", "tcp_retransmits", "body_bytes")
FLAGS: Final = ("reused", "retried", "warmup")
WORDS: Final = ("label", "rrt", "error", "env", "http_version", "peer", "tls_version")


class Words:
    """A column of words that repeat: each distinct one is kept once, and a row is its number."""

    def __init__(self) -> None:
        self.codes = array("i")
        self._numbers: dict[str, int] = {}

    def append(self, word: str | None) -> None:
        """Add a row."""
        self.codes.append(NOT_AVAILABLE if word is None else self._numbers.setdefault(word, len(self._numbers)))

    @property
    def distinct(self) -> list[str]:
        """The words, in the order of their numbers."""
        return list(self._numbers)

    def copy(self, first: int = 0) -> Words:
        """Copy the rows from one on; where there are many words, those that no longer occur are forgotten."""
        copy = Words()
        codes, words = self.codes[first:], self.distinct
        if len(words) <= _FEW_WORDS:
            copy.codes, copy._numbers = codes, dict(self._numbers)
            return copy
        numbers = {code: copy._numbers.setdefault(words[code], len(copy._numbers)) for code in set(codes) if code >= 0}
        numbers[NOT_AVAILABLE] = NOT_AVAILABLE
        copy.codes = array("i", map(numbers.__getitem__, codes))
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
    dropped : int
        Rows that were there, and made room.
    errors : int
        Failed pings among all that were added, warm-up apart.
    """

    def __init__(self, keep: int | None = None) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self.dropped = 0
        self.errors = 0
        self.floats: dict[str, array[float]] = {name: array("d") for name in FLOATS}
        self.integers: dict[str, array[int]] = {name: array("q") for name in INTEGERS}
        self.flags: dict[str, array[int]] = {name: array("b") for name in FLAGS}
        self.words: dict[str, Words] = {name: Words() for name in WORDS}

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
            copy = Rows(self._keep)
            first = 0 if self._keep is None else max(0, len(self) - self._keep)
            copy.dropped, copy.errors = self.dropped + first, self.errors
            copy.floats = {name: column[first:] for name, column in self.floats.items()}
            copy.integers = {name: column[first:] for name, column in self.integers.items()}
            copy.flags = {name: column[first:] for name, column in self.flags.items()}
            copy.words = {name: words.copy(first) for name, words in self.words.items()}
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
            if self._keep is not None and len(self) > self._keep + max(1, self._keep // _CHUNKS):
                self._drop(len(self) - self._keep)

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
        words = (
            label,
            sample.rrt,
            sample.error,
            sample.env,
            exchange.http_version,
            exchange.peer,
            exchange.tls_version,
        )
        for column, word in zip(self.words.values(), words, strict=True):
            column.append(word)

    def _drop(self, rows: int) -> None:
        for columns in (self.floats, self.integers, self.flags):
            for column in columns.values():
                del column[:rows]
        self.words = {name: words.copy(rows) for name, words in self.words.items()}
        self.dropped += rows


def _extend(columns: Mapping[str, array[Number]], values: Iterable[Number]) -> None:
    for column, value in zip(columns.values(), values, strict=True):
        column.append(value)
