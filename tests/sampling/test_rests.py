"""Given a server that asks for a rest, the plan is shifted by that rest alone, in each run that it holds back."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from donutwork_magics import collect, load
from donutwork_magics.client.settings import Target, sandbox_target
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.series import Series
from tests.servers import Handler, Server, read_request, reply
from tests.support.processes import until
from tests.support.recordings import PATIENCE_S, carried_out, running, table
from tests.support.tables import about

KEY = "dw_test_Kx81mZq0vTnR57yE"
BUSY = reply(b"", "503 Service Unavailable", "Retry-After: 1")
BUSY_FOR_LONGER = reply(b"", "503 Service Unavailable", "Retry-After: 3")


def target_of(server: Server) -> Target:
    return sandbox_target(server.url, KEY, None)


def stall_at(number: int, raw: bytes) -> Handler:
    """Take 1.5 s for one of the requests, and answer it with these bytes."""

    def handler(connection: socket.socket) -> None:
        count = 0
        while read_request(connection):
            count += 1
            if count == number:
                time.sleep(1.5)
            connection.sendall(raw if count == number else reply())

    return handler


def refuse_once(number: int, busy: bytes = BUSY) -> Handler:
    """Refuse one request of all connections together."""
    lock = threading.Lock()
    count = 0

    def handler(connection: socket.socket) -> None:
        nonlocal count
        while read_request(connection):
            with lock:
                count += 1
                refused = count == number
            connection.sendall(busy if refused else reply())

    return handler


@pytest.mark.parametrize("raw", [reply(), BUSY], ids=["200", "503"])
def test_a_stall_is_not_forgiven_for_the_rest_that_follows_it(raw: bytes) -> None:
    with Server(stall_at(3, raw)) as server:
        df = collect(20, rate_hz=20, target=target_of(server))
    stalled, after = df.loc[2], df.loc[3]
    assert stalled["duration_ms"] >= 1500
    # Planned 50 ms after the one that stalled.
    assert after["lag_ms"] >= stalled["duration_ms"] - 51
    assert after["corrected_ms"] >= 1400
    pauses = about(df)["pauses"]
    assert pauses["count"] == (1 if raw is BUSY else 0)
    shift_ms = after["scheduled_ms"] - stalled["scheduled_ms"] - 50
    assert shift_ms == pytest.approx(pauses["total_s"] * 1e3, abs=0.01)
    assert shift_ms <= 1000


@pytest.mark.slow
def test_a_rest_is_told_by_each_run_that_it_holds_back() -> None:
    with Server(refuse_once(5)) as server:
        target = target_of(server)
        with running(Series(Plan(duration_s=3.0, rate_hz=50, label="other"), target)) as other:
            until(lambda: other.done > 0)
            # Refused is the one or the other: both rest, each in a process of its own.
            asked = carried_out(Series(Plan(count=30, rate_hz=50, label="asked"), target))
            assert other.over.wait(PATIENCE_S)
    with Server(refuse_once(4, BUSY_FOR_LONGER)) as server:
        # The last ping is refused: that holds back nothing of this run, and the start of the next.
        last = carried_out(Series(Plan(count=4, rate_hz=50), target_of(server)))
        later = carried_out(Series(Plan(count=4, rate_hz=50), target_of(server)))
    assert last.attrs["pauses"]["count"] == 0
    assert sum(run.rows.errors for run in (asked, other, last, later)) == 2
    for run in (asked, other, later):
        pauses = run.attrs["pauses"]
        assert pauses["count"] == 1
        # A part of the rest is over before the next run begins.
        assert 0 < pauses["total_s"] <= (3.0 if run is later else 1.0)
        planned_ms = table(run)["scheduled_ms"].tolist()
        number = len(planned_ms) - 1
        assert planned_ms[-1] == pytest.approx(number * 20 + pauses["total_s"] * 1e3, abs=0.01)
    assert later.attrs["pauses"]["first"][0][0] == pytest.approx(0.0, abs=0.2)


def test_without_a_plan_a_rest_is_told_too() -> None:
    with Server(refuse_once(5)) as server:
        df = collect(10, rate_hz=None, target=target_of(server))
    pauses = about(df)["pauses"]
    assert pauses["count"] == 1
    assert 0.3 < pauses["total_s"] <= 1.0
    assert df["started_ms"].diff().max() >= 1000


def test_the_journal_of_a_run_that_has_not_ended_tells_of_its_rests(tmp_path: Path) -> None:
    file = tmp_path / "pings.jsonl"
    with (
        Server(refuse_once(5)) as server,
        running(Series(Plan(count=10**6, rate_hz=50), target_of(server), journal=file)) as run,
    ):
        until(lambda: run.done > 10)
        attrs = about(load(file))
    assert attrs["ended"] == "unfinished"
    assert attrs["pauses"] == run.attrs["pauses"]
    assert attrs["pauses"]["count"] == 1
