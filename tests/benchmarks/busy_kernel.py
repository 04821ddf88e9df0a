"""Does a watch read the same beside a busy kernel as beside an idle one? In a real kernel, in turn, cell by cell."""

from __future__ import annotations

import ast
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks.figures import Figure, interval, quantile
from tests.benchmarks.targets import slow
from tests.support.kernel import Kernel

_ROUNDS: Final = 10
_CELL_S: Final = 3.0
_RATE_HZ: Final = 40
_IDLE: Final = "time.sleep({seconds})"
_WORK: Final = {
    "a Python loop": "while time.monotonic() < until: sum(range(1000))",
    "pandas string work": "while time.monotonic() < until: texts.str.upper().str.replace('A', 'b').str.len().sum()",
    "a numpy product": "while time.monotonic() < until: matrix @ matrix",
}
_PREPARED: Final = """
%load_ext donutwork_magics
import os, time
import numpy as np, pandas as pd
texts = pd.Series([f"row {{number}} a" for number in range(20_000)], dtype="object")
matrix = np.ones((600, 600))
os.environ["DONUTWORK_API_KEY"], os.environ["DONUTWORK_BASE_URL"] = {key!r}, {url!r}
w = %donutwork watch -r {rate} --keep 100000
"""


def busy_kernel() -> Iterator[Figure]:
    """p50 and p99 of a watch's durations beside a busy cell, by those beside an idle kernel."""
    # On two cores, the busy cell has one, and the pings share the other with the server: 1 ms away, that is the limit.
    for service_ms, p50_within, p99_within in ((20.0, 1.01, 1.05), (1.0, None, None)):
        with slow(service_ms) as served, tempfile.TemporaryDirectory() as home, Kernel(Path(home)) as kernel:
            key = served.target.key.authorization().decode().removeprefix("Bearer ")
            prepared = _PREPARED.format(key=key, url=str(served.target.base_url), rate=_RATE_HZ)
            assert kernel.run(prepared).ok
            idle, busy = _measure(kernel)
            for name, rounds in busy.items():
                for share, within in ((0.50, p50_within), (0.99, p99_within)):
                    ratios = [
                        quantile(own, share) / quantile(beside, share) for own, beside in zip(rounds, idle, strict=True)
                    ]
                    both = (quantile(_all(rounds), share), quantile(_all(idle), share))
                    line = f"watch, {service_ms:g} ms away, p{share * 100:g}: beside {name} / idle"
                    beside = f"{both[0]:.3f} ms by {both[1]:.3f} ms"
                    yield Figure(line, statistics.median(ratios), *interval(ratios), at_most=within, beside=beside)


def _measure(kernel: Kernel) -> tuple[list[list[float]], dict[str, list[list[float]]]]:
    """Return the durations of each round: beside an idle kernel, and beside each kind of work."""
    idle: list[list[float]] = []
    busy: dict[str, list[list[float]]] = {name: [] for name in _WORK}
    for number in range(_ROUNDS + 1):
        kinds = ["", *_WORK]
        random.shuffle(kinds)
        for kind in kinds:
            work = _WORK[kind] if kind else _IDLE.format(seconds=_CELL_S)
            cell = (
                f"from_, until = w.rows.total, time.monotonic() + {_CELL_S}\n{work}\ntime.sleep(0.3)\ndf = w.df[from_:]"
            )
            assert kernel.run(cell).ok
            assert kernel.value("int(df.error.notna().sum())") == "0"
            # The first and last pings may have been beside another cell.
            durations_ms = ast.literal_eval(kernel.value("df.duration_ms.iloc[8:-16].tolist()"))
            if number:
                (busy[kind] if kind else idle).append(durations_ms)
    return idle, busy


def _all(rounds: list[list[float]]) -> list[float]:
    return [value for one in rounds for value in one]


FIGURES: tuple[Callable[[], Iterator[Figure]], ...] = (busy_kernel,)
