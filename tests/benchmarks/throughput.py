"""How many pings a second, beside the client that everybody has?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import httpx

from donutwork_magics import collect
from tests.benchmarks.figures import Figure, ratio
from tests.benchmarks.targets import Served, static

_BLOCK_S = 0.7


def one_worker() -> Iterator[Figure]:
    """``-r max`` beside a loop of ``httpx.Client.get``."""
    with static() as served, httpx.Client(headers=_headers(served), trust_env=False) as client:
        client.get(served.url)
        name = f"pings/s, one worker, -r max / httpx.Client.get loop ({served.name})"
        yield ratio(
            name, lambda: _ours(served, 1), lambda: _shared(client, served, 1), blocks=20, at_least=1.4, unit="/s"
        )


def many_workers() -> Iterator[Figure]:
    """32 workers beside 32 threads on one shared client."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    with static() as served, httpx.Client(headers=_headers(served), trust_env=False, limits=limits) as client:
        _shared(client, served, 32)
        name = "pings/s, 32 workers / 32 threads on one httpx.Client"
        yield ratio(
            name, lambda: _ours(served, 32), lambda: _shared(client, served, 32), blocks=20, at_least=1.8, unit="/s"
        )


def _headers(served: Served) -> dict[str, str]:
    return {"Authorization": served.target.key.authorization().decode()}


def _ours(served: Served, concurrency: int) -> float:
    df = collect(duration_s=_BLOCK_S, rate_hz=None, concurrency=concurrency, target=served.target)
    # By the rows' own times: what it takes to make the workers is paid once, and not a ping.
    started_ms = df["started_ms"]
    return float((len(df) - 1) / (started_ms.max() - started_ms.min()) * 1e3)


def _shared(client: httpx.Client, served: Served, threads: int) -> float:
    counts = [0] * threads
    end_s = time.perf_counter() + _BLOCK_S

    def loop(number: int) -> None:
        while time.perf_counter() < end_s:
            try:
                client.get(served.url)
            except httpx.HTTPError:
                # The shared pool closes connections that others use, now and then.
                continue
            counts[number] += 1

    workers = [threading.Thread(target=loop, args=(number,)) for number in range(threads)]
    began_s = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began_s)


FIGURES: tuple[Callable[[], Iterator[Figure]], ...] = (one_worker, many_workers)
