"""Given a host that has had enough, everything that calls it rests, and each plan is shifted by that rest alone."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from donutwork_magics import collect, load
from donutwork_magics.client.key import ApiKey
from donutwork_magics.client.settings import Target, Variables, sandbox_target
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.schedule import RateLimit, SharedMemory, rate_limit_of
from donutwork_magics.sampling.series import Series
from tests.servers import Handler, Server, read_request, reply
from tests.support.processes import until
from tests.support.recordings import KEY, carried_out, running, table, target_of
from tests.support.tables import about

pytestmark = pytest.mark.slow

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows shares memory by name, and has no 0.0.0.0")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock that stands still unless it is set."""
    now_ns = [10**12]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now_ns[0])
    return now_ns


def rest_s(limit: RateLimit, asked_s: float) -> float:
    """Ask for a rest, and return by how much that extends the one under way."""
    from_ns = max(time.perf_counter_ns(), limit.rests_until_ns)
    limit.rest(asked_s)
    return max(0, limit.rests_until_ns - from_ns) / 1e9


@pytest.mark.parametrize("asked_s", [2.0, 60.0, 120.0])
def test_what_it_asks_for_is_the_least(asked_s: float) -> None:
    limit = RateLimit()
    began_ns = time.perf_counter_ns()
    limit.rest(asked_s)
    assert limit.rests_until_ns - began_ns >= asked_s * 1e9


def test_without_a_wish_the_rests_grow_with_full_jitter(clock: list[int]) -> None:
    seen_s = []
    for _ in range(300):
        limit = RateLimit()
        rests_s = []
        for _ in range(10):
            clock[0] = max(clock[0], limit.rests_until_ns)
            rests_s.append(rest_s(limit, 0.0))
        seen_s.append(rests_s)
    # Anything from nothing up to a bound that doubles, and is capped.
    bounds_s = [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    for column, bound_s in zip(zip(*seen_s, strict=True), bounds_s, strict=True):
        assert 0.9 * bound_s < max(column) <= bound_s
        assert min(column) < 0.1 * bound_s


def test_calls_that_were_refused_together_count_once_and_their_rests_are_one(clock: list[int]) -> None:
    limit = RateLimit()
    rests_s = [rest_s(limit, 3.0) for _ in range(8)]
    assert rests_s == [3.0, *[0.0] * 7]
    assert rest_s(limit, 5.0) == 2.0
    # Had each counted, a rest of up to 30 s would follow.
    clock[0] = limit.rests_until_ns
    assert rest_s(limit, 0.0) <= 1.0


def test_an_answer_as_usual_makes_it_forget(clock: list[int]) -> None:
    limit = RateLimit()
    for _ in range(8):
        clock[0] = max(clock[0], limit.rests_until_ns)
        limit.rest(0.0)
    limit.forgive()
    clock[0] = limit.rests_until_ns
    assert rest_s(limit, 0.0) <= 0.5


def test_a_server_that_refuses_for_days_is_rested_from_no_longer_than_the_cap(clock: list[int]) -> None:
    limit = RateLimit()
    for _ in range(3000):
        clock[0] = max(clock[0], limit.rests_until_ns)
        assert rest_s(limit, 0.0) <= 30.0


def test_twenty_a_second_and_no_more(clock: list[int]) -> None:
    limit = RateLimit()
    begun_ns = []
    for _ in itertools.count():
        if limit.take():
            begun_ns.append(clock[0])
        clock[0] += 1_000_000
        if clock[0] >= 10**12 + 3 * 10**9:
            break
    assert 60 <= len(begun_ns) <= 61
    assert max(sum(at <= other < at + 10**9 for other in begun_ns) for at in begun_ns) <= 21


def within_a_second(begun_s: list[float]) -> list[int]:
    """Count, for each call, those of the second that begins with it."""
    return [sum(at_s <= other_s < at_s + 1 for other_s in begun_s) for at_s in begun_s]


def test_each_origin_has_its_own() -> None:
    memory = SharedMemory()
    one, other = (rate_limit_of(sandbox_target(f"http://127.0.0.1:{port}", KEY, None), memory) for port in (1, 2))
    again = rate_limit_of(sandbox_target("http://127.0.0.1:1/v2", KEY, None), memory)
    one.rest(1.0)
    assert again.rests_until_ns == one.rests_until_ns > time.perf_counter_ns()
    assert other.rests_until_ns < time.perf_counter_ns()


@posix_only
def test_memory_that_nobody_has_any_more_keeps_no_file_open() -> None:
    RateLimit()
    gc.collect()
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - a Path would open one more
    for _ in range(20):
        RateLimit().rest(1.0)
    gc.collect()
    assert len(os.listdir("/dev/fd")) <= before  # noqa: PTH208


COUNTING = """
import sys
from donutwork_magics.sampling.schedule import RateLimit, SharedMemory
limit = RateLimit(SharedMemory(sys.argv[1]), 3)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    limit.count()
"""


@posix_only
def test_no_call_is_forgotten_that_processes_count_at_the_same_time() -> None:
    memory, calls = SharedMemory(), 50_000
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", COUNTING, memory.handle, str(calls)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    pass_fds=[memory.file],
                )
            )
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        began_ns = time.perf_counter_ns()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
    assert [process.returncode for process in processes] == [0, 0, 0]
    # Each of them takes a twentieth of a second, after which the next may come a little earlier.
    assert (RateLimit(memory, 3).next_ns() - began_ns) / 1e9 >= 3 * calls / 20 - 0.02


