"""Given a pause of this machine, a stall of the server or a client in its own way, the run says which it was."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pytest

from donutwork_magics import collect, probers
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.grammar.commands import SandboxOptions
from donutwork_magics.sampling import machine
from donutwork_magics.sampling.machine import SATURATED_CPU_SHARE, ClientLoad, Pauses
from donutwork_magics.sandbox.process import Sandbox
from tests.servers import Server, answer, read_request, reply
from tests.support.pauses import backtrack_for, stop_for
from tests.support.processes import probers_of
from tests.support.recordings import target_of
from tests.support.tables import about, card_of

pytestmark = pytest.mark.slow

PAUSE_S = 1.5
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

TOOK_LONG = "Some pings began late, behind others that took long, or timed out."
NOT_THE_API = "Pings began late because of that, not because of the API."


def pauses_of(df: pd.DataFrame) -> dict[str, Any]:
    pauses = about(df)["machine_pauses"]
    assert isinstance(pauses, dict)
    return pauses


def pause_prober(seconds: float) -> None:
    """Stop the prober that pings for this process, as a machine that stands still does."""
    [pid] = probers_of()
    stop_for(pid, seconds)


def collected(stop: Callable[[socket.socket], None], *, stall_at: int = 0) -> pd.DataFrame:
    """Collect, and stop the prober for a while.

    Parameters
    ----------
    stop
        Answers the 20th request, and stops the prober.
    stall_at
        Before this request is answered, the server takes as long as a pause.
    """

    def handler(connection: socket.socket) -> None:
        number = 0
        while read_request(connection):
            number += 1
            if number == 20:
                stop(connection)
                continue
            if number == stall_at:
                time.sleep(PAUSE_S)
            connection.sendall(reply())

    probers.end_idle()
    with Server(handler) as server:
        return collect(65, rate_hz=10, target=target_of(server))


def while_waiting(connection: socket.socket) -> None:
    connection.sendall(reply())
    # The next ping is due in 100 ms.
    time.sleep(0.03)
    pause_prober(PAUSE_S)


def while_receiving(connection: socket.socket) -> None:
    pause_prober(PAUSE_S)
    connection.sendall(reply())


@posix_only
def test_a_prober_that_was_stopped_between_pings_does_not_blame_the_api() -> None:
    df = collected(while_waiting)
    pauses, card = pauses_of(df), card_of(df)
    assert pauses["longest_s"] == pytest.approx(PAUSE_S, abs=0.5)
    assert pauses["longest_s"] <= pauses["total_s"]
    assert pauses["longest_s"] == max(pause_s for _, pause_s in pauses["first"])
    # It ended as the next ping began, late. A busy machine may have stood still again.
    began_s = df["started_ms"][20] / 1e3
    assert any(at_s + pause_s == pytest.approx(began_s, abs=0.2) for at_s, pause_s in pauses["first"])
    assert "This machine stood still" in card
    assert NOT_THE_API in card
    assert "Corrected, what a punctual caller would have waited:" in card
    assert "behind others" not in card
    assert "not reached" not in card
    assert "Machine pauses" in card


@posix_only
def test_a_prober_that_was_stopped_within_a_ping_says_that_its_duration_contains_it() -> None:
    df = collected(while_receiving)
    card = card_of(df)
    assert df["duration_ms"][19] >= 1400
    assert pauses_of(df)["longest_s"] == pytest.approx(PAUSE_S, abs=0.5)
    assert "This machine stood still" in card
    assert "The duration of 1 ping contains such a pause." in card
    assert "behind others" not in card


@posix_only
def test_a_pause_of_this_machine_and_a_stall_of_the_server_are_both_said() -> None:
    card = card_of(collected(while_waiting, stall_at=40))
    assert "This machine stood still" in card
    assert "Some pings began late because of that." in card
    assert TOOK_LONG in card
    assert "not because of the API" not in card


def test_a_stall_of_the_server_is_told_as_that() -> None:
    def handler(connection: socket.socket) -> None:
        number = 0
        while read_request(connection):
            number += 1
            if number == 20:
                time.sleep(PAUSE_S)
            connection.sendall(reply())

    with Server(handler) as server:
        df = collect(65, rate_hz=10, target=target_of(server))
    # A machine under load may stand still for a tenth of a second, and never for as long as the server did.
    assert pauses_of(df)["longest_s"] < PAUSE_S / 2
    assert TOOK_LONG in card_of(df)
    assert "not because of the API" not in card_of(df)


@posix_only
def test_pauses_too_short_to_be_listed_are_not_blamed_on_other_pings() -> None:
    over = threading.Event()

    def stop_again_and_again() -> None:
        while not over.wait(0.05):
            if probers_of():
                pause_prober(0.08)

    stopping = threading.Thread(target=stop_again_and_again)
    probers.end_idle()
    with Server(answer(reply())) as server:
        stopping.start()
        try:
            df = collect(65, rate_hz=10, target=target_of(server))
        finally:
            over.set()
            stopping.join()
    assert "Some pings began late, though none before them took that long" in card_of(df)
    assert "behind others" not in card_of(df)


def compute_for(seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        sum(range(1000))


@pytest.mark.parametrize("keep_busy", [compute_for, backtrack_for])
def test_whatever_this_process_does_meanwhile_moves_no_number(keep_busy: Callable[[float], None]) -> None:
    box = Sandbox.start(SandboxOptions())
    try:
        target = sandbox_target(box.url, box.key_for(), None)
        with ThreadPoolExecutor() as aside:
            run = aside.submit(collect, 100, rate_hz=20, target=target)
            while not run.done():
                keep_busy(PAUSE_S)
    finally:
        box.stop()
    df = run.result()
    assert len(df) == 100
    # Other processes may hold up a ping for a moment, and never for so long.
    assert df["lag_ms"].max() < PAUSE_S * 1e3 / 2
    assert df["duration_ms"].max() < PAUSE_S * 1e3 / 2
    assert df["lag_ms"].median() < 5
    assert pauses_of(df)["longest_s"] < PAUSE_S / 2


def test_of_many_the_first_are_kept_and_all_counted() -> None:
    pauses = Pauses()
    for second in range(1000):
        pauses.add(float(second), 0.75 if second == 999 else 0.5)
    assert (pauses.count, pauses.total_s, pauses.longest_s) == (1000, 500.25, 0.75)
    assert pauses.first == [(float(second), 0.5) for second in range(20)]
    assert pauses.as_attrs()["first"][:2] == [[0.0, 0.5], [1.0, 0.5]]


def load_of(df: pd.DataFrame) -> dict[str, Any]:
    (load,) = about(df)["client"]
    assert isinstance(load, dict)
    return load


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(answer(reply())) as server:
        yield server


def gentle(server: Server) -> pd.DataFrame:
    return collect(40, rate_hz=50, target=target_of(server))


@pytest.mark.timed
def test_a_gentle_series_saturates_nothing(server: Server) -> None:
    load = load_of(gentle(server))
    assert "client_saturated" not in load["notices"]
    assert 0 < load["own_p50_ms"] <= load["own_p95_ms"] < 50
    assert 0 < load["cpu_share"] < SATURATED_CPU_SHARE
    assert load["wakes"] >= 30


@pytest.mark.usefixtures("in_process")
def test_a_client_at_its_limit_is_noticed_and_said_in_the_card(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a loaded machine nobody gets half a core.
    monkeypatch.setattr(machine, "SATURATED_CPU_SHARE", 0.1)
    df = collect(3000, rate_hz=None, concurrency=4, target=target_of(server))
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
