"""The rows of a series as they come in: columnar buffers, about two hundred bytes a row."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from donutwork_magics.client.sample import Sample
from donutwork_magics.sampling.schedule import Slot

Number = TypeVar("Number", int, float)

NOT_AVAILABLE: Final = -1
"""What stands in an integer buffer where the table will say NA."""

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

_LONGEST: Final = 100
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
        word = word[:_LONGEST]
        number = self._numbers.setdefault(word, len(self.distinct))
        if number == len(self.distinct):
            self.distinct.append(word)
        self.codes.append(number)

    def __getitem__(self, row: int) -> str | None:
        code = self.codes[row]
        return None if code == NOT_AVAILABLE else self.distinct[code]


class Texts:
    """A column of texts that seldom repeat: their bytes one after the other, and where each ends."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        # Below 0 where there is no text, as there an end needs a sign of its own: 0 is a place too.
        self._ends = array("q")

    def append(self, text: str | None) -> None:
        """Add a row."""
        if text is not None:
            self._bytes += text[:_LONGEST].encode()
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


class Rows:
    """The completed rows of one series, or of several one after the other.

    It is written by one thread at a time; the columns that follow from others are made with the table.
    """

    def __init__(self) -> None:
        self.floats: dict[str, array[float]] = {name: array("d") for name in FLOATS}
        self.integers: dict[str, array[int]] = {name: array("q") for name in INTEGERS}
        self.flags: dict[str, array[int]] = {name: array("b") for name in FLAGS}
        self.words: dict[str, Words] = {name: Words() for name in WORDS}
        self.texts: dict[str, Texts] = {name: Texts() for name in TEXTS}

    def __len__(self) -> int:
        return len(self.integers["seq"])

    def append(
        self, sample: Sample, slot: Slot, *, origin_ns: int, label: str, block: int = 0, warmup: bool = False
    ) -> None:
        """Add one completed ping.

        Parameters
        ----------
        origin_ns
            When the run began, on the monotonic clock.
        """
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


def _extend(columns: Mapping[str, array[Number]], values: Iterable[Number]) -> None:
    for column, value in zip(columns.values(), values, strict=True):
        column.append(value)
