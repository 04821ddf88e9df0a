"""Given a client that is in its own way, the run says so; given one that is not, it does not."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest
from donutwork_magics.sampling.switching import PROMPT_S, prompt_switching

from donutwork_magics import collect
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.sampling import client_load
from donutwork_magics.sampling.client_load import BUSY_CPU_SHARE, SATURATED_CPU_SHARE, ClientLoad
from tests.servers import Server, answer, read_request, reply
from tests.support.tables import about

KEY = "dw_test_Kx81mZq0vTnR57yE"


def load_of(df: pd.DataFrame) -> dict[str, Any]:
    (load,) = about(df)["client"]
    assert isinstance(load, dict)
    return load


@contextmanager
def busy_thread() -> Iterator[None]:
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(answer(reply())) as server:
        yield server


def gentle(server: Server) -> pd.DataFrame:
    return collect(40, rate_hz=50, target=sandbox_target(server.url, KEY, None))


@pytest.mark.timed
def test_a_gentle_series_saturates_nothing(server: Server) -> None:
    load = load_of(gentle(server))
    assert "client_saturated" not in load["notices"]
    assert 0 < load["own_p50_ms"] <= load["own_p95_ms"] < 50
    assert 0 < load["cpu_share"] < SATURATED_CPU_SHARE
    assert load["wakes"] >= 30


@pytest.mark.timed
def test_a_busy_thread_beside_it_is_noticed_and_said_in_the_card(server: Server) -> None:
    with busy_thread():
        df = gentle(server)
    load = load_of(df)
    assert "machine_busy" in load["notices"]
    assert load["other_cpu_share"] > BUSY_CPU_SHARE
    assert "other threads of this kernel took" in repr(df.donutwork).replace("\n  ", " ")


@pytest.mark.timed
def test_a_client_at_its_limit_is_noticed_and_said_in_the_card(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a loaded machine nobody gets half a core.
    monkeypatch.setattr(client_load, "SATURATED_CPU_SHARE", 0.1)
    df = collect(3000, rate_hz=None, concurrency=4, target=sandbox_target(server.url, KEY, None))
    assert load_of(df)["cpu_share"] > 0.1
    assert "client_saturated" in load_of(df)["notices"]
    assert "The client was at its limit" in repr(df.donutwork)


@pytest.mark.parametrize(
    ("load", "notices"),
    [
        (ClientLoad(0.1, 0.2, 0.01, 0.1, 0.1, 0.0, 100), []),
        (ClientLoad(0.1, 0.2, 0.01, 0.1, 0.5, 0.0, 100), ["client_saturated"]),
        (ClientLoad(0.1, 0.2, 0.01, 2.0, 0.1, 0.0, 100), ["machine_busy"]),
        (ClientLoad(0.1, 0.2, 0.01, 2.0, 0.1, 0.0, 3), []),
        (ClientLoad(0.1, 0.2, 0.01, 0.1, 0.9, 0.2, 0), ["client_saturated", "machine_busy"]),
    ],
)
def test_what_is_noticed(load: ClientLoad, notices: list[str]) -> None:
    assert load.notices == notices
    assert load.as_attrs()["notices"] == notices


def test_the_interpreter_switches_promptly_while_pings_are_taken_and_as_before_afterwards() -> None:
    before_s = sys.getswitchinterval()
    seen_s = []

    def look(connection: socket.socket) -> None:
        seen_s.append(sys.getswitchinterval())
        answer(reply())(connection)

    with Server(look) as server:
        gentle(server)
    assert seen_s == [pytest.approx(PROMPT_S)]
    assert sys.getswitchinterval() == before_s


def test_the_last_of_several_restores_the_interval() -> None:
    before_s = sys.getswitchinterval()
    with prompt_switching():
        with prompt_switching():
            pass
        assert sys.getswitchinterval() == pytest.approx(PROMPT_S)
    assert sys.getswitchinterval() == before_s


@pytest.mark.timed
def test_beside_a_busy_thread_a_reply_does_not_wait_for_the_usual_interval() -> None:
    # The server is another process's in real life; here it only needs to be slower than the interpreter.
    def handler(connection: socket.socket) -> None:
        while read_request(connection):
            time.sleep(0.02)
            connection.sendall(reply())

    with Server(handler) as server, busy_thread():
        target = sandbox_target(server.url, KEY, None)
        df = collect(30, rate_hz=None, target=target)
    # With the usual 5 ms at each hand-over, and several a ping, the median would be beyond 30 ms.
    assert df["duration_ms"].median() < 30
