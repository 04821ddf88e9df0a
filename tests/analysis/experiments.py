"""Experiments with known truths: tables as a cell with interleaved lines makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tests.display.frames import ATTRS, frame
from tests.support.tables import describe

Numbers = npt.NDArray[np.float64]


def experiment(
    labels: Sequence[str] = ("a", "b"),
    *,
    rounds: int = 10,
    pings: int = 10,
    seed: int = 1,
    shift_ms: Mapping[str, float] | None = None,
    latency_ms: Callable[[np.random.Generator, int], Numbers] | None = None,
    run: str = "run-1",
) -> pd.DataFrame:
    """Make the table of a cell: in each round a block of each line, in random order.

    Parameters
    ----------
    pings
        A block.
    shift_ms
        By how much lines are slower.
    latency_ms
        Draws the latencies of all pings in the order in which they are measured; 20 ms and some noise without one.
    """
    random = np.random.default_rng(seed)
    order = np.concatenate([random.permutation(len(labels)) for _ in range(rounds)]).repeat(pings)
    drawn_ms = (latency_ms or _steady)(random, order.size)
    names = np.array(labels)[order]
    added_ms = pd.Series(names).map(dict.fromkeys(labels, 0.0) | dict(shift_ms or {})).to_numpy()
    df = frame((drawn_ms + added_ms).tolist())
    df["label"] = pd.array(names, dtype="string")
    df["block"] = np.arange(rounds).repeat(len(labels) * pings)
    df["error"] = pd.array([None] * len(df), dtype="string")
    describe(df, {**ATTRS, "plan": [{**ATTRS["plan"][0], "label": label} for label in labels]}, run)
    return df


def alike(n: int, correlation: float, random: np.random.Generator, sigma: float = 0.3) -> Numbers:
    """Draw latencies of which each resembles the one before: an autoregressive process, as a lognormal."""
    steps = random.normal(size=n) * np.sqrt(1 - correlation**2)
    level, levels = float(random.normal()), np.empty(n)
    for at, step in enumerate(steps):
        level = correlation * level + step
        levels[at] = level
    return 20.0 * np.exp(sigma * levels)


def _steady(random: np.random.Generator, n: int) -> Numbers:
    return 20.0 * np.exp(0.1 * random.normal(size=n))
