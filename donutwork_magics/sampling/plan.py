"""What a run is going to do, decided before its first ping: the plan of each series, and how they take turns.

Lines that are compared are interleaved: in each round every line has one block, in an order drawn at random, so that
what drifts meanwhile hits all alike. Then the differences between the blocks of a round are symmetric about 0 where the
lines do not differ, which is all that the comparison assumes.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from donutwork_magics.types import flag, rate, seconds, whole

GENTLE_RATE_HZ: Final = 5.0
"""The default: the API documents no limit, and its access is a controlled rollout."""
POLITE_RATE_HZ: Final = 20.0
"""The most that goes to a host other than this machine without an explicit permission."""

LONGEST_LABEL: Final = 64
MOST_OVERDUE: Final = 10_000_000
"""So many planned starts that were not made before the end of a run are counted."""
MOST_IN_FLIGHT: Final = 256
"""Each has a connection and a thread of its own."""

USUAL_BLOCKS: Final = 10
_FEWEST_PINGS_IN_BLOCK: Final = 2
_MOST_BLOCKS: Final = 100
_PINGS_UNTIL: Final = 10
_LEAST_UNTIL_S: Final = 1.0
"""With ``--until``: blocks as small as those of its simulation, so that there are many rounds after which to stop."""
_RISK: Final = 0.05
_SEEDS: Final = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A series of pings.

    Parameters
    ----------
    count
        How many rows, warm-up apart; None where only the duration ends it.
    duration_s
        No ping starts later than this after the first; None where only the count ends it.
    rate_hz
        Planned starts a second; None: each starts when the one before has ended (``-r max``).
    concurrency
        Pings in flight at most, each on a connection of its own.
    warmup
        Further pings at the start, which are rows, and are left out of summaries.
    label
        The value of the ``label`` column.
    allow_load
        More than `POLITE_RATE_HZ` is permitted, also while catching up.
    endless
        It is a monitor, which goes on until it is stopped or a duration ends it: it does not make up for all that it
        has missed, and calls seldom while the service is down.
    """

    count: int | None = None
    duration_s: float | None = None
    rate_hz: float | None = GENTLE_RATE_HZ
    concurrency: int = 1
    warmup: int = 0
    cold: bool = False
    label: str = "ping"
    allow_load: bool = False
    endless: bool = False

    def __post_init__(self) -> None:
        if self.count is None and self.duration_s is None and not self.endless:
            raise ValueError("A series needs a count or a duration.")
        read: dict[str, float | None] = {
            "count": None if self.count is None else whole("count", self.count, 1),
            "duration_s": None if self.duration_s is None else seconds("duration_s", self.duration_s),
            "rate_hz": None if self.rate_hz is None else rate("rate_hz", self.rate_hz),
            "concurrency": whole("concurrency", self.concurrency, 1, MOST_IN_FLIGHT),
            "warmup": whole("warmup", self.warmup, 0),
        }
        for name, value in read.items():
            # Plain numbers, also where numpy's were given: they go into files.
            object.__setattr__(self, name, value)
        for name in ("cold", "allow_load", "endless"):
            flag(name, getattr(self, name))
        if not isinstance(self.label, str) or not self.label.isprintable() or not 1 <= len(self.label) <= LONGEST_LABEL:
            raise ValueError(f"label needs a text of 1 to {LONGEST_LABEL} printable characters.")

    @property
    def total(self) -> int | None:
        """How many rows there will be, warm-up included; None where only the duration ends the series."""
        return None if self.count is None else self.count + self.warmup

    def planned_start_s(self, seq: int) -> float | None:
        """Return the planned start of a ping in seconds since the first; None where there is no plan."""
        return None if self.rate_hz is None else seq / self.rate_hz

    def impolite(self, *, loopback: bool, permission: str = "--allow-load") -> str:
        """Say in one line why the plan may not be run against this host, or return an empty text.

        Parameters
        ----------
        permission
            What would permit it, as the user writes it.
        """
        if loopback or self.allow_load or (self.rate_hz is not None and self.rate_hz <= POLITE_RATE_HZ):
            return ""
        return (
            f"More than {POLITE_RATE_HZ:g} pings a second, or a rate of max, go to another machine only with "
            f"{permission}: ask the API's operators first."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Some pings of one line in a row: a run is carried out segment by segment."""

    line: int
    """Which line, from 0."""
    block: int = 0
    """The value of the ``block`` column."""
    count: int | None = None
    """How many rows, warm-up included; None where only the duration ends it."""
    duration_s: float | None = None
    """No ping of it starts later than this after the first; None where only the count ends it."""
    warmup: int = 0
    """How many rows at its beginning are warm-up."""


def one_after_the_other(plans: Sequence[Plan]) -> tuple[Segment, ...]:
    """Divide a run into one segment a line."""
    return tuple(
        Segment(line=line, count=plan.total, duration_s=plan.duration_s, warmup=plan.warmup)
        for line, plan in enumerate(plans)
    )


@dataclass(frozen=True, slots=True)
class Course:
    """A whole run as it is planned: its lines, and their segments in order."""

    plans: tuple[Plan, ...]
    segments: tuple[Segment, ...]

    @property
    def is_interleaved(self) -> bool:
        """Whether the lines take turns."""
        return any(segment.block for segment in self.segments)

    @property
    def total(self) -> int | None:
        """How many rows there will be, warm-up included; None where durations end it."""
        counts = [segment.count for segment in self.segments]
        return None if None in counts else sum(filter(None, counts))

    @property
    def warmup(self) -> int:
        """How many of them are warm-up."""
        return sum(segment.warmup for segment in self.segments)

    @property
    def duration_s(self) -> float | None:
        """How long pings are started; None where counts end it, and no rate tells when."""
        if len(self.segments) == 1:
            return self.segments[0].duration_s
        lengths_s = [self._length_s(segment) for segment in self.segments]
        return None if self.total is not None or None in lengths_s else sum(filter(None, lengths_s))

    def planned_start_s(self, seq: int) -> float | None:
        """Return the planned start of a ping in seconds since the first; None where there is no plan."""
        start_s = 0.0
        for segment in self.segments:
            plan = self.plans[segment.line]
            if plan.rate_hz is None or segment.count is None or seq < segment.count:
                within_s = plan.planned_start_s(seq)
                return None if within_s is None else start_s + within_s
            seq -= segment.count
            start_s += segment.count / plan.rate_hz
        return start_s

    def _length_s(self, segment: Segment) -> float | None:
        rate_hz = self.plans[segment.line].rate_hz
        by_count_s = segment.count / rate_hz if rate_hz is not None and segment.count is not None else None
        return min(filter(None, (by_count_s, segment.duration_s)), default=None)


def drawn_seed() -> int:
    """Draw a seed, for an order that nobody has chosen."""
    return secrets.randbelow(_SEEDS)


def rounds_needed(labels: int) -> int:
    """Return how many rounds a verdict needs: the least with 2 / 2^rounds <= 0.05 / (labels - 1).

    So small must the p-value of the signed rank test be able to become, for several comparisons (Bonferroni).
    """
    return next(rounds for rounds in count(1) if 2 / 2**rounds <= _RISK / max(1, labels - 1))


def interleaved(plans: Sequence[Plan], *, blocks: int | None, seed: int, until: bool = False) -> tuple[Segment, ...]:
    """Divide a run into rounds in which each line has one block.

    Parameters
    ----------
    blocks
        How many blocks each line has; 1 for one line after the other. None for the usual number, or fewer where a block
        would have no two pings; and for one line after the other where that leaves too few rounds for a verdict.
    seed
        What the order within the rounds is drawn from.
    until
        Whether the run may end after any round from the tenth on: then the usual number of blocks is up to 100, as long
        as each has ten pings, or takes a second.

    Raises
    ------
    ValueError
        A line has fewer pings than blocks.
    """
    if blocks is not None and any(plan.count is not None and plan.count < blocks for plan in plans):
        raise ValueError("There are more blocks than pings of a line: lower --blocks, or raise -n.")
    if blocks is None and len(plans) > 1:
        blocks = min(_most_blocks(plan, USUAL_BLOCKS, _FEWEST_PINGS_IN_BLOCK) for plan in plans)
        if until:
            blocks = max(blocks, min(_most_blocks(plan, _MOST_BLOCKS, _PINGS_UNTIL) for plan in plans))
        blocks = blocks if blocks >= rounds_needed(len(plans)) else 1
    if len(plans) == 1 or blocks is None or blocks == 1:
        return one_after_the_other(plans)
    warm_up = [
        Segment(line=line, count=plan.warmup, warmup=plan.warmup) for line, plan in enumerate(plans) if plan.warmup
    ]
    chance = random.Random(seed)
    rounds = []
    for block in range(blocks):
        own = [
            Segment(
                line=line,
                block=block,
                # The first blocks have what is left over.
                count=None if plan.count is None else plan.count // blocks + (block < plan.count % blocks),
                duration_s=None if plan.duration_s is None else plan.duration_s / blocks,
            )
            for line, plan in enumerate(plans)
        ]
        chance.shuffle(own)
        rounds += own
    return (*warm_up, *rounds)


def _most_blocks(plan: Plan, most: int, pings: int) -> int:
    """Return how many blocks with so many pings each a line has."""
    limits = [most]
    if plan.count is not None:
        limits.append(plan.count // pings)
    if plan.duration_s is not None and plan.rate_hz is not None:
        limits.append(int(plan.duration_s * plan.rate_hz) // pings)
    elif plan.duration_s is not None and most > USUAL_BLOCKS:
        limits.append(int(plan.duration_s / _LEAST_UNTIL_S))
    return min(limits)
