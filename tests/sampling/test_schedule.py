"""Given a plan, the starts are those."""

from __future__ import annotations

import threading
import time

import pytest

from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.schedule import Schedule, Slot


def starts(schedule: Schedule) -> list[tuple[Slot, float]]:
    schedule.begin()
    seen = []
    while (slot := schedule.next()) is not None:
        seen.append((slot, (time.perf_counter_ns() - schedule.origin_ns) / 1e9))
    return seen


def test_start_k_is_planned_at_k_by_rate() -> None:
    schedule = Schedule(Plan(count=5, rate_hz=50), loopback=True)
    seen = starts(schedule)
    assert [slot.seq for slot, _ in seen] == [0, 1, 2, 3, 4]
    planned_s = [((slot.scheduled_ns or 0) - schedule.origin_ns) / 1e9 for slot, _ in seen]
    assert planned_s == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08])
    assert all(started_s >= due_s for (_, started_s), due_s in zip(seen, planned_s, strict=True))


def test_a_late_start_is_not_rescheduled() -> None:
    schedule = Schedule(Plan(count=3, rate_hz=100), loopback=True)
    schedule.begin()
    schedule.next()
    time.sleep(0.05)
    slot = schedule.next()
    assert slot is not None
    assert slot.scheduled_ns == schedule.origin_ns + 10_000_000


def test_catching_up_never_exceeds_twenty_a_second_elsewhere() -> None:
    schedule = Schedule(Plan(count=4, rate_hz=20), loopback=False)
    schedule.begin()
    schedule.next()
    time.sleep(0.3)
    began_s = time.monotonic()
    for _ in range(3):
        schedule.next()
    assert time.monotonic() - began_s >= 0.099


def test_a_duration_ends_it() -> None:
    assert len(starts(Schedule(Plan(duration_s=0.2, rate_hz=50), loopback=True))) <= 10


def test_without_a_rate_there_is_no_plan() -> None:
    assert [slot.scheduled_ns for slot, _ in starts(Schedule(Plan(count=3, rate_hz=None), loopback=True))] == [None] * 3


def test_a_pause_shifts_what_is_planned() -> None:
    schedule = Schedule(Plan(count=3, rate_hz=100), loopback=True)
    schedule.begin()
    schedule.next()
    schedule.pause(0.1)
    slots = [schedule.next(), schedule.next()]
    planned_ms = [(slot.scheduled_ns - schedule.origin_ns) / 1e6 for slot in slots if slot and slot.scheduled_ns]
    assert planned_ms[0] >= 100
    assert planned_ms[1] - planned_ms[0] == pytest.approx(10)


def test_a_stop_wakes_whoever_waits() -> None:
    schedule = Schedule(Plan(count=2, rate_hz=0.01), loopback=True)
    schedule.begin()
    schedule.next()
    threading.Timer(0.1, schedule.stop).start()
    began_s = time.monotonic()
    assert schedule.next() is None
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize(
    "wrong",
    [{}, {"count": 0}, {"duration_s": -1.0}, {"count": 1, "rate_hz": 0.0}, {"count": 1, "concurrency": 0}],
)
def test_a_plan_that_is_none(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"count|series"):
        Plan(**wrong)  # type: ignore[arg-type]


def test_a_retry_counts_against_the_rate_of_another_machine() -> None:
    schedule = Schedule(Plan(count=3, rate_hz=20), loopback=False)
    schedule.begin()
    schedule.next()
    time.sleep(0.045)
    schedule.count_retry()
    began_s = time.perf_counter()
    assert schedule.next() is not None
    assert time.perf_counter() - began_s >= 0.0499


def test_a_start_that_was_waited_for_tells_how_late_it_woke() -> None:
    schedule = Schedule(Plan(count=3, rate_hz=50), loopback=True)
    schedule.begin()
    first = schedule.next()
    second = schedule.next()
    time.sleep(0.05)
    third = schedule.next()
    assert first is not None
    assert second is not None
    assert third is not None
    assert second.woken_late_ns is not None
    assert 0 <= second.woken_late_ns < 15_000_000
    assert third.woken_late_ns is None
