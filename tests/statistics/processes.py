"""Latencies of many experiments at once, from processes whose truth is known: alike, drifting, with a heavy tail."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Process = Callable[[np.random.Generator, int, int], Numbers]
"""From a generator, the number of experiments and of pings to latencies in ms, shape (experiments, pings)."""

_BASE_MS: Final = 20.0
_SIGMA: Final = 0.3


def alike(correlation: float) -> Process:
    """Lognormal latencies of which each resembles the one before: an autoregressive process of order 1."""

    def draw(random: np.random.Generator, experiments: int, pings: int) -> Numbers:
        level = random.normal(size=experiments)
        levels = np.empty((experiments, pings))
        scale = math.sqrt(1 - correlation**2)
        for at in range(pings):
            level = correlation * level + scale * random.normal(size=experiments)
            levels[:, at] = level
        return _BASE_MS * np.exp(_SIGMA * levels)

    return draw


def drifting(random: np.random.Generator, experiments: int, pings: int) -> Numbers:
    """Half alike, and over the experiment 40 % slower and, in one and a half waves, up to 30 % more or less."""
    at = np.arange(pings) / pings
    waves = np.sin(2 * math.pi * (1.5 * at + random.random((experiments, 1))))
    return alike(0.5)(random, experiments, pings) * (1 + 0.4 * at) * (1 + 0.3 * waves)


def heavy_tailed(random: np.random.Generator, experiments: int, pings: int) -> Numbers:
    """Half alike, and 5 % of the pings take several times as long (a Pareto tail without a variance)."""
    longer = 1 + random.pareto(1.5, (experiments, pings))
    return alike(0.5)(random, experiments, pings) * np.where(random.random((experiments, pings)) < 0.05, longer, 1.0)


def bursting(random: np.random.Generator, experiments: int, pings: int) -> Numbers:
    """Half alike, and 5 % of the pings take 4 times as long, some 10 in a row."""
    return alike(0.5)(random, experiments, pings) * np.where(in_bursts(0.05, 10)(random, experiments, pings), 4.0, 1.0)


def two_modes(random: np.random.Generator, experiments: int, pings: int) -> Numbers:
    """Half alike, and 30 % of the pings are served elsewhere, which takes 1.8 times as long, some 10 in a row."""
    return alike(0.5)(random, experiments, pings) * np.where(in_bursts(0.3, 10)(random, experiments, pings), 1.8, 1.0)


def in_bursts(share: float, length: float) -> Callable[[np.random.Generator, int, int], npt.NDArray[np.bool_]]:
    """Draw which pings are in a burst: a Markov chain with two states."""

    def draw(random: np.random.Generator, experiments: int, pings: int) -> npt.NDArray[np.bool_]:
        begins = share / (1 - share) / length
        state = random.random(experiments) < share
        states = np.empty((experiments, pings), dtype=bool)
        for at in range(pings):
            chance = random.random(experiments)
            state = np.where(state, chance >= 1 / length, chance < begins)
            states[:, at] = state
        return states

    return draw


PROCESSES: Final[dict[str, Process]] = {
    "independent": alike(0.0),
    "alike, 0.5": alike(0.5),
    "alike, 0.8": alike(0.8),
    "alike, 0.95": alike(0.95),
    "drift": drifting,
    "heavy tail": heavy_tailed,
    "bursts": bursting,
    "two modes": two_modes,
}


@cache
def true_quantile(name: str, quantile: float) -> float:
    """Return the quantile of all pings that a process could have made, from four million of them."""
    draws = PROCESSES[name](np.random.default_rng(7), 4000, 1000)
    return float(np.quantile(draws, quantile))
