"""What the live view costs the pings: ``python -m tests.benchmarks.bench_live_view [PAIRS [SETTING]]``.

In a real kernel, against the sandbox, pairs of a run with the live view and one with ``-q``, in random order. Printed
is the ratio of the two, for the median and the 95th percentile of ``ttfb_ms``: the median over the pairs, and its 95 %
interval by bootstrap over pairs. At most 1.02 and 1.10 are wanted. A machine that is busy makes the interval wide, and
does not favour either side, since each pair runs back to back.
"""

from __future__ import annotations

import ast
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.kernel import Kernel

SERIES = "%donutwork ping {options} {quiet} -o df"
SEEN = "df[df.error.isna() & ~df.warmup].ttfb_ms.quantile([0.5, 0.95]).tolist()"


@dataclass(frozen=True)
class Setting:
    """One way to ping, some seconds a run."""

    name: str
    sandbox: str
    options: str


SETTINGS = (
    Setting("5/s, 20 ms away", "--latency 20ms", "-n 30 -r 5 -w 3"),
    Setting("50/s, 2 ms away", "--latency 2ms", "-n 200 -r 50 -w 10"),
    Setting("50/s, on this machine", "", "-n 200 -r 50 -w 10"),
    Setting("max, 2 ms away", "--latency 2ms", "-d 4s -r max -w 50"),
    Setting("max, on this machine", "", "-d 4s -r max -w 50"),
)


def measure(kernel: Kernel, setting: Setting, pairs: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the ratios of median and p95, live view over quiet; one row a pair."""
    assert kernel.run(f"%donutwork sandbox start --seed 1 {setting.sandbox};").ok
    ratios = []
    for pair in range(pairs + 1):
        seen = {}
        for quiet in random.sample(["-q", ""], 2):
            cell = kernel.run(SERIES.format(options=setting.options, quiet=quiet))
            assert cell.ok, cell.text
            seen[quiet] = np.array(ast.literal_eval(kernel.value(SEEN)))
        # The first pair warms the kernel up.
        if pair:
            ratios.append(seen[""] / seen["-q"])
    return np.array(ratios)


def interval(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """Return the 95 % interval of the median, by bootstrap."""
    draws = np.random.default_rng(1).choice(values, (10_000, values.size))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return float(low), float(high)


def main(pairs: int, words: str) -> None:
    """Measure the settings whose names contain some words, and print a line each."""
    print(f"live view / -q, {pairs} pairs: ratio (95 % interval)")
    with tempfile.TemporaryDirectory() as home, Kernel(Path(home)) as kernel:
        assert kernel.run("%load_ext donutwork_magics").ok
        for setting in (setting for setting in SETTINGS if words in setting.name):
            ratios = measure(kernel, setting, pairs)
            columns = [
                f"{name} {np.median(values):.3f} ({low:.3f} to {high:.3f})"
                for name, values in (("median", ratios[:, 0]), ("p95", ratios[:, 1]))
                for low, high in [interval(values)]
            ]
            print(f"{setting.name:24}  {'   '.join(columns)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15, sys.argv[2] if len(sys.argv) > 2 else "")
