"""What do rows take, what does a day of pings leave behind, and does an interrupt always end a run?"""

from __future__ import annotations

import gc
import signal
import statistics
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from donutwork_magics import collect
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.errors import Interrupted
from donutwork_magics.frame.table import table_of
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.rows import Row, Rows
from donutwork_magics.sampling.series import Series
from tests.benchmarks.figures import Figure, interval, quantile
from tests.benchmarks.targets import KEY, static
from tests.servers import Server, answer_then_hang, reply
from tests.support.processes import probers_of
from tests.support.recordings import running

_DAY = 86_400
_INTERRUPTS = 200


def a_day() -> Iterator[Figure]:
    """As many pings as a day has at 1/s, as fast as they go: rows grow by rows, and nothing else grows."""
    with static() as served:
        collect(100, rate_hz=None, target=served.target)
        series = Series(Plan(count=_DAY, rate_hz=None), served.target)
        sizes, resident = [], []
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        with running(series) as run:
            [prober] = probers_of()
            while not run.over.wait(0.1):
                sizes.append((run.done, tracemalloc.get_traced_memory()[0] - before))
                resident.append((run.done, _resident_bytes(prober)))
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    per_row = taken / run.done
    yield Figure("bytes a row, 86,400 rows", per_row, per_row, per_row, at_most=300)
    slope = _slope(sizes)
    yield Figure("bytes a further row, from a quarter of the day on", slope, slope, slope, at_most=300)
    # It keeps two floats of a ping for the figures of the client, and else no row.
    slope = _slope(resident)
    yield Figure("  the same in the prober", slope, slope, slope, at_most=50)
    seconds = []
    rows, attrs = Rows(), {run.run: run.attrs}
    rows.begin(run.run)
    rows.extend([_row(seq) for seq in range(100_000)])
    for _ in range(7):
        began_s = time.perf_counter()
        assert len(table_of(rows, attrs)) == 100_000
        seconds.append(time.perf_counter() - began_s)
    name = "100,000 rows to a DataFrame"
    yield Figure(name, statistics.median(seconds), *interval(seconds), at_most=1.0, unit=" s")


def _row(seq: int) -> Any:
    return Row(
        label="ping",
        seq=seq,
        duration_ms=1.0,
        timestamp_ns=seq,
        started_ms=float(seq),
        block=0,
        rrt=f"0.{seq:06} ms",
        env="production",
        http_version="1.1",
        peer="127.0.0.1",
        status_code=200,
        body_bytes=57,
    )


def _slope(sizes: Sequence[tuple[int, int]]) -> float:
    # Arrays grow in steps of an eighth: between a quarter and the whole, a step at each end blurs the slope.
    quarter = next(size for size in sizes if size[0] >= _DAY // 4)
    return (sizes[-1][1] - quarter[1]) / (sizes[-1][0] - quarter[0])


def _resident_bytes(pid: int) -> int:
    found = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(found.stdout) * 1024


def interrupts() -> Iterator[Figure]:
    """Interrupt a run 200 times, at a server that hangs after a while, and go on each time."""
    seconds, rows = [], 0
    with Server(answer_then_hang(reply(), 5)) as server:
        target = sandbox_target(server.url, KEY, None)
        for number in range(_INTERRUPTS):
            sent_s = [0.0]

            def send(sent_s: list[float] = sent_s) -> None:
                sent_s[0] = time.perf_counter()
                signal.raise_signal(signal.SIGINT)

            timer = threading.Timer(0.05 + 0.001 * number % 0.1, send)
            timer.start()
            with pytest.raises(Interrupted) as caught:
                collect(10**6, rate_hz=200, concurrency=1 + number % 4, target=target)
            seconds.append(time.perf_counter() - sent_s[0])
            rows += len(caught.value.df)
            assert caught.value.df["error"].isna().all()
            timer.join()
        assert len(collect(3, rate_hz=None, target=target)) == 3
    name = f"{_INTERRUPTS} interrupts: longest way back, {rows} rows kept"
    beside = f"median {statistics.median(seconds):.3f} s, p95 {quantile(seconds, 0.95):.3f} s"
    yield Figure(name, max(seconds), max(seconds), max(seconds), at_most=2.0, beside=beside, unit=" s")


FIGURES: tuple[Callable[[], Iterator[Figure]], ...] = (a_day, interrupts)
