"""The rows of a series as they come in: columnar buffers, about two hundred bytes a row."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

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


class Rows:
    """The completed rows of one series, or of several one after the other.

    It is written by one thread at a time; the columns that follow from others are made with the table.
    """

    def __init__(self) -> None:
        self.floats: dict[str, array[float]] = {name: array("d") for name in FLOATS}
        self.integers: dict[str, array[int]] = {name: array("q") for name in INTEGERS}
        self.flags: dict[str, array[int]] = {name: array("b") for name in FLAGS}
        self.words: dict[str, Words] = {name: Words() for name in WORDS}

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


def _extend(columns: Mapping[str, array[Number]], values: Iterable[Number]) -> None:
    for column, value in zip(columns.values(), values, strict=True):
        column.append(value)
