"""``python -m tests.benchmarks [NAME ...]``: measure on purpose, and print each figure against its target.

It takes some minutes, and means something on a machine that does nothing else. The names are those below; without one,
all are run. It ends with status 1 where a figure misses its target.
"""

from __future__ import annotations

import os
import platform
import sys

from tests.benchmarks import busy_kernel, endurance, fidelity, libcurl, live_view, pacing, throughput, versions

_ALL = {
    figures.__name__: figures
    for module in (fidelity, versions, throughput, pacing, libcurl, live_view, busy_kernel, endurance)
    for figures in module.FIGURES
}


def main(names: list[str]) -> int:
    """Run benchmarks by name."""
    unknown = set(names) - set(_ALL)
    if unknown:
        print(f"The benchmarks are {', '.join(_ALL)}.")
        return 2
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    missed = 0
    for name in names or _ALL:
        for figure in _ALL[name]():
            print(figure.line(), flush=True)
            missed += not figure.holds
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
