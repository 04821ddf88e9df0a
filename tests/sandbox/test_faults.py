"""Given --latency, --server-time, --fault and --seed, what the client meets is what was asked for."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from donutwork_magics import collect
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.errors import KINDS
from donutwork_magics.grammar.commands import SandboxOptions
from donutwork_magics.grammar.values import ALIASES, FAULTS, SLOW_S
from donutwork_magics.sandbox.api import Behaviour, Draw
from donutwork_magics.sandbox.process import Sandbox

from .conftest import CONNECTION, PING, Start, address, ask

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("fault", "status"),
    [("unauthorized", 401), ("forbidden", 403), ("not_found", 404), ("server_error", 500)],
)
def test_a_status_fault_is_that_status_with_an_error(start: Start, fault: str, status: int) -> None:
    answer = ask(start(faults=(f"{fault}:1",)))

    assert answer.status == status
    assert set(answer.json) == {"error"}
    assert "retry-after" not in answer.headers


def test_rate_limited_is_a_429_that_says_when_to_come_back(start: Start) -> None:
    answer = ask(start(faults=("rate_limited:1",), retry_after_s=7))

    assert (answer.status, answer.headers["retry-after"]) == (429, "7")


def test_redirect_is_a_302_to_another_path(start: Start) -> None:
    answer = ask(start(faults=("redirect:1",)))

    assert answer.status == 302
    assert answer.headers["location"].startswith("/")
    assert answer.headers["location"] not in {PING, CONNECTION}


@pytest.mark.parametrize("path", [PING, CONNECTION])
def test_invalid_body_is_a_200_whose_json_is_cut_off_at_its_right_length(start: Start, path: str) -> None:
    answer = ask(start(faults=("invalid_body:1",)), path)

    assert (answer.status, int(answer.headers["content-length"])) == (200, len(answer.text))
    assert answer.text.startswith("{")
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)


def test_schema_is_a_200_that_breaks_what_is_documented(start: Start) -> None:
    sandbox = start(faults=("schema:1",))
    ping, connection = ask(sandbox, PING), ask(sandbox, CONNECTION)

    assert (ping.status, connection.status) == (200, 200)
    assert ping.json["status"] != "success"
    assert "endpoint" not in connection.json


def test_a_spoilt_body_is_not_given_to_a_wrong_key(start: Start) -> None:
    assert ask(start(faults=("schema:1",)), headers={"Authorization": "Bearer wrong"}).status == 401


def test_connection_lost_is_a_reset_before_any_byte_of_a_reply(start: Start) -> None:
    with pytest.raises(ConnectionResetError):
        ask(start(faults=("connection_lost:1",)))


def test_timeout_never_answers_and_the_sandbox_goes_on(start: Start) -> None:
    sandbox = start(faults=("timeout:0.5",), seed=1)
    fates: list[int | str] = []
    for _ in range(8):
        with closing(http.client.HTTPConnection(*address(sandbox), timeout=0.1)) as connection:
            connection.request("GET", PING)
            try:
                fates.append(connection.getresponse().status)
            except TimeoutError:
                fates.append("timeout")

    assert set(fates) == {401, "timeout"}


def test_timeout_lets_go_when_the_client_does(start: Start) -> None:
    sandbox = start(faults=("timeout:1",))
    with closing(socket.create_connection(address(sandbox), timeout=5)) as client:
        client.sendall(f"GET {PING} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        client.shutdown(socket.SHUT_WR)

        assert client.recv(1) == b""


def test_the_injected_faults_are_outcomes_of_the_table() -> None:
    assert set(FAULTS) == {
        "unauthorized",
        "forbidden",
        "rate_limited",
        "server_error",
        "invalid_body",
        "schema",
        "not_found",
        "redirect",
        "connection_lost",
        "timeout",
        "slow",
    }
    assert set(FAULTS) - {"slow"} <= set(KINDS)
    assert ALIASES == {"reset": "connection_lost", "hang": "timeout"}


def test_reset_and_hang_are_words_for_what_the_server_does(start: Start) -> None:
    with pytest.raises(ConnectionResetError):
        ask(start(faults=("reset:1",)))
    hanging = start(faults=("hang:1",))
    with closing(http.client.HTTPConnection(*address(hanging), timeout=0.3)) as connection:
        connection.request("GET", PING)
        with pytest.raises(TimeoutError):
            connection.getresponse()


def test_slow_is_a_good_reply_whose_server_took_a_second_longer(start: Start) -> None:
    sandbox = start(faults=("slow:0.2",), seed=5)
    answers = [ask(sandbox) for _ in range(12)]
    expected = [draw.server_time_s for draw in draws(None, None, "slow:0.2", seed=5, count=12)]

    assert {answer.status for answer in answers} == {200}
    assert [answer.rrt_ms >= SLOW_S * 1e3 for answer in answers] == [time_s == SLOW_S for time_s in expected]
    assert 0 < expected.count(SLOW_S) < 5


def test_a_series_says_what_was_injected(start: Start) -> None:
    sandbox = start(faults=("reset:0.2", "hang:0.2", "slow:0.2"), seed=3)
    target = sandbox_target(sandbox.url, sandbox.key_for(), None)
    df = collect(16, rate_hz=None, concurrency=8, cold=True, timeout_s=SLOW_S + 0.3, target=target)
    expected = Counter(
        (draw.fault, draw.server_time_s == SLOW_S)
        for draw in draws(None, None, "reset:0.2", "hang:0.2", "slow:0.2", seed=3, count=16)
    )

    errors = df.error.astype(object).where(df.error.notna(), None)
    assert Counter(zip(errors, df.rrt_ms >= SLOW_S * 1e3, strict=True)) == expected
    assert set(expected) == {(None, False), (None, True), ("timeout", False), ("connection_lost", False)}


def test_slow_replies_are_the_same_ones_each_time_and_leave_other_faults_as_they_were() -> None:
    plain = draws("20ms/60ms", "1ms/2ms", "schema:0.3")
    slow = draws("20ms/60ms", "1ms/2ms", "schema:0.3", "slow:0.1")
    added = [round(after.server_time_s - before.server_time_s, 9) for before, after in zip(plain, slow, strict=True)]

    assert slow == draws("20ms/60ms", "1ms/2ms", "schema:0.3", "slow:0.1")
    assert [draw.fault for draw in slow] == [draw.fault for draw in plain]
    assert [draw.latency_s for draw in slow] == [draw.latency_s for draw in plain]
    assert set(added) == {0, SLOW_S}
    assert added.count(SLOW_S) == pytest.approx(100, rel=0.3)


def test_latency_is_outside_the_servers_own_time(start: Start) -> None:
    sandbox = start(latency="50ms")
    begin_s = time.perf_counter()
    answers = [ask(sandbox) for _ in range(3)]
    waited_ms = (time.perf_counter() - begin_s) * 1e3

    assert waited_ms >= 3 * 49
    assert min(answer.rrt_ms for answer in answers) < 25


def test_server_time_is_inside_the_servers_own_time_and_is_the_real_one(start: Start) -> None:
    answer = ask(start(server_time="20ms"))

    assert answer.rrt_ms >= 19.9


@pytest.mark.parametrize("option", ["latency", "server_time"])
def test_a_failed_call_takes_its_time_too(start: Start, option: str) -> None:
    sandbox = start(faults=("server_error:1",), **{option: "30ms"})
    begin_s = time.perf_counter()

    assert ask(sandbox).status == 500
    assert time.perf_counter() - begin_s >= 0.029


def test_all_requests_of_a_stall_hang_until_its_end_and_rrt_holds_the_wait(start: Start) -> None:
    began_s = time.monotonic()
    sandbox = start(stalls=("1500ms@500ms",), latency="1ms", server_time="1ms")
    before = ask(sandbox)
    with ThreadPoolExecutor(3) as pool:
        time.sleep(max(0.0, began_s + 1.2 - time.monotonic()))
        asked_s = time.monotonic()
        held = list(pool.map(lambda _: ask(sandbox), range(3)))
    waited_ms = (time.monotonic() - asked_s) * 1e3
    after = ask(sandbox)

    assert min(answer.rrt_ms for answer in held) > 300
    assert max(answer.rrt_ms for answer in held) <= waited_ms
    assert max(before.rrt_ms, after.rrt_ms) < 300
    assert {answer.status for answer in held} == {200}


def test_a_request_that_is_being_answered_when_a_stall_begins_hangs_too(start: Start) -> None:
    sandbox = start(stalls=("700ms@300ms",), server_time="400ms")

    assert ask(sandbox).rrt_ms > 500


def test_stalls_may_follow_each_other_and_overlap() -> None:
    stalled = Behaviour(SandboxOptions(stalls=("2s@10s", "5s@11s", "1s@16s")), seed=1)

    assert [stalled.stalled_s(now_s) for now_s in (9.9, 10.0, 11.0, 15.5, 16.0, 17.0)] == [0, 2, 5, 0.5, 1, 0]
    assert Behaviour(SandboxOptions(), seed=1).stalled_s(1.0) == 0


@pytest.mark.parametrize(("connections", "rate_hz"), [(1, None), (1, 60.0), (8, None)])
def test_the_k_th_request_meets_the_same_whatever_the_timing_and_the_number_of_connections(
    start: Start, connections: int, rate_hz: float | None
) -> None:
    options = {"server_time": "2ms/20ms", "faults": ("server_error:0.3",), "seed": 11}
    sandbox = start(**options)
    target = sandbox_target(sandbox.url, sandbox.key_for(), None)
    df = collect(40, rate_hz=rate_hz, concurrency=connections, target=target)
    planned = draws(None, "2ms/20ms", "server_error:0.3", seed=11, count=40)

    assert Counter(df.error.astype(object).where(df.error.notna(), None)) == Counter(draw.fault for draw in planned)
    # What failed has no RRT; timers overshoot, and never undershoot by more than the last digit that RRT shows.
    least_ms = sorted(draw.server_time_s * 1e3 for draw in planned if draw.fault is None)
    assert all(took >= least - 0.01 for took, least in zip(sorted(df.rrt_ms.dropna()), least_ms, strict=True))
    if connections == 1:
        errors = [kind if isinstance(kind, str) else None for kind in df.error]
        assert errors == [draw.fault for draw in planned]


def statuses(sandbox: Sandbox, count: int = 30) -> list[int]:
    return [ask(sandbox).status for _ in range(count)]


def test_equal_seeds_give_equal_faults_in_each_run(start: Start) -> None:
    faults = ("server_error:0.3", "rate_limited:0.3")
    first, again, other = (statuses(start(faults=faults, seed=seed)) for seed in (3, 3, 4))

    assert first == again != other
    assert set(first) == {200, 429, 500}


def test_without_a_seed_a_random_one_is_drawn_and_told(start: Start) -> None:
    faults = ("server_error:0.5",)
    first = start(faults=faults)
    again = start(faults=faults, seed=first.seed)

    assert first.options.seed is None
    assert again.seed == first.seed
    assert statuses(first) == statuses(again)


def draws(
    latency: str | None = "20ms/60ms",
    server_time: str | None = "1ms/2ms",
    *faults: str,
    seed: int = 1,
    count: int = 1000,
) -> list[Draw]:
    behaviour = Behaviour(SandboxOptions(latency, server_time, faults), seed)
    return [behaviour.draw() for _ in range(count)]


def test_a_fault_does_not_change_the_delays_nor_a_delay_the_faults() -> None:
    plain, faulty, constant = draws(), draws("20ms/60ms", "1ms/2ms", "schema:0.5"), draws("5ms", "5ms", "schema:0.5")

    def delays(drawn: list[Draw]) -> list[tuple[float, float]]:
        return [(draw.latency_s, draw.server_time_s) for draw in drawn]

    assert delays(plain) == delays(faulty)
    assert [draw.fault for draw in faulty] == [draw.fault for draw in constant]
    assert {draw.fault for draw in faulty} == {None, "schema"}


def test_latency_and_server_time_are_drawn_independently() -> None:
    assert all(draw.latency_s != draw.server_time_s for draw in draws("20ms/60ms", "20ms/60ms"))


def test_a_delay_has_the_median_and_the_95th_percentile_that_were_asked_for() -> None:
    latencies_ms = sorted(draw.latency_s * 1e3 for draw in draws(count=10_000))

    assert latencies_ms[5_000] == pytest.approx(20, rel=0.05)
    assert latencies_ms[9_500] == pytest.approx(60, rel=0.05)


def test_faults_come_in_the_shares_that_were_asked_for() -> None:
    drawn = [draw.fault for draw in draws(None, None, "schema:0.1", "timeout:0.3", count=10_000)]

    assert drawn.count("schema") == pytest.approx(1000, rel=0.1)
    assert drawn.count("timeout") == pytest.approx(3000, rel=0.1)
