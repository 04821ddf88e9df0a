"""Given a cell that keeps the interpreter to itself, a watch goes on beside it; stopped itself, it blames no API."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from tests.shell.watching import number, until
from tests.support.kernel import ABOUT, Kernel

# Each letter doubles the time; it is to take two seconds at least on any machine.
BACKTRACK = """
import re, time
letters, took_s = 18, 0.0
while took_s < 2.0:
    letters += 1 if took_s < 1.0 else 2
    began_s = time.monotonic()
    re.match("(a+)+$", "a" * letters + "b")
    took_s = time.monotonic() - began_s
"""


pytestmark = pytest.mark.usefixtures("no_watch_left")


def test_a_regular_expression_that_backtracks_holds_up_no_ping(sandboxed: Kernel) -> None:
    assert sandboxed.run("w = %donutwork watch -r 20").ok
    until(sandboxed, "w.rows.total >= 20")
    assert sandboxed.run(f"from time import time_ns\n{BACKTRACK}\nuntil_ns = time_ns(); w.stop()\ndf = w.df").ok
    # When the reader of the rows comes to read them, they tell when they were measured.
    sandboxed.run(
        "began_ns = df.timestamp.astype('int64')\nbeside = began_ns.between(until_ns - took_s * 1e9, until_ns)"
    )
    assert number(sandboxed, "10 * beside.sum() / took_s") >= 10 * 20 / 2
    assert sandboxed.value("bool(df[beside].started_ms.diff().max() < 1500)") == "True"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows stops no process")
def test_a_prober_that_was_stopped_is_a_pause_of_this_machine(sandboxed: Kernel) -> None:
    assert sandboxed.run("w = %donutwork watch -r 20").ok
    until(sandboxed, "w.rows.total >= 20")
    prober = number(sandboxed, "w._prober.pid")
    os.kill(prober, signal.SIGSTOP)
    time.sleep(2.5)
    os.kill(prober, signal.SIGCONT)
    until(sandboxed, "w.rows.total >= 100")
    running = " ".join(sandboxed.run("print(repr(w.df.donutwork))").stdout.split())
    assert number(sandboxed, f"{ABOUT}(w.df)['machine_pauses']['longest_s'] >= 1.8")
    assert sandboxed.run("w.stop()").ok
    stopped = " ".join(sandboxed.run("print(repr(w.df.donutwork))").stdout.split())
    for text in (running, stopped):
        assert "This machine stood still" in text
        assert "Pings began late because of that, not because of the API." in text
        assert "behind others" not in text
