"""Does the time to the first byte hold against a raw socket, and what does taking it cost?"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable, Iterator
from unittest.mock import patch

from donutwork_magics.client.client import Client
from donutwork_magics.network import caller
from donutwork_magics.network.caller import Caller
from donutwork_magics.network.connection import Connection
from donutwork_magics.network.exchange import Exchange, Phases, Reply, Timestamps
from tests.benchmarks.figures import Figure, ratio
from tests.benchmarks.targets import Served, slow, static

_PAUSE_S = 0.0003
_LONG_PAUSE_S = 0.002


class RawSocket:
    """The same request over a bare socket: the time that there is to be measured."""

    def __init__(self, served: Served) -> None:
        url = served.target.base_url
        self._socket = socket.create_connection((url.host, url.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = served.target.key.authorization()
        self._request = b"\r\n".join(
            [
                b"GET /2026-02-01/ping.json HTTP/1.1",
                b"Host: " + f"{url.host}:{url.port}".encode(),
                b"Accept: application/json",
                b"Accept-Encoding: identity",
                b"User-Agent: raw socket, of a length that is usual",
                b"Authorization: " + key,
                b"",
                b"",
            ]
        )

    def round_trip_ms(self) -> float:
        """Send the request, and return the time until the reply is there."""
        began_ns = time.perf_counter_ns()
        self._socket.sendall(self._request)
        self._socket.recv(65536)
        return (time.perf_counter_ns() - began_ns) / 1e6

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def against_raw_socket() -> Iterator[Figure]:
    """Compare with a socket that pauses as long between two pings, since a core that rested answers later."""
    with static() as served:
        name = f"send_ms + ttfb_ms warm / raw round trip ({served.name})"
        yield _against_raw(served, name, _PAUSE_S, blocks=60, pings=50, at_least=0.95, at_most=1.3)
        # After a longer rest the client's code is cold too, and the bare loop has less of it.
        yield _against_raw(served, "  after a rest of 2 ms", _LONG_PAUSE_S, blocks=30, pings=50)


def at_a_slow_server() -> Iterator[Figure]:
    """The same where the wait is the server's."""
    with slow(20) as served:
        name = "the same at a server that takes 20 ms"
        yield _against_raw(served, name, 0.0, blocks=30, pings=10, at_least=0.99, at_most=1.01)


def _against_raw(
    served: Served,
    name: str,
    pause_s: float,
    *,
    blocks: int,
    pings: int,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    raw = RawSocket(served)
    with Client(served.target) as client:
        before_s, after_s = _own_time_s(client)

        def ours() -> float:
            times_ms = []
            for _ in range(pings):
                time.sleep(pause_s)
                phases = client.sample().exchange.phases
                times_ms.append(phases.send_ms + phases.ttfb_ms)
            return statistics.median(times_ms)

        def bare() -> float:
            times_ms = []
            for _ in range(pings):
                _spin(after_s)
                time.sleep(pause_s)
                _spin(before_s)
                times_ms.append(raw.round_trip_ms())
            return statistics.median(times_ms)

        figure = ratio(name, ours, bare, blocks=blocks, at_least=at_least, at_most=at_most, unit=" ms")
    raw.close()
    return figure


def _own_time_s(client: Client) -> tuple[float, float]:
    """Return what the client does before its first byte and after its last: any Python client does something."""
    before_ns, after_ns = [], []
    for _ in range(300):
        began_ns = time.perf_counter_ns()
        exchange = client.sample().exchange
        ended_ns = time.perf_counter_ns()
        before_ns.append(exchange.started_ns - began_ns)
        after_ns.append(ended_ns - exchange.started_ns - exchange.duration_ms * 1e6)
    return statistics.median(before_ns) / 1e9, statistics.median(after_ns) / 1e9


def _spin(duration_s: float) -> None:
    end_s = time.perf_counter() + duration_s
    while time.perf_counter() < end_s:
        pass


class _UntimedConnection(Connection):
    """The same connection, deadline and all, that looks at no clock for its own sake."""

    def _send(self, request: bytes) -> str:
        return self._write(request)[1]

    def _read(self, patience_s: float | None) -> bytes | None:
        return self._receive(patience_s)


_NO_PHASES = Phases(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def _unmeasured(of: Caller, outcome: object, timestamps: Timestamps, retried: bool) -> Exchange:
    """Say the same of the connection, and nothing of time."""
    connection = of._connection
    assert connection is not None
    assert isinstance(outcome, Reply)
    return Exchange(
        started_ns=0,
        timestamp_ns=0,
        duration_ms=0.0,
        phases=_NO_PHASES,
        reused=timestamps.reused,
        retried=retried,
        http_version=outcome.http_version,
        peer=connection.peer,
        tls_version=connection.tls_version,
        tcp_rtt_ms=0.0,
        tcp_retransmits=None,
    )


def cost_of_timing() -> Iterator[Figure]:
    """Compare a whole ping with one over the same transport without its clocks and its TCP_INFO."""
    with static() as served, Client(served.target) as timed, Client(served.target) as untimed:
        with (
            patch.object(caller, "Connection", _UntimedConnection),
            patch.object(Caller, "_measured", _unmeasured),
        ):
            untimed.sample()

        def calls_ms(client: Client, count: int) -> float:
            began_ns = time.perf_counter_ns()
            for _ in range(count):
                client.sample()
            return (time.perf_counter_ns() - began_ns) / 1e6 / count

        def with_clocks() -> float:
            return calls_ms(timed, 100)

        def without_clocks() -> float:
            with patch.object(Caller, "_measured", _unmeasured):
                return calls_ms(untimed, 100)

        name = "a timed ping / the same transport without the timing"
        yield ratio(name, with_clocks, without_clocks, blocks=100, at_most=1.05, unit=" ms")


FIGURES: tuple[Callable[[], Iterator[Figure]], ...] = (against_raw_socket, at_a_slow_server, cost_of_timing)
