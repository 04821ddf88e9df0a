"""Given a client that is in its own way, the run says so; given one that is not, it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest

from donutwork_magics import collect
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.grammar.commands import SandboxOptions
from donutwork_magics.sampling import client_load
from donutwork_magics.sampling.client_load import SATURATED_CPU_SHARE, ClientLoad
from donutwork_magics.sandbox.process import Sandbox
from tests.servers import Server, answer, reply
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


def test_a_busy_thread_beside_it_takes_nothing_from_the_client() -> None:
    box = Sandbox.start(SandboxOptions())
    try:
        target = sandbox_target(box.url, box.key_for(), None)
        with busy_thread():
            df = collect(100, rate_hz=50, target=target)
    finally:
        box.stop()
    # Had it the interpreter lock of the pings, each of them would wait for the 5 ms of a switch interval.
    assert load_of(df)["wake_p50_ms"] < 2.5
    assert load_of(df)["own_p50_ms"] < 2.5
    assert df["lag_ms"].median() < 2.5


@pytest.mark.usefixtures("in_process")
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
        (ClientLoad(0.1, 0.2, 0.01, 0.1, 0.1, 100), []),
        (ClientLoad(0.1, 0.2, 0.01, 0.1, 0.5, 100), ["client_saturated"]),
        (ClientLoad(0.1, 0.2, 0.01, 2.0, 0.1, 100), ["machine_busy"]),
        (ClientLoad(0.1, 0.2, 0.01, 2.0, 0.1, 3), []),
        (ClientLoad(0.1, 0.2, 0.01, 2.0, 0.9, 100), ["client_saturated", "machine_busy"]),
    ],
)
def test_what_is_noticed(load: ClientLoad, notices: list[str]) -> None:
    assert load.notices == notices
    assert load.as_attrs()["notices"] == notices
