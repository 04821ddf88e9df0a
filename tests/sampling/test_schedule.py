"""Given a plan, the starts are those."""

from __future__ import annotations

import threading
import time

import pytest

from donutwork_magics.sampling import schedule as schedule_module
from donutwork_magics.sampling.manners import Manners
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.schedule import Pause, Pauses, Schedule, Slot


def schedule_of(plan: Plan, *, loopback: bool, manners: Manners | None = None) -> Schedule:
    return Schedule(plan, loopback=loopback, manners=manners or Manners())


def starts(schedule: Schedule) -> list[tuple[Slot, float]]:
    schedule.begin()
    seen = []
    while (slot := schedule.next()) is not None:
        seen.append((slot, (time.perf_counter_ns() - schedule.origin_ns) / 1e9))
    return seen


def test_start_k_is_planned_at_k_by_rate() -> None:
    schedule = schedule_of(Plan(count=5, rate_hz=50), loopback=True)
    seen = starts(schedule)
    assert [slot.seq for slot, _ in seen] == [0, 1, 2, 3, 4]
    planned_s = [((slot.scheduled_ns or 0) - schedule.origin_ns) / 1e9 for slot, _ in seen]
    assert planned_s == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08])
    assert all(started_s >= due_s for (_, started_s), due_s in zip(seen, planned_s, strict=True))


def test_a_late_start_is_not_rescheduled() -> None:
    schedule = schedule_of(Plan(count=3, rate_hz=100), loopback=True)
    schedule.begin()
    schedule.next()
    time.sleep(0.05)
    slot = schedule.next()
    assert slot is not None
    assert slot.scheduled_ns == schedule.origin_ns + 10_000_000


def test_catching_up_never_exceeds_twenty_a_second_elsewhere() -> None:
    schedule = schedule_of(Plan(count=4, rate_hz=20), loopback=False)
    schedule.begin()
    schedule.next()
    time.sleep(0.3)
    began_s = time.monotonic()
    for _ in range(3):
        schedule.next()
    # The second may make good the tolerance that one late start has.
    assert time.monotonic() - began_s >= 0.079


def test_a_duration_ends_it() -> None:
    assert len(starts(schedule_of(Plan(duration_s=0.2, rate_hz=50), loopback=True))) <= 10


def test_without_a_rate_there_is_no_plan() -> None:
    assert [slot.scheduled_ns for slot, _ in starts(schedule_of(Plan(count=3, rate_hz=None), loopback=True))] == [
        None
    ] * 3


def test_a_pause_shifts_what_is_planned() -> None:
    schedule = schedule_of(Plan(count=3, rate_hz=100), loopback=True)
    schedule.begin()
    schedule.next()
    pause = schedule.rest(0.6)
    assert pause is not None
    assert pause.pause_s == pytest.approx(0.6, abs=0.001)
    slots = [schedule.next(), schedule.next()]
    planned_ms = [(slot.scheduled_ns - schedule.origin_ns) / 1e6 for slot in slots if slot and slot.scheduled_ns]
    assert planned_ms[0] >= 600
    assert planned_ms[1] - planned_ms[0] == pytest.approx(10)


def test_a_monitor_that_is_far_behind_leaves_starts_out_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_module, "_MOST_BEHIND_NS", 200_000_000)
    schedule = schedule_of(Plan(rate_hz=100, endless=True), loopback=True)
    schedule.begin()
    schedule.next()
    time.sleep(0.1)
    slots = [schedule.next() for _ in range(5)]
    assert [slot.skipped for slot in slots if slot] == [0] * 5
    time.sleep(0.4)
    late = schedule.next()
    now_ms = (time.perf_counter_ns() - schedule.origin_ns) / 1e6
    after = schedule.next()
    assert late is not None
    assert after is not None
    planned_ms = [((slot.scheduled_ns or 0) - schedule.origin_ns) / 1e6 for slot in (late, after)]
    assert late.seq == 6
    assert planned_ms[0] == pytest.approx((6 + late.skipped) * 10.0)
    assert now_ms - 60 < planned_ms[0] <= now_ms
    assert planned_ms[1] - planned_ms[0] == pytest.approx(10.0)
    assert after.skipped == 0


def test_a_series_leaves_none_out_however_far_behind_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_module, "_MOST_BEHIND_NS", 50_000_000)
    schedule = schedule_of(Plan(count=3, rate_hz=100), loopback=True)
    schedule.begin()
    time.sleep(0.2)
    slots = [schedule.next() for _ in range(3)]
    planned_ms = [((slot.scheduled_ns or 0) - schedule.origin_ns) / 1e6 for slot in slots if slot]
    assert planned_ms == pytest.approx([0.0, 10.0, 20.0])


def test_of_many_pauses_the_first_are_kept_and_all_counted() -> None:
    pauses = Pauses()
    for second in range(1000):
        pauses.add(Pause(float(second), 0.5))
    assert (pauses.count, pauses.total_s) == (1000, 500.0)
    assert [pause.at_s for pause in pauses.first] == [float(second) for second in range(20)]


def test_a_stop_wakes_whoever_waits() -> None:
    schedule = schedule_of(Plan(count=2, rate_hz=0.01), loopback=True)
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


def test_retries_count_against_the_rate_of_another_machine() -> None:
    schedule = schedule_of(Plan(duration_s=1.5, rate_hz=20), loopback=False)
    schedule.begin()
    requests_s = []
    while schedule.next() is not None:
        now_s = time.perf_counter()
        requests_s += [now_s, now_s]
        schedule.count_retry()
    assert 28 <= len(requests_s) <= 34
    assert max(within_a_second(requests_s)) <= 22


def test_what_runs_beside_it_counts_too() -> None:
    manners = Manners()
    both = [schedule_of(Plan(duration_s=1.5, rate_hz=20), loopback=False, manners=manners) for _ in range(2)]
    requests_s: list[float] = []

    def start(schedule: Schedule) -> None:
        while schedule.next() is not None:
            requests_s.append(time.perf_counter())

    for schedule in both:
        schedule.begin()
    threads = [threading.Thread(target=start, args=(schedule,)) for schedule in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(requests_s) >= 25
    assert max(within_a_second(requests_s)) <= 22


def within_a_second(requests_s: list[float]) -> list[int]:
    """Count, for each request, those of the second that begins with it."""
    return [sum(begun_s <= other_s < begun_s + 1 for other_s in requests_s) for begun_s in requests_s]


def test_the_most_that_is_polite_does_not_run_late() -> None:
    schedule = schedule_of(Plan(count=30, rate_hz=20), loopback=False)
    seen = starts(schedule)
    lags_ms = [started_s * 1e3 - ((slot.scheduled_ns or 0) - schedule.origin_ns) / 1e6 for slot, started_s in seen]
    # Each of them by what its own thread woke late, and not by that of all before.
    assert sorted(lags_ms)[15] < 5
    assert lags_ms[-1] < 25


def test_a_rest_holds_for_the_next_series_too() -> None:
    manners = Manners()
    first = schedule_of(Plan(count=1, rate_hz=100), loopback=True, manners=manners)
    starts(first)
    # Nothing is left to start, and so it did not rest; but the host did ask.
    assert first.rest(0.4) is None
    second = schedule_of(Plan(count=2, rate_hz=100), loopback=True, manners=manners)
    assert starts(second)[0][1] >= 0.35


def test_a_start_that_was_waited_for_tells_how_late_it_woke() -> None:
    schedule = schedule_of(Plan(count=3, rate_hz=50), loopback=True)
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
