"""Interleaving: the lines of a run take turns in blocks, so that what drifts meanwhile hits all of them alike.

In each round every line has one block, in an order drawn at random: then the differences between the blocks of a round
are symmetric about 0 where the lines do not differ, which is all that the comparison assumes.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from itertools import count
from typing import Final

from donutwork_magics.sampling.plan import Plan, Segment, one_after_the_other

USUAL_BLOCKS: Final = 10
_FEWEST_PINGS: Final = 2
_MOST_BLOCKS: Final = 100
_PINGS_UNTIL: Final = 10
_LEAST_UNTIL_S: Final = 1.0
"""With ``--until``: blocks as small as those of its simulation, so that there are many rounds after which to stop."""
_RISK: Final = 0.05


_SEEDS: Final = 2**31


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
        blocks = min(_most_blocks(plan, USUAL_BLOCKS, _FEWEST_PINGS) for plan in plans)
        if until:
            blocks = max(blocks, min(_most_blocks(plan, _MOST_BLOCKS, _PINGS_UNTIL) for plan in plans))
        blocks = blocks if blocks >= rounds_needed(len(plans)) else 1
    if len(plans) == 1 or blocks is None or blocks == 1:
        return tuple(one_after_the_other(plans))
    warm_up = [
        Segment(line=line, count=plan.warmup, warmup=plan.warmup) for line, plan in enumerate(plans) if plan.warmup
    ]
    chance = random.Random(seed)
    rounds = []
    for block in range(blocks):
        own = [
            Segment(line=line, block=block, count=_share(plan.count, block, blocks), duration_s=_part(plan, blocks))
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


def _share(pings: int | None, block: int, blocks: int) -> int | None:
    return None if pings is None else pings // blocks + (block < pings % blocks)


def _part(plan: Plan, blocks: int) -> float | None:
    return None if plan.duration_s is None else plan.duration_s / blocks
