"""Given a cell that keeps the interpreter to itself, a watch beside it does not blame the API."""

from __future__ import annotations

import pytest

from tests.shell.watching import number, until
from tests.support.kernel import Kernel

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


@pytest.mark.usefixtures("no_watch_left")
def test_a_regular_expression_that_backtracks_is_a_pause_of_this_machine(sandboxed: Kernel) -> None:
    assert sandboxed.run("w = %donutwork watch -r 5").ok
    until(sandboxed, "w.rows.total >= 20")
    assert sandboxed.run(BACKTRACK).ok
    until(sandboxed, "w.rows.total >= 70")
    running = " ".join(sandboxed.run("print(repr(w.df.donutwork))").stdout.split())
    assert number(sandboxed, "w.df.attrs['donutwork']['machine_pauses']['longest_s'] >= 1.8")
    assert sandboxed.run("w.stop()").ok
    stopped = " ".join(sandboxed.run("print(repr(w.df.donutwork))").stdout.split())
    for text in (running, stopped):
        assert "This machine stood still" in text
        assert "Pings began late because of that, not because of the API." in text
        assert "behind others" not in text
