"""Does the schedule hold, and does a stall show?"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator

from donutwork_magics import collect
from tests.benchmarks.figures import Figure, interval, quantile, ratio
from tests.benchmarks.targets import slow, static

_RATE_HZ = 200.0
_SECONDS = 10.0
_COUNT = int(_RATE_HZ * _SECONDS)


def schedule() -> Iterator[Figure]:
    """200/s for 10 s, and in turn a bare loop that only sleeps to the same deadlines."""
    rates, p50s, p99s, bare_p99s = [], [], [], []
    with static() as served:
        collect(20, rate_hz=_RATE_HZ, target=served.target)
        for _ in range(5):
            df = collect(_COUNT, rate_hz=_RATE_HZ, target=served.target)
            rates.append((_COUNT - 1) / float(df["started_ms"].max() - df["started_ms"].min()) * 1e3)
            p50s.append(float(df["lag_ms"].quantile(0.50)))
            p99s.append(quantile(list(df["lag_ms"]), 0.99))
            bare_p99s.append(quantile(_bare_lags_ms(), 0.99))
    name = "200/s for 10 s: achieved rate / planned"
    shares = [rate / _RATE_HZ for rate in rates]
    yield Figure(name, statistics.median(shares), *interval(shares), at_least=0.999, at_most=1.001)
    yield Figure("  lag p50", statistics.median(p50s), *interval(p50s), at_most=0.2, unit=" ms")
    ratios = [ours / bare for ours, bare in zip(p99s, bare_p99s, strict=True)]
    beside = f"{statistics.median(p99s):.3g} ms by {statistics.median(bare_p99s):.3g} ms"
    name = "  lag p99 / that of a bare loop that only sleeps"
    yield Figure(name, statistics.median(ratios), *interval(ratios), at_most=1.5, beside=beside)


def _bare_lags_ms() -> list[float]:
    lags_ms = []
    began_s = time.perf_counter()
    for number in range(_COUNT):
        due_s = began_s + number / _RATE_HZ
        time.sleep(max(0.0, due_s - time.perf_counter()))
        lags_ms.append((time.perf_counter() - due_s) * 1e3)
    return lags_ms


def stall() -> Iterator[Figure]:
    """One stall of 1 s in 10 s, at a server that else takes 2 ms."""
    with slow(2, "4.0:1.0") as served:
        df = collect(_COUNT, rate_hz=_RATE_HZ, target=served.target)
    corrected_ms = float(df["corrected_ms"].quantile(0.99))
    beside = f"uncorrected p99 {df['duration_ms'].quantile(0.99):.3g} ms"
    name = "one 1 s stall in 10 s at 200/s: p99 of corrected_ms"
    yield Figure(name, corrected_ms, corrected_ms, corrected_ms, at_least=900.0, beside=beside, unit=" ms")


def beside_busy_code() -> Iterator[Figure]:
    """The times beside a Python loop in the process that asked for them, by those without one."""
    with slow(2) as served:

        def idle_ms() -> float:
            return float(collect(100, rate_hz=_RATE_HZ, target=served.target)["ttfb_ms"].median())

        def busy_ms() -> float:
            done = threading.Event()

            def loop() -> None:
                while not done.is_set():
                    sum(range(1000))

            thread = threading.Thread(target=loop)
            thread.start()
            try:
                return idle_ms()
            finally:
                done.set()
                thread.join()

        name = "median ttfb_ms beside a Python loop / without one"
        yield ratio(name, busy_ms, idle_ms, blocks=10, at_most=1.05, unit=" ms")


FIGURES: tuple[Callable[[], Iterator[Figure]], ...] = (schedule, stall, beside_busy_code)
