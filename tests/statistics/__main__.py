"""``python -m tests.statistics [NAME ...]``: simulate on purpose, and print each share beside what was promised of it.

It takes some minutes. The names are those below; without one, all are run, each with 2,000 experiments a line
(``-n`` changes that). ``references`` needs scipy (``--group bench``). It ends with status 1 where a promise is missed.
"""

from __future__ import annotations

import argparse
import sys

from tests.statistics import comparison, references, series, speed

_SIMULATED = {each.__name__: each for module in (comparison, series) for each in module.ALL}
_OTHERS = {"references": references.main, "speed": speed.main}


def main() -> int:
    """Run what was named, or everything that is simulated."""
    parser = argparse.ArgumentParser(prog="python -m tests.statistics", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *_SIMULATED, *_OTHERS], metavar="NAME", help="what to run")
    parser.add_argument("-n", "--experiments", type=int, default=2000, help="how many a line")
    asked = parser.parse_args()
    missed = 0
    for name in asked.names or _SIMULATED:
        if name in _OTHERS:
            missed += not _OTHERS[name]()
            continue
        for share in _SIMULATED[name](asked.experiments):
            print(share.line(), flush=True)
            missed += not share.holds
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
