"""Given a pause of this machine, a stall of the server or both, the run says which it was."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from donutwork_magics import collect
from donutwork_magics.client.settings import sandbox_target
from tests.servers import Server, answer, read_request, reply

KEY = "dw_test_Kx81mZq0vTnR57yE"
PAUSE_S = 1.5
SCRIPT = """
import json, sys
from donutwork_magics import collect
from donutwork_magics.client.settings import sandbox_target
from tests.support.tables import about
df = collect(65, rate_hz=10, target=sandbox_target(sys.argv[1], sys.argv[2], None))
attrs = df.attrs["donutwork"]
rows = df[["scheduled_ms", "started_ms", "duration_ms"]].to_dict("list")
print(json.dumps([attrs["machine_pauses"], rows, repr(df.donutwork)]))
"""
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

TOOK_LONG = "Some pings began late, behind others that took long, or timed out."
NOT_THE_API = "Pings began late because of that, not because of the API."


@dataclass
class Told:
    """What a run says of itself."""

    pauses: dict[str, Any]
    rows: dict[str, list[float]]
    card: str


def told_by_a_process(stop: Callable[[socket.socket, Callable[[], None]], None], *, stall_at: int = 0) -> Told:
    """Collect in a process of its own, which its server can stop for a while.

    Parameters
    ----------
    stop
        Answers the 20th request, and calls what it is given to stop the process.
    stall_at
        Before this request is answered, the server takes as long as a pause.
    """
    children: list[subprocess.Popen[str]] = []

    def pause() -> None:
        os.kill(children[0].pid, signal.SIGSTOP)
        time.sleep(PAUSE_S)
        os.kill(children[0].pid, signal.SIGCONT)

    def handler(connection: socket.socket) -> None:
        number = 0
        while read_request(connection):
            number += 1
            if number == 20:
                stop(connection, pause)
                continue
            if number == stall_at:
                time.sleep(PAUSE_S)
            connection.sendall(reply())

    with Server(handler) as server:
        child = subprocess.Popen([sys.executable, "-c", SCRIPT, server.url, KEY], stdout=subprocess.PIPE, text=True)
        children.append(child)
        try:
            output, _ = child.communicate(timeout=60)
        finally:
            child.kill()
            child.wait()
    pauses, rows, card = json.loads(output)
    return Told(pauses, rows, " ".join(card.split()))


def while_waiting(connection: socket.socket, pause: Callable[[], None]) -> None:
    connection.sendall(reply())
    # The next ping is due in 100 ms.
    time.sleep(0.03)
    pause()


def while_receiving(connection: socket.socket, pause: Callable[[], None]) -> None:
    pause()
    connection.sendall(reply())


@posix_only
def test_a_process_that_was_stopped_between_pings_does_not_blame_the_api() -> None:
    told = told_by_a_process(while_waiting)
    assert told.pauses["longest_s"] == pytest.approx(PAUSE_S, abs=0.5)
    assert told.pauses["longest_s"] <= told.pauses["total_s"]
    at_s, pause_s = max(told.pauses["first"], key=lambda pause: pause[1])
    assert pause_s == told.pauses["longest_s"]
    # It ended as the next ping began, late.
    assert at_s + pause_s == pytest.approx(told.rows["started_ms"][20] / 1e3, abs=0.2)
    assert "This machine stood still" in told.card
    assert NOT_THE_API in told.card
    assert "Corrected, what a punctual caller would have waited:" in told.card
    assert "behind others" not in told.card
    assert "not reached" not in told.card
    assert "Machine pauses" in told.card


@posix_only
def test_a_process_that_was_stopped_within_a_ping_says_that_its_duration_contains_it() -> None:
    told = told_by_a_process(while_receiving)
    assert told.rows["duration_ms"][19] >= 1400
    assert told.pauses["longest_s"] == pytest.approx(PAUSE_S, abs=0.5)
    assert "This machine stood still" in told.card
    assert "The duration of 1 ping contains such a pause." in told.card
    assert "behind others" not in told.card


@posix_only
def test_a_pause_of_this_machine_and_a_stall_of_the_server_are_both_said() -> None:
    told = told_by_a_process(while_waiting, stall_at=40)
    assert "This machine stood still" in told.card
    assert "Some pings began late because of that." in told.card
    assert TOOK_LONG in told.card
    assert "not because of the API" not in told.card


def test_a_stall_of_the_server_is_told_as_that() -> None:
    def handler(connection: socket.socket) -> None:
        number = 0
        while read_request(connection):
            number += 1
            if number == 20:
                time.sleep(PAUSE_S)
            connection.sendall(reply())

    with Server(handler) as server:
        df = collect(65, rate_hz=10, target=sandbox_target(server.url, KEY, None))
    # A machine under load may stand still for a tenth of a second, and never for as long as the server did.
    assert about(df)["machine_pauses"]["longest_s"] < PAUSE_S / 2
    card = " ".join(repr(df.donutwork).split())
    assert TOOK_LONG in card
    assert "not because of the API" not in card


@posix_only
def test_pauses_too_short_to_be_listed_are_not_blamed_on_other_pings() -> None:
    over = threading.Event()

    def hold() -> None:
        # A function of a `PyDLL` keeps the interpreter lock.
        usleep = ctypes.PyDLL(None).usleep
        while not over.wait(0.13):
            usleep(80_000)

    holder = threading.Thread(target=hold)
    with Server(answer(reply())) as server:
        holder.start()
        try:
            df = collect(65, rate_hz=10, target=sandbox_target(server.url, KEY, None))
        finally:
            over.set()
            holder.join()
    card = " ".join(repr(df.donutwork).split())
    assert "Some pings began late, though none before them took that long" in card
    assert "behind others" not in card
