"""How often a comparison finds a difference that is not there, and misses the one that is."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from donutwork_magics.analysis.compare import pings_to_show
from donutwork_magics.analysis.intervals import FEWEST_ROUNDS, Shift, averages_outside, signed_rank
from tests.statistics.figures import Share
from tests.statistics.processes import PROCESSES, Numbers, Process

SHIFT_MS = 1.5
_MOST_ROUNDS = 150


def blocks(
    process: Process,
    random: np.random.Generator,
    experiments: int,
    *,
    rounds: int,
    pings: int,
    quantile: float = 0.5,
    shift_ms: float = 0.0,
    interleaved: bool = True,
) -> tuple[Numbers, Numbers]:
    """Draw experiments with two lines, the second slower by a shift, and return the quantiles of their blocks.

    Returns
    -------
    baseline, other : ndarray
        Shape (experiments, rounds).
    """
    drawn_ms = process(random, experiments, rounds * 2 * pings)
    if interleaved:
        drawn_ms = drawn_ms.reshape(experiments, rounds, 2, pings)
        is_swapped = random.random((experiments, rounds)) < 0.5
        first, second = drawn_ms[:, :, 0], drawn_ms[:, :, 1]
        baseline, other = (
            np.where(is_swapped[..., None], one, another) for one, another in ((second, first), (first, second))
        )
    else:
        baseline, other = np.moveaxis(drawn_ms.reshape(experiments, 2, rounds, pings), 1, 0)
    return _quantiles(baseline, quantile), _quantiles(other + shift_ms, quantile)


def false_differences(experiments: int) -> Iterator[Share]:
    """Two lines that do not differ: in how many experiments is a difference shown?"""
    random = np.random.default_rng(1)
    for quantile, rounds, pings in ((0.5, 10, 10), (0.5, 20, 30), (0.95, 10, 20), (0.95, 20, 20)):
        for name, process in PROCESSES.items():
            pair = blocks(process, random, experiments, rounds=rounds, pings=pings, quantile=quantile)
            found = [_compared(*each) for each in zip(*pair, strict=True)]
            what = f"A/A, p{100 * quantile:.0f}, {rounds} rounds of {pings}: a difference is shown"
            yield Share(what, name, sum(map(_is_shown, found)), experiments, 0.035, 0.065)


def one_after_the_other(experiments: int) -> Iterator[Share]:
    """The same, but the second line begins when the first has ended: for this there is no verdict, and here is why."""
    random = np.random.default_rng(2)
    for name, process in PROCESSES.items():
        pair = blocks(process, random, experiments, rounds=20, pings=30, interleaved=False)
        found = [_compared(*each) for each in zip(*pair, strict=True)]
        yield Share("A/A, p50, one after the other: it would be shown", name, sum(map(_is_shown, found)), experiments)


def covered_differences(experiments: int) -> Iterator[Share]:
    """A line that is slower by 1.5 ms: in how many experiments does the interval hold that?"""
    random = np.random.default_rng(3)
    for rounds, pings in ((10, 10), (20, 30)):
        for name, process in PROCESSES.items():
            pair = blocks(process, random, experiments, rounds=rounds, pings=pings, shift_ms=SHIFT_MS)
            found = [_compared(*each) for each in zip(*pair, strict=True)]
            hits = sum(each.low <= SHIFT_MS <= each.high for each in found)
            what = f"1.5 ms slower, p50, {rounds} rounds of {pings}: it is covered"
            yield Share(what, name, hits, experiments, 0.935, 0.965)


def stopped_comparisons(experiments: int) -> Iterator[Share]:
    """A cell with ``--until 5%``: how often does the interval at which it ended miss the truth?"""
    random = np.random.default_rng(4)
    for name, process in PROCESSES.items():
        pair = blocks(process, random, experiments, rounds=_MOST_ROUNDS, pings=10, shift_ms=SHIFT_MS)
        ended = _until_narrow(*pair, share=0.05)
        misses = sum(not each.low <= SHIFT_MS <= each.high for each in ended)
        yield Share("--until 5% of a cell: the difference is missed", name, misses, len(ended), at_most=0.07)


def promised_pings(experiments: int) -> Iterator[Share]:
    """Where no difference was shown: do as many pings as the verdict names show the difference that it names?"""
    random = np.random.default_rng(5)
    for name in ("independent", "alike, 0.5", "alike, 0.8", "heavy tail", "two modes"):
        process = PROCESSES[name]
        pair = blocks(process, random, experiments // 4, rounds=10, pings=10)
        shown = tried = 0
        for baseline, other in zip(*pair, strict=True):
            shift, median_ms = _compared(baseline, other), float(np.median(baseline))
            promise = pings_to_show(shift, median_ms, 100)
            if _is_shown(shift) or promise is None:
                continue
            share, count = promise
            again = blocks(process, random, 4, rounds=10, pings=math.ceil(count / 10), shift_ms=share * median_ms)
            tried += 4
            shown += sum(_is_shown(_compared(*each)) for each in zip(*again, strict=True))
        yield Share("as many pings as the verdict names: it is shown", name, shown, tried, at_least=0.8)


def _quantiles(blocks_ms: Numbers, quantile: float) -> Numbers:
    # The nearest rank in the tail.
    return np.quantile(blocks_ms, quantile, axis=2, method="linear" if quantile == 0.5 else "inverted_cdf")


def _compared(baseline: Numbers, other: Numbers) -> Shift:
    return signed_rank(other - baseline)


def _is_shown(shift: Shift) -> bool:
    return not shift.low <= 0 <= shift.high


def _until_narrow(baseline: Numbers, other: Numbers, share: float) -> list[Shift]:
    """Return the interval at which each experiment ends, as `cell_is_narrow` has it; those that do not are left out."""
    ended = []
    for rounds in range(FEWEST_ROUNDS, baseline.shape[1] + 1):
        differences = (other - baseline)[:, :rounds]
        first, second = np.triu_indices(rounds)
        ends = [averages_outside(rounds) - 1, first.size - averages_outside(rounds)]
        averages = np.partition((differences[:, first] + differences[:, second]) / 2, ends, axis=1)
        half_width = (averages[:, ends[1]] - averages[:, ends[0]]) / 2
        is_narrow = half_width <= share * np.median(baseline[:, :rounds], axis=1)
        ended += [signed_rank(each) for each in differences[is_narrow]]
        baseline, other = baseline[~is_narrow], other[~is_narrow]
    return ended


ALL = (false_differences, one_after_the_other, covered_differences, stopped_comparisons, promised_pings)
