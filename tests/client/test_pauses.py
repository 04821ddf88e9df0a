"""Given a pause of this machine within a single call, the call says so instead of blaming the API."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from donutwork_magics import Client, Connection, Ping, TimedTransport, pulse
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.display import mimebundle
from donutwork_magics.display.cards import card_of
from donutwork_magics.errors import DonutworkError, OutOfThreadsError
from tests.servers import Handler, Server, answer, answer_api, read_request, reply
from tests.support.pauses import backtrack_for, stop_for

KEY = "dw_test_Kx81mZq0vTnR57yE"
SEEN = (
    b'{"client": {"userAgent": "x", "ips": {"ipv4": "127.0.0.1"}},'
    b' "endpoint": {"apiVersion": "2026-02-01", "env": "staging", "protocol": "HTTP1.1"}}'
)
PAUSE_S = 1.0
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def held_up(hold_up: Callable[[], None], raw: bytes = reply()) -> Handler:
    """Answer every request after something else."""

    def handler(connection: socket.socket) -> None:
        while request := read_request(connection):
            hold_up()
            connection.sendall(reply(SEEN) if b"connection.json" in request else raw)

    return handler


def while_locked() -> None:
    backtrack_for(PAUSE_S)


@contextlib.contextmanager
def client_of(handler: Handler) -> Iterator[Client]:
    with Server(handler) as server, Client(sandbox_target(server.url, KEY, None)) as client:
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("make", [Client.ping, Client.connection])
def test_code_that_keeps_the_interpreter_lock_is_a_pause_of_this_machine(
    make: Callable[[Client], Ping | Connection],
) -> None:
    with client_of(held_up(while_locked)) as client:
        called = make(client)
    assert PAUSE_S * 500 <= called.paused_ms <= called.duration_ms
    card, text = card_of(called), " ".join(mimebundle(called)["text/plain"].split())
    assert card.tone == "warn"
    assert text.startswith("⚠ ")
    assert text.count("This machine stood still for ") == 1
    assert "during the call: that time is in the numbers. Repeat the call." in text


@pytest.mark.slow
def test_a_client_of_httpx_is_told_of_it_too() -> None:
    with Server(held_up(while_locked)) as server, TimedTransport(sandbox_target(server.url, KEY, None)) as transport:
        timing = httpx.Client(transport=transport).get(f"{server.url}/ping.json").extensions["donutwork"]
    assert PAUSE_S * 500 <= timing["paused_ms"] <= timing["duration_ms"]


@pytest.mark.slow
def test_a_pause_is_in_no_figure_of_the_network() -> None:
    with client_of(held_up(while_locked)) as client:
        text = mimebundle(client.ping())["text/plain"]
    assert "–  network: not known, as this machine stood still" in text
    assert "network, outside the server" not in text
    assert "Wait for the first byte" not in text
    assert "unexplained" not in text


@pytest.mark.slow
def test_a_server_that_takes_long_is_no_pause_of_this_machine() -> None:
    with client_of(held_up(lambda: time.sleep(PAUSE_S))) as client:
        ping = client.ping()
    # A machine under load may stand still for a moment, and never for as long as the server did.
    assert ping.paused_ms < PAUSE_S * 500
    assert ping.duration_ms >= PAUSE_S * 1000


CALL = f"""
import sys
from donutwork_magics import Client, DonutworkError
from donutwork_magics.client.settings import sandbox_target
with Client(sandbox_target(sys.argv[1], {KEY!r}, None), timeout_s=float(sys.argv[2])) as client:
    try:
        ping = client.ping()
        print(ping.paused_ms, ping.duration_ms)
    except DonutworkError as error:
        print(error.kind, error)
"""
TIMED_CALL = f"""
import sys
import httpx
from donutwork_magics import TimedTransport
from donutwork_magics.client.settings import sandbox_target
url = sys.argv[1]
with TimedTransport(sandbox_target(url, {KEY!r}, None), timeout_s=float(sys.argv[2])) as transport:
    try:
        httpx.Client(transport=transport).get(url + "/ping.json")
    except httpx.ReadTimeout as error:
        assert error.timing["paused_ms"] > 500
        print(error.kind, str(error).removeprefix("timeout: "))
