"""Given pauses of any number, what is kept of them is bounded and adds up."""

from __future__ import annotations

from donutwork_magics.sampling.pauses import Pauses


def test_of_many_the_first_are_kept_and_all_counted() -> None:
    pauses = Pauses()
    for second in range(1000):
        pauses.add(float(second), 0.75 if second == 999 else 0.5)
    assert (pauses.count, pauses.total_s, pauses.longest_s) == (1000, 500.25, 0.75)
    assert pauses.first == [(float(second), 0.5) for second in range(20)]
    assert pauses.as_attrs()["first"][:2] == [[0.0, 0.5], [1.0, 0.5]]