@posix_only
def test_runs_that_call_the_same_host_have_twenty_a_second_together() -> None:
    requests_s: list[float] = []
    lock = threading.Lock()

    def handler(connection: socket.socket) -> None:
        while read_request(connection):
            with lock:
                requests_s.append(time.perf_counter())
            connection.sendall(reply())

    variables = Variables("DONUTWORK_API_KEY", "DONUTWORK_BASE_URL")
    with Server(handler) as server:
        # It leads to this machine, and is none of the names under which that need not be spared.
        target = Target(httpx.URL(f"http://0.0.0.0:{server.port}"), ApiKey(KEY, variables.key), variables)
        assert not target.is_loopback
        with ThreadPoolExecutor() as runs:
            dfs = list(runs.map(lambda _: collect(duration_s=2.5, rate_hz=20, target=target), range(2)))
    assert server.connections == 2
    assert all(df["error"].isna().all() and len(df) > 5 for df in dfs)
    # On a machine under load, one of them begins later than the other.
    assert 15 <= len(requests_s) <= 20 * (requests_s[-1] - requests_s[0]) + 5
    # A request that was late by a little is seen late by the server, as two that follow it are not.
    assert max(within_a_second(requests_s)) <= 23


BUSY = reply(b"", "503 Service Unavailable", "Retry-After: 1")
BUSY_FOR_LONGER = reply(b"", "503 Service Unavailable", "Retry-After: 3")


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


def refuse_once(number: int, busy: bytes = BUSY, *, connections: int = 1) -> Handler:
    """Refuse one request of all connections together, counted from when there are so many."""
    lock = threading.Lock()
    count = connected = 0

    def handler(connection: socket.socket) -> None:
        nonlocal count, connected
        with lock:
            connected += 1
        while read_request(connection):
            with lock:
                count += connected >= connections
                refused = count == number
                # Once only.
                count += refused
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


def test_a_rest_is_told_by_each_run_that_it_holds_back() -> None:
    with Server(refuse_once(5, connections=2)) as server:
        target = target_of(server)
        with running(Series(Plan(count=10**6, rate_hz=50, label="other"), target)) as other:
            until(lambda: other.done > 0)
            # Refused is the one or the other: both rest, each in a process of its own.
            asked = carried_out(Series(Plan(count=30, rate_hz=50, label="asked"), target))
            until(lambda: other.attrs["pauses"]["count"] == 1)
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