"""


def stopped_meanwhile(timeout_s: float, call: str = CALL) -> str:
    """Call from a process that is stopped as soon as its request is there."""

    def handler(connection: socket.socket) -> None:
        read_request(connection)
        started.wait()
        stop_for(pids[0], PAUSE_S)
        connection.sendall(reply())

    started, pids = threading.Event(), list[int]()
    with Server(handler) as server:
        command = [sys.executable, "-c", call, server.url, str(timeout_s)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            pids.append(process.pid)
            started.set()
            return process.communicate(timeout=60)[0].strip()


@posix_only
@pytest.mark.slow
def test_a_process_that_was_stopped_is_a_pause_of_this_machine() -> None:
    paused_ms, duration_ms = map(float, stopped_meanwhile(30).split())
    assert PAUSE_S * 500 <= paused_ms <= duration_ms


@posix_only
@pytest.mark.slow
@pytest.mark.parametrize("call", [CALL, TIMED_CALL], ids=["Client", "httpx"])
def test_a_call_that_failed_meanwhile_says_so_in_its_one_line(call: str) -> None:
    kind, _, line = stopped_meanwhile(PAUSE_S / 2, call).partition(" ")
    assert kind == "timeout"
    assert "\n" not in line
    assert line.startswith("No complete reply from the sandbox after ")
    assert line.count("This machine stood still for ") == 1
    assert line.endswith(" during the call: that may be why.")


@pytest.mark.slow
def test_a_refusal_is_not_put_down_to_a_pause() -> None:
    refused = reply(b'{"error": "Invalid token"}', "401 Unauthorized")
    with (
        client_of(held_up(while_locked, refused)) as client,
        pytest.raises(DonutworkError, match="Invalid token") as caught,
    ):
        client.ping()
    assert "stood still" not in str(caught.value)


def test_without_a_further_thread_the_call_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise OutOfThreadsError

    monkeypatch.setattr(pulse, "start_thread", refuse)
    seen: list[str] = []
    with client_of(answer_api(reply(), reply(SEEN), seen)) as client:
        called: list[Ping | Connection] = [client.ping(), client.connection()]
    for each in called:
        assert math.isnan(each.paused_ms)
        assert each.to_dict()["paused_ms"] is None
        assert card_of(each).tone == "ok"
        assert "stood still" not in mimebundle(each)["text/plain"]


def test_no_thread_is_left_of_a_call() -> None:
    def pulses() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name == "donutwork-pulse" and each not in before]

    # A test that has an error rise anywhere leaves some.
    before = threading.enumerate()
    meanwhile: list[list[str]] = []
    with client_of(held_up(lambda: meanwhile.append(pulses()))) as client:
        client.ping()
        client.sample()
    # A ping of a series has none of its own.
    assert meanwhile == [["donutwork-pulse"], []]
    assert pulses() == []


def test_what_a_call_gives_is_json() -> None:
    with client_of(answer(reply())) as client:
        ping = client.ping()
    read = json.loads(json.dumps(ping.to_dict(), allow_nan=False))
    assert read["timestamp"] == ping.timestamp.isoformat()
    assert read["duration_ms"] == ping.duration_ms
    assert (read["host"], read["status"]) == (ping.host, "success")


@pytest.mark.slow
def test_a_pause_that_begins_while_another_is_reported_is_seen_too() -> None:
    reported = []

    def report(from_ns: int, until_ns: int) -> None:
        reported.append((until_ns - from_ns) / 1e9)
        if len(reported) == 1:
            backtrack_for(0.5)

    with pulse.pulse(report):
        backtrack_for(0.5)
        end_s = time.monotonic() + 10
        while len(reported) < 2 and time.monotonic() < end_s:
            time.sleep(0.01)
    assert len(reported) >= 2
