"""Given pauses of any number, what is kept of them is bounded and adds up."""

from __future__ import annotations

from donutwork_magics.sampling.pauses import Pauses


def test_of_many_the_first_are_kept_and_all_counted() -> None:
    pauses = Pauses()
    for second in range(1000):
        pauses.add(float(second), second + (0.75 if second == 999 else 0.5))
    assert (pauses.count, pauses.total_s, pauses.longest_s) == (1000, 500.25, 0.75)
    assert pauses.first == [(float(second), 0.5) for second in range(20)]
    assert pauses.as_attrs()["first"][:2] == [[0.0, 0.5], [1.0, 0.5]]


def test_what_several_threads_tell_of_one_pause_is_one_pause() -> None:
    pauses = Pauses()
    for at in (0.0, 10.0):
        pauses.add(at + 1.25, at + 3.0)
        pauses.add(at + 1.0, at + 3.5)
        pauses.add(at + 2.0, at + 3.75)
    assert (pauses.count, pauses.total_s, pauses.longest_s) == (2, 5.5, 2.75)
    assert pauses.first == [(1.0, 2.75), (11.0, 2.75)]


def test_the_latest_of_very_many_is_extended_too() -> None:
    pauses = Pauses()
    for second in range(30):
        pauses.add(float(second), second + 0.5)
    pauses.add(29.25, 29.75)
    assert (pauses.count, pauses.total_s, pauses.longest_s) == (30, 15.25, 0.75)
    assert len(pauses.first) == 20
