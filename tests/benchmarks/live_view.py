"""What does looking cost? Runs with the live view and with ``-q``, in turn, in a real kernel on the sandbox."""

from __future__ import annotations

import ast
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.figures import Figure, interval
from tests.support.kernel import Kernel

_PAIRS: Final = 12
_SEEN: Final = "df[df.error.isna() & ~df.warmup].ttfb_ms.quantile([0.5, 0.95]).tolist()"


@dataclass(frozen=True)
class Setting:
    """One way to ping, some seconds a run."""

    name: str
    sandbox: str
    options: str


SETTINGS: Final = (
    Setting("50/s, 2 ms away", "--latency 2ms", "-n 200 -r 50 -w 10"),
    Setting("max, on this machine", "", "-d 4s -r max -w 50"),
)


def live_view() -> Iterator[Figure]:
    """The median and the 95th percentile of ``ttfb_ms`` with the live view, by those without."""
    with tempfile.TemporaryDirectory() as home, Kernel(Path(home)) as kernel:
        assert kernel.run("%load_ext donutwork_magics").ok
        for setting in SETTINGS:
            pairs = _measure(kernel, setting)
            for name, at_most, which in (("median", 1.02, 0), ("p95", 1.10, 1)):
                ratios = [seen[which] / quiet[which] for seen, quiet in pairs]
                middles = [statistics.median(side[which] for side in sides) for sides in zip(*pairs, strict=True)]
                beside = f"{middles[0]:.3g} ms by {middles[1]:.3g} ms"
                line = f"ttfb_ms {name}, live view / -q ({setting.name})"
                yield Figure(line, statistics.median(ratios), *interval(ratios), at_most=at_most, beside=beside)


def _measure(kernel: Kernel, setting: Setting) -> list[tuple[list[float], list[float]]]:
    """Return the quantiles of each pair, live view first."""
    assert kernel.run(f"%donutwork sandbox start --seed 1 {setting.sandbox};").ok
    pairs = []
    for pair in range(_PAIRS + 1):
        seen: dict[str, list[float]] = {}
        for quiet in random.sample(["-q", ""], 2):
            cell = kernel.run(f"%donutwork ping {setting.options} {quiet} -o df")
            assert cell.ok, cell.text
            seen[quiet] = ast.literal_eval(kernel.value(_SEEN))
        # The first pair warms the kernel up.
        if pair:
            pairs.append((seen[""], seen["-q"]))
    return pairs


FIGURES: tuple[Callable[[], Iterator[Figure]], ...] = (live_view,)
