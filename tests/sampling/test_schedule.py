"""Given a plan, the starts are those."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from donutwork_magics.sampling import schedule as schedule_module
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.schedule import RateLimit, Schedule, Slot


def schedule_of(
    plan: Plan, *, loopback: bool, rate_limit: RateLimit | None = None, pauses: list[tuple[int, int]] | None = None
) -> Schedule:
    """Make a schedule that writes down when it was held back."""
    seen = [] if pauses is None else pauses
    return Schedule(
        plan, loopback=loopback, rate_limit=rate_limit or RateLimit(), held_back=lambda *pause: seen.append(pause)
    )


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


def test_a_rest_shifts_what_is_planned_by_what_it_holds_back() -> None:
    pauses: list[tuple[int, int]] = []
    schedule = schedule_of(Plan(count=3, rate_hz=100), loopback=True, pauses=pauses)
    schedule.begin()
    schedule.next()
    schedule.rate_limit.rest(0.6)
    slots = [schedule.next(), schedule.next()]
    planned_ms = [(slot.scheduled_ns - schedule.origin_ns) / 1e6 for slot in slots if slot and slot.scheduled_ns]
    assert planned_ms[0] >= 600
    assert planned_ms[1] - planned_ms[0] == pytest.approx(10)
    [(from_ns, until_ns)] = pauses
    assert (until_ns - from_ns) / 1e6 == pytest.approx(planned_ms[0] - 10)
    assert (until_ns - schedule.origin_ns) / 1e6 >= 600


def test_a_rest_that_a_stop_cuts_short_counts_until_then() -> None:
    pauses: list[tuple[int, int]] = []
    schedule = schedule_of(Plan(count=2, rate_hz=100), loopback=True, pauses=pauses)
    schedule.begin()
    schedule.next()
    schedule.rate_limit.rest(60.0)
    threading.Timer(0.2, schedule.stop).start()
    assert schedule.next() is None
    [(from_ns, until_ns)] = pauses
    assert 0.1 <= (until_ns - from_ns) / 1e9 < 30


def test_a_rest_beyond_the_end_of_the_duration_ends_the_series_at_once() -> None:
    pauses: list[tuple[int, int]] = []
    schedule = schedule_of(Plan(duration_s=20.0, rate_hz=100), loopback=True, pauses=pauses)
    schedule.begin()
    schedule.next()
    schedule.rate_limit.rest(60.0)
    began_s = time.monotonic()
    assert schedule.next() is None
    assert time.monotonic() - began_s < 10
    [(_from_ns, until_ns)] = pauses
    assert until_ns == schedule.origin_ns + 20_000_000_000


def test_a_rest_between_two_planned_starts_holds_nothing_back() -> None:
    pauses: list[tuple[int, int]] = []
    rate_limit = RateLimit()
    schedule = schedule_of(Plan(count=2, rate_hz=1), loopback=True, rate_limit=rate_limit, pauses=pauses)
    schedule.begin()
    schedule.next()
    # Longer than the jitter may be, so that it is as long as that.
    rate_limit.rest((schedule.origin_ns + 900_000_000 - time.perf_counter_ns()) / 1e9)
    slot = schedule.next()
    assert slot is not None
    assert slot.scheduled_ns == schedule.origin_ns + 1_000_000_000
    assert pauses == []


MS = 1_000_000
Call = tuple[int, float | None, float | None]
CALLS = st.lists(
    st.tuples(
        st.integers(0, 300).map(lambda ms: ms * MS),
        st.sampled_from([None, 0.0, 0.05, 0.2, 1.0]),
        st.sampled_from([None, 0.01, 0.1, 0.7]),
    ),
    min_size=2,
    max_size=20,
)
"""How long each takes, what rest it is refused with, and what rest another series is, half way through it."""


def virtual_lags_ns(calls: list[Call], rate_hz: float, pauses: list[tuple[int, int]]) -> list[int]:
    """Carry out a plan on a clock that only the calls and the waits move, and return how late each call began."""
    now_ns = 10**12
    rate_limit = RateLimit()
    schedule = schedule_of(Plan(count=len(calls), rate_hz=rate_hz), loopback=True, rate_limit=rate_limit, pauses=pauses)

    def sleep_until(due_ns: int) -> int:
        nonlocal now_ns
        now_ns = max(now_ns, due_ns)
        return 0

    lags_ns, planned_ns = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter_ns", lambda: now_ns)
        patch.setattr(schedule, "_sleep_until", sleep_until)
        schedule.begin()
        for took_ns, own_s, foreign_s in calls:
            slot = schedule.next()
            scheduled_ns = slot.scheduled_ns if slot else None
            assert scheduled_ns is not None
            lags_ns.append(now_ns - scheduled_ns)
            planned_ns.append(scheduled_ns)
            now_ns += took_ns // 2
            if foreign_s is not None:
                rate_limit.rest(foreign_s)
            now_ns += took_ns - took_ns // 2
            if own_s is not None:
                rate_limit.rest(own_s)
    # The plan was shifted by what was told, and by nothing else.
    shift_ns = planned_ns[-1] - schedule.origin_ns - int((len(calls) - 1) / rate_hz * 1e9)
    assert shift_ns == sum(until_ns - from_ns for from_ns, until_ns in pauses)
    return lags_ns


@given(CALLS, st.sampled_from([2.0, 5.0, 20.0]))
def test_rests_neither_forgive_nor_add_a_lag(calls: list[Call], rate_hz: float) -> None:
    pauses: list[tuple[int, int]] = []
    unrested: list[Call] = [(took_ns, None, None) for took_ns, _own_s, _foreign_s in calls]
    assert virtual_lags_ns(calls, rate_hz, pauses) == virtual_lags_ns(unrested, rate_hz, [])
    assert all(from_ns < until_ns for from_ns, until_ns in pauses)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(pauses))


def test_what_is_late_before_a_rest_is_caught_up_with_at_twenty_a_second_elsewhere() -> None:
    schedule = schedule_of(Plan(count=12, rate_hz=20), loopback=False)
    schedule.begin()
    schedule.next()
    time.sleep(0.5)
    schedule.rate_limit.rest(0.6)
    began_s = []
    while (slot := schedule.next()) is not None:
        began_s.append(time.perf_counter())
        last = slot
    assert max(within_a_second(began_s)) <= 22
    assert began_s[-1] - began_s[0] >= 0.45
    # The stall of 0.5 s is in the plan still, the rest is not.
    assert last.scheduled_ns is not None
    assert (last.scheduled_ns - schedule.origin_ns) / 1e9 < 0.55 + 0.6 + 0.1


@pytest.mark.timed
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


def backed_off(schedule: Schedule, attempts: int) -> list[tuple[Slot, float]]:
    """Make attempts that fail at once, and the ping after them."""
    made = []
    for _ in range(attempts):
        slot = schedule.next()
        assert slot is not None
        made.append((slot, (time.perf_counter_ns() - schedule.origin_ns) / 1e9))
        schedule.back_off(slot, time.perf_counter_ns())
    slot = schedule.next()
    assert slot is not None
    return [*made, (slot, (time.perf_counter_ns() - schedule.origin_ns) / 1e9)]


def lags_s(schedule: Schedule, made: list[tuple[Slot, float]]) -> list[float]:
    return [start_s - ((slot.scheduled_ns or 0) - schedule.origin_ns) / 1e9 for slot, start_s in made]


@pytest.mark.parametrize("rate_hz", [3, 5, 20])
@pytest.mark.slow
def test_a_monitor_backs_off_to_an_attempt_a_second_on_its_own_grid(rate_hz: int) -> None:
    schedule = schedule_of(Plan(rate_hz=rate_hz, endless=True), loopback=True)
    schedule.begin()
    *made, after = backed_off(schedule, 3)
    planned_s = [((slot.scheduled_ns or 0) - schedule.origin_ns) / 1e9 for slot, _ in (*made, after)]
    assert planned_s == pytest.approx([0.0, 1.0, 2.0, 3.0], abs=1e-5)
    assert [slot.skipped for slot, _ in (*made, after)] == [0, *[rate_hz - 1] * 3]
    # Back to its rate at once.
    slot = schedule.next()
    assert slot is not None
    assert ((slot.scheduled_ns or 0) - schedule.origin_ns) / 1e9 == pytest.approx(3 + 1 / rate_hz, abs=1e-5)


@pytest.mark.slow
def test_what_was_overdue_before_it_backed_off_is_made_up_with_its_lag() -> None:
    schedule = schedule_of(Plan(rate_hz=10, endless=True), loopback=True)
    schedule.begin()
    time.sleep(1.05)
    made = backed_off(schedule, 2)
    # Ten overdue starts are still to be made up, and no more have become overdue meanwhile.
    assert all(1.0 <= lag_s < 1.5 for lag_s in lags_s(schedule, made))
    assert all(later_s - earlier_s > 0.8 for (_, earlier_s), (_, later_s) in itertools.pairwise(made))
    after = [schedule.next() for _ in range(9)]
    assert [slot.skipped for slot in after if slot] == [0] * 9


@pytest.mark.timed
def test_an_attempt_that_hangs_adds_nothing_to_what_is_overdue() -> None:
    schedule = schedule_of(Plan(rate_hz=10, endless=True), loopback=True)
    schedule.begin()
    slot = schedule.next()
    assert slot is not None
    started_ns = time.perf_counter_ns()
    time.sleep(1.55)
    schedule.back_off(slot, started_ns)
    after = schedule.next()
    assert after is not None
    assert after.skipped >= 15
    assert time.perf_counter_ns() - (after.scheduled_ns or 0) < 100_000_000


@pytest.mark.parametrize("rate_hz", [0.5, None])
def test_a_slow_plan_or_none_leaves_nothing_out(rate_hz: float | None) -> None:
    schedule = schedule_of(Plan(rate_hz=rate_hz, endless=True), loopback=True)
    schedule.begin()
    made = backed_off(schedule, 1)
    assert [slot.skipped for slot, _ in made] == [0, 0]
    assert made[1][1] >= 0.99 * (1.0 if rate_hz is None else 1 / rate_hz)


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
    with pytest.raises(ValueError, match=r"^(\w+|A series) needs "):
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


def within_a_second(requests_s: list[float]) -> list[int]:
    """Count, for each request, those of the second that begins with it."""
    return [sum(begun_s <= other_s < begun_s + 1 for other_s in requests_s) for begun_s in requests_s]


@pytest.mark.timed
def test_the_most_that_is_polite_does_not_run_late() -> None:
    schedule = schedule_of(Plan(count=30, rate_hz=20), loopback=False)
    seen = starts(schedule)
    lags_ms = [started_s * 1e3 - ((slot.scheduled_ns or 0) - schedule.origin_ns) / 1e6 for slot, started_s in seen]
    # Each of them by what its own thread woke late, and not by that of all before.
    assert sorted(lags_ms)[15] < 5
    assert lags_ms[-1] < 25


def test_a_rest_holds_for_the_next_series_too() -> None:
    rate_limit = RateLimit()
    of_first: list[tuple[int, int]] = []
    of_second: list[tuple[int, int]] = []
    first = schedule_of(Plan(count=1, rate_hz=100), loopback=True, rate_limit=rate_limit, pauses=of_first)
    starts(first)
    first.rate_limit.rest(0.6)
    assert first.next() is None
    second = schedule_of(Plan(count=2, rate_hz=100), loopback=True, rate_limit=rate_limit, pauses=of_second)
    (slot, started_s), _ = starts(second)
    assert started_s >= 0.3
    # Nothing was left to start in the first, and so it was not held back.
    assert of_first == []
    [(from_ns, until_ns)] = of_second
    assert from_ns == pytest.approx(second.origin_ns, abs=100 * MS)
    assert slot.scheduled_ns == second.origin_ns + (until_ns - from_ns)


@pytest.mark.timed
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
