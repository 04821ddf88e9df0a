"""Given a wall clock that is set while a series runs, only the time of day in the rows knows of it."""

from __future__ import annotations

import itertools
import time

import pandas as pd
import pytest

from donutwork_magics import Client, collect
from tests.faults.calls import target_of
from tests.servers import Server, answer, drip, reply

HOUR_NS = 3600 * 10**9
COUNT = 20
RATE_HZ = 50.0


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that somebody sets an hour forward and two back, again and again."""
    now_ns, steps = time.time_ns, itertools.cycle([0, HOUR_NS, -HOUR_NS])
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + next(steps))
    monkeypatch.setattr(time, "time", lambda: time.time_ns() / 1e9)


@pytest.mark.usefixtures("in_process", "stepped")
def test_a_series_keeps_its_durations_and_its_schedule() -> None:
    with Server(answer(reply())) as server:
        began_s = time.perf_counter()
        df = collect(COUNT, rate_hz=RATE_HZ, target=target_of(server.url))
        took_s = time.perf_counter() - began_s
    assert df.error.isna().all()
    # The clock did step: an hour or two between two rows.
    assert (df.timestamp.diff().abs() > pd.Timedelta(minutes=50)).sum() >= COUNT // 2
    assert took_s < 5
    assert df.scheduled_ms.tolist() == pytest.approx([seq / RATE_HZ * 1e3 for seq in range(COUNT)], abs=1e-3)
    phases = ["dns_ms", "connect_ms", "tls_ms", "send_ms", "ttfb_ms", "receive_ms"]
    for name in (*phases, "duration_ms", "corrected_ms"):
        assert df[name].between(0, 1000).all(), name
    assert df.lag_ms.between(-1, 1000).all()
    assert df.started_ms.is_monotonic_increasing
    assert df.network_ms.between(-1, 1000).all()


@pytest.mark.usefixtures("stepped")
def test_a_deadline_is_neither_early_nor_late() -> None:
    with (
        Server(drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")) as server,
        Client(target_of(server.url), timeout_s=0.4) as client,
    ):
        sample = client.sample()
    assert sample.error == "timeout"
    assert 400 <= sample.exchange.duration_ms < 4000


@pytest.mark.usefixtures("in_process", "stepped")
def test_a_rest_that_the_server_asks_for_has_its_length() -> None:
    replies = itertools.chain([reply(b"", "429 Too Many Requests", "Retry-After: 1")], itertools.repeat(reply()))

    def limited(connection: object) -> None:
        answer(next(replies))(connection)  # type: ignore[arg-type]

    with Server(limited) as server:
        df = collect(3, rate_hz=RATE_HZ, cold=True, target=target_of(server.url))
    assert list(df.error.isna()) == [False, True, True]
    assert 1000 <= df.started_ms[1] - df.started_ms[0] < 5000
