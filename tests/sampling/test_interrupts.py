"""Given Ctrl-C at any moment, and again, a series ends with its rows."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from donutwork_magics import Interrupted, SettingsError, collect, load
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.interrupts import interrupts
from donutwork_magics.sampling.journal import Journal
from donutwork_magics.sampling.rows import Rows
from tests.servers import Server, answer, reply
from tests.support.processes import has_ended, until
from tests.support.tables import RUN, about

KEY = "dw_test_Kx81mZq0vTnR57yE"


def interrupt_again_and_again(file: Path, first_s: float, for_s: float) -> threading.Thread:
    """Begin a while after the first rows are in the file: an earlier interrupt is not for the series."""

    def send() -> None:
        while not file.exists() or file.stat().st_size < 3000:
            time.sleep(0.01)
        time.sleep(first_s)
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.002)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.slow
def test_many_interrupts_lose_no_more_than_one(tmp_path: Path) -> None:
    chance = random.Random(1)
    with Server(answer(reply())) as server:
        target = sandbox_target(server.url, KEY, None)
        for number in range(15):
            file = tmp_path / f"{number}.jsonl"
            with contextlib.suppress(KeyboardInterrupt), interrupts():
                # Those that come when the series has ended are not its business.
                thread = interrupt_again_and_again(file, chance.uniform(0.0, 0.1), 0.3)
                with pytest.raises(Interrupted, match=r"rows are kept in the df of this error\.$") as caught:
                    collect(10**6, rate_hz=200, concurrency=1 + number % 3, target=target, journal=file)
                thread.join()
            assert len(caught.value.df) > 5
            assert about(caught.value.df)["ended"] == "interrupted"
            assert load(file).equals(caught.value.df)


def test_one_that_comes_when_all_is_done_keeps_the_rows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from donutwork_magics.frame import table as module

    def interrupted(rows: Rows, runs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
        signal.raise_signal(signal.SIGINT)
        return made(rows, runs)

    made = module.table_of
    monkeypatch.setattr(module, "table_of", interrupted)
    with Server(answer(reply())) as server, pytest.raises(Interrupted, match="3 rows are kept") as caught:
        collect(3, rate_hz=None, target=sandbox_target(server.url, KEY, None))
    assert len(caught.value.df) == 3
    assert about(caught.value.df)["ended"] is None


def test_what_was_there_before_is_there_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    held_back = []
    with contextlib.suppress(KeyboardInterrupt), interrupts() as seen:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        held_back.append(seen.is_set())
    assert held_back == [True]
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_another_thread_than_the_main_one_leaves_signals_alone() -> None:
    seen: list[bool] = []

    def enter() -> None:
        with interrupts() as came:
            seen.append(came.is_set())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [False]


FORKING = """
import os, signal, sys, threading, time
from donutwork_magics import collect
from donutwork_magics.client.settings import sandbox_target
url, key, file, how = sys.argv[1:]

def fork_while_it_pings():
    while not os.path.exists(file) or os.path.getsize(file) < 3000:
        time.sleep(0.01)
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    print(pid, flush=True)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)

forking = threading.Thread(target=fork_while_it_pings)
forking.start()
target = sandbox_target(url, key, None)
collect(200, rate_hz=100, target=target, journal=file)
forking.join()
print(len(collect(3, rate_hz=100, target=target, journal=file)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.parametrize("how", ["ended", "killed"])
def test_a_forked_child_keeps_no_journal_to_itself(tmp_path: Path, how: str) -> None:
    file = tmp_path / "run.jsonl"
    command = [sys.executable, "-W", "ignore", "-c", FORKING]
    with (
        Server(answer(reply())) as server,
        subprocess.Popen([*command, server.url, KEY, file, how], stdout=subprocess.PIPE, text=True) as parent,
    ):
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert parent.wait(60) == (0 if how == "ended" else -signal.SIGKILL)
            # Where it was killed, its prober notices, though the child has the pipes to it.
            until(lambda: is_free(file))
            assert not has_ended(child)
            if how == "ended":
                # The child has the pipe too, so that there is no end to be read.
                assert parent.stdout.readline() == "3\n"
        finally:
            os.kill(child, signal.SIGKILL)
    rows = len(load(file))
    assert rows == 203 if how == "ended" else rows > 3


def is_free(file: Path) -> bool:
    try:
        Journal(file, RUN).close()
    except SettingsError:
        return False
    return True
