"""How long the analysis of large tables takes, and how much memory; printed, and asserted nowhere."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pandas as pd

from donutwork_magics.analysis.compare import compare
from donutwork_magics.analysis.diagnose import diagnose
from donutwork_magics.analysis.summary import percentiles, summary
from tests.analysis.experiments import experiment


def main() -> bool:
    """Print them beside their goals; the time is that of the processor, which a busy machine does not change much."""
    cell = experiment(rounds=10, pings=10_000)
    many_rounds = experiment(rounds=1000, pings=100)
    large = pd.concat(
        [experiment(rounds=50, pings=10_000).assign(run=f"{at:04}") for at in range(1)], ignore_index=True
    )
    cases: list[tuple[str, Callable[[pd.DataFrame], Any], pd.DataFrame, float | None]] = [
        ("summary of 1,000,000 rows", summary, large, 2.0),
        ("summary of 1,000,000 rows by label", lambda df: summary(df, by="label"), large, None),
        ("percentiles of 1,000,000 rows", percentiles, large, None),
        ("compare of 2 x 100,000, 10 rounds", compare, cell, 1.0),
        ("compare of 2 x 100,000, 1,000 rounds", compare, many_rounds, 1.0),
        ("diagnose of 2 x 100,000", diagnose, cell, None),
    ]
    for name, function, df, goal_s in cases:
        took_s = min(_took_s(function, df) for _ in range(3))
        tracemalloc.start()
        function(df)
        peak = tracemalloc.get_traced_memory()[1] / df.memory_usage(deep=True).sum()
        tracemalloc.stop()
        goal = "" if goal_s is None else f" (goal: {goal_s:g} s)"
        print(f"{name:<40} {took_s:6.2f} s{goal:<14} {peak:5.1f} times the table's memory (goal: 3)", flush=True)
    return True


def _took_s(function: Callable[[pd.DataFrame], Any], df: pd.DataFrame) -> float:
    began_s = time.process_time()
    function(df)
    return time.process_time() - began_s
