"""Record the packaged example ``night``, which ``%donutwork load --example night`` reads: a real run on the sandbox.

``python notebooks/night.py`` pings once a second for an hour. Nothing in the journal is made up: the sandbox behaves as
`behaviour` says, and the times are those that passed. ``--minutes 6 --rate 10`` is done in a tenth of the time, with as
many pings and all spans a tenth as long.
"""

from __future__ import annotations

import argparse
import bz2
import random
import tempfile
from pathlib import Path

from donutwork_magics import collect, sandbox

NIGHT = Path(__file__).parents[1] / "donutwork_magics" / "examples" / "night.jsonl.bz2"
SEED = 14

# Shares of the whole run.
SLOW_FROM, SLOW_TO = 0.35, 0.60
OUTAGE_FROM, OUTAGE_TO = 0.75, 0.79


def stalls(whole_s: float) -> list[str]:
    """Return when the server stalls: again and again in the slow quarter, and at a stretch in the outage."""
    chance = random.Random(SEED)
    spans = [(OUTAGE_FROM * whole_s, (OUTAGE_TO - OUTAGE_FROM) * whole_s)]
    at_s = SLOW_FROM * whole_s
    while at_s < SLOW_TO * whole_s:
        # Some are soon over and few last long, like collections of garbage.
        length_s = min(1.0, chance.lognormvariate(-1.6, 0.6))
        spans.append((at_s, length_s))
        at_s += length_s + chance.uniform(0.1, 0.6)
    return [f"{length_s:.3f}s@{start_s:.3f}s" for start_s, length_s in spans]


def record(path: Path, *, minutes: float, rate_hz: float) -> None:
    """Measure, and write the compressed journal to `path`."""
    whole_s = minutes * 60
    behaviour = {"latency": "18ms/45ms", "server_time": "2ms/6ms", "faults": ["server_error:0.003"], "seed": SEED}
    with tempfile.TemporaryDirectory() as directory:
        journal = Path(directory) / "night.jsonl"
        with sandbox(**behaviour, stalls=stalls(whole_s)):  # type: ignore[arg-type]
            # An outage of the hour lasts for fifteen timeouts, whatever the hour is.
            collect(
                round(whole_s * rate_hz),
                rate_hz=rate_hz,
                timeout_s=max(0.3, whole_s / 360),
                label="night",
                journal=journal,
            )
        packed = bz2.compress(journal.read_bytes())
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(packed)


def main() -> None:
    """Read the command line, and record."""
    parser = argparse.ArgumentParser(description="Record the packaged example night.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=1, help="pings a second")
    parser.add_argument("--to", type=Path, default=NIGHT)
    options = parser.parse_args()
    record(options.to, minutes=options.minutes, rate_hz=options.rate)
    print(f"{options.to}: {options.to.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
