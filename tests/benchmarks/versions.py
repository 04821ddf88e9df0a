"""What does HTTP/2 cost beside HTTP/1.1, on one server?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from donutwork_magics.client.client import Client
from tests.benchmarks.figures import Figure, ratio
from tests.benchmarks.targets import nginx

_PAUSE_S = 0.0003


def http2() -> Iterator[Figure]:
    """Ping one nginx over both versions in turn, each on one warm connection with TLS."""
    with (
        nginx(tls=True, http2=True) as served,
        Client(served.target, http="1.1") as first,
        Client(served.target, http="2") as second,
    ):
        assert [client.sample().exchange.http_version for client in (first, second)] == ["1.1", "2"]
        name = f"warm duration_ms over HTTP/2 / HTTP/1.1 ({served.name})"
        yield ratio(
            name, lambda: _duration_ms(second), lambda: _duration_ms(first), blocks=100, at_most=1.5, unit=" ms"
        )


def _duration_ms(client: Client) -> float:
    durations_ms = []
    for _ in range(50):
        time.sleep(_PAUSE_S)
        durations_ms.append(client.sample().exchange.duration_ms)
    return statistics.median(durations_ms)


FIGURES: tuple[Callable[[], Iterator[Figure]], ...] = (http2,)
