"""Given pauses of any number, what is kept of them is bounded and adds up."""

from __future__ import annotations

import re
import time

from donutwork_magics.sampling.machine import Pauses, pulse


def test_of_many_the_first_are_kept_and_all_counted() -> None:
    pauses = Pauses()
    for second in range(1000):
        pauses.add(float(second), 0.75 if second == 999 else 0.5)
    assert (pauses.count, pauses.total_s, pauses.longest_s) == (1000, 500.25, 0.75)
    assert pauses.first == [(float(second), 0.5) for second in range(20)]
    assert pauses.as_attrs()["first"][:2] == [[0.0, 0.5], [1.0, 0.5]]


def test_a_pause_that_begins_while_another_is_reported_is_seen_too() -> None:
    reported = []

    def report(from_ns: int, until_ns: int) -> None:
        reported.append((until_ns - from_ns) / 1e9)
        if len(reported) == 1:
            hold_the_interpreter(0.5)

    with pulse(report):
        hold_the_interpreter(0.5)
        end_s = time.monotonic() + 10
        while len(reported) < 2 and time.monotonic() < end_s:
            time.sleep(0.01)
    assert len(reported) >= 2


def hold_the_interpreter(at_least_s: float) -> None:
    """Keep all other threads waiting; each letter doubles the time that the expression takes."""
    letters, took_s = 16, 0.0
    while took_s < at_least_s:
        letters += 1
        began_s = time.monotonic()
        re.match("(a+)+$", "a" * letters + "b")
        took_s = time.monotonic() - began_s
