"""Given a plan, the starts are those."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


class Clock:
    """A clock that only waits of the schedule move, and the test itself."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_ns = 10**12
        self.wakes_late_ns = 0
        patch.setattr(time, "perf_counter_ns", lambda: self.now_ns)
        patch.setattr(Schedule, "_sleep_until", lambda _schedule, due_ns: self.sleep_until(due_ns))

    def sleep_until(self, due_ns: int) -> int:
        self.now_ns = max(self.now_ns, due_ns + self.wakes_late_ns)
        return self.wakes_late_ns

    def go_on(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def next_of(schedule: Schedule) -> Slot:
    slot = schedule.next()
    assert slot is not None
    return slot


def planned_s(schedule: Schedule, slot: Slot) -> float:
    assert slot.scheduled_ns is not None
    return (slot.scheduled_ns - schedule.origin_ns) / 1e9


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
    due_s = [planned_s(schedule, slot) for slot, _ in seen]
    assert due_s == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08])
    assert all(started_s >= due_s for (_, started_s), due_s in zip(seen, due_s, strict=True))


def test_a_late_start_is_not_rescheduled(clock: Clock) -> None:
    schedule = schedule_of(Plan(count=3, rate_hz=100), loopback=True)
    schedule.begin()
    schedule.next()
    clock.go_on(0.05)
    assert planned_s(schedule, next_of(schedule)) == 0.01


def test_catching_up_never_exceeds_twenty_a_second_elsewhere(clock: Clock) -> None:
    schedule = schedule_of(Plan(count=4, rate_hz=20), loopback=False)
    schedule.begin()
    schedule.next()
    clock.go_on(0.3)
    began_ns = clock.now_ns
    for _ in range(3):
        schedule.next()
    # The second may make good the tolerance that one late start has.
    assert clock.now_ns - began_ns == 80_000_000


def test_a_duration_ends_it(clock: Clock) -> None:
    assert len(starts(schedule_of(Plan(duration_s=0.2, rate_hz=50), loopback=True))) == 10


def test_what_begins_late_keeps_its_plan_and_hands_it_on(clock: Clock) -> None:
    schedule = schedule_of(Plan(count=3, rate_hz=10), loopback=True)
    planned_ns = clock.now_ns
    clock.go_on(5.0)
    schedule.begin(planned_ns)
    schedule.rate_limit.rest(2.0)
    seen_ns = [next_of(schedule).scheduled_ns for _ in range(3)]
    assert schedule.next() is None
    # Late by 5 s as before the rest, which alone has shifted it.
    rested_ns = clock.now_ns - planned_ns - 5_000_000_000
    assert rested_ns >= 2_000_000_000
    assert seen_ns == [planned_ns + rested_ns + start * 100_000_000 for start in range(3)]
    assert schedule.planned_end_ns() == planned_ns + rested_ns + 300_000_000


@pytest.mark.parametrize(("took_s", "starts"), [(0.01, 10), (0.25, 4)], ids=["catches up", "too slow"])
def test_a_duration_that_begins_late_has_its_own_starts_and_its_own_time(
    clock: Clock, took_s: float, starts: int
) -> None:
    schedule = schedule_of(Plan(duration_s=1.0, rate_hz=10), loopback=True)
    planned_ns = clock.now_ns
    clock.go_on(5.0)
    schedule.begin(planned_ns)
    seen = 0
    while schedule.next() is not None:
        seen += 1
        clock.go_on(took_s)
    assert seen == starts
    assert schedule.planned_end_ns() == planned_ns + 1_000_000_000


def test_without_a_rate_nothing_is_late(clock: Clock) -> None:
    schedule = schedule_of(Plan(count=1, rate_hz=None), loopback=True)
    clock.go_on(5.0)
    schedule.begin(clock.now_ns - 5_000_000_000)
    assert schedule.origin_ns == clock.now_ns
    assert schedule.planned_end_ns() == 0


def test_a_wait_for_other_workers_is_no_delay(clock: Clock) -> None:
    schedule = schedule_of(Plan(count=2, rate_hz=10, concurrency=2), loopback=True)
    schedule.begin()
    for _ in range(2):
        next_of(schedule)
    assert schedule.next() is None
    clock.go_on(3.0)
    # The other one comes back.
    assert schedule.next() is None
    assert schedule.planned_end_ns() == clock.now_ns


def test_what_delayed_all_workers_is_handed_on(clock: Clock) -> None:
    schedule = schedule_of(Plan(count=2, rate_hz=10, concurrency=2), loopback=True)
    schedule.begin()
    for _ in range(2):
        next_of(schedule)
    clock.go_on(3.0)
    assert schedule.next() is None
    assert schedule.planned_end_ns() == schedule.origin_ns + 200_000_000


def test_without_a_rate_there_is_no_plan() -> None:
    assert [slot.scheduled_ns for slot, _ in starts(schedule_of(Plan(count=3, rate_hz=None), loopback=True))] == [
        None
    ] * 3


def test_a_rest_shifts_what_is_planned_by_what_it_holds_back(clock: Clock) -> None:
    pauses: list[tuple[int, int]] = []
    schedule = schedule_of(Plan(count=3, rate_hz=100), loopback=True, pauses=pauses)
    schedule.begin()
    schedule.next()
    schedule.rate_limit.rest(0.6)
    due_s = [planned_s(schedule, next_of(schedule)) for _ in range(2)]
    assert due_s[0] >= 0.6
    assert due_s[1] - due_s[0] == pytest.approx(0.01)
    [(from_ns, until_ns)] = pauses
    assert (until_ns - from_ns) / 1e9 == pytest.approx(due_s[0] - 0.01)
    assert (until_ns - schedule.origin_ns) / 1e9 == pytest.approx(due_s[0])


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


def test_a_rest_between_two_planned_starts_holds_nothing_back(clock: Clock) -> None:
    pauses: list[tuple[int, int]] = []
    schedule = schedule_of(Plan(count=2, rate_hz=1), loopback=True, pauses=pauses)
    schedule.begin()
    schedule.next()
    # Longer than the jitter may be, so that it is as long as that.
    schedule.rate_limit.rest(0.9)
    assert planned_s(schedule, next_of(schedule)) == 1.0
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
    lags_ns, planned_ns = [], []
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        schedule = schedule_of(Plan(count=len(calls), rate_hz=rate_hz), loopback=True, pauses=pauses)
        schedule.begin()
        for took_ns, own_s, foreign_s in calls:
            scheduled_ns = next_of(schedule).scheduled_ns
            assert scheduled_ns is not None
            lags_ns.append(clock.now_ns - scheduled_ns)
            planned_ns.append(scheduled_ns)
            clock.now_ns += took_ns // 2
            if foreign_s is not None:
                schedule.rate_limit.rest(foreign_s)
            clock.now_ns += took_ns - took_ns // 2
            if own_s is not None:
                schedule.rate_limit.rest(own_s)
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


def test_what_is_late_before_a_rest_is_caught_up_with_at_twenty_a_second_elsewhere(clock: Clock) -> None:
    schedule = schedule_of(Plan(count=12, rate_hz=20), loopback=False)
    schedule.begin()
    schedule.next()
    clock.go_on(0.5)
    schedule.rate_limit.rest(0.6)
    began_s, last = [], None
    while (slot := schedule.next()) is not None:
        began_s.append(clock.now_ns / 1e9)
        last = slot
    assert max(within_a_second(began_s)) <= 21
    assert began_s[-1] - began_s[0] >= 0.45
    # The stall of 0.5 s is in the plan still, the rest is not.
    assert last is not None
    assert 0.55 + 0.6 - 0.001 <= planned_s(schedule, last) <= 0.55 + 0.6 + 0.001


def test_a_monitor_that_is_far_behind_leaves_starts_out_and_counts_them(clock: Clock) -> None:
    schedule = schedule_of(Plan(rate_hz=100, endless=True), loopback=True)
    schedule.begin()
    schedule.next()
    clock.go_on(29.0)
    assert [next_of(schedule).skipped for _ in range(5)] == [0] * 5
    clock.go_on(11.001)
    late, after = next_of(schedule), next_of(schedule)
    # Of the 40 s that are over, six starts were made.
    assert (late.seq, late.skipped, after.skipped) == (6, 4000 - 6, 0)
    assert (planned_s(schedule, late), planned_s(schedule, after)) == pytest.approx((40.0, 40.01))


def test_a_series_leaves_none_out_however_far_behind_it_is(clock: Clock) -> None:
    schedule = schedule_of(Plan(count=3, rate_hz=100), loopback=True)
    schedule.begin()
    clock.go_on(100.0)
    assert [planned_s(schedule, next_of(schedule)) for _ in range(3)] == pytest.approx([0.0, 0.01, 0.02])


def backed_off(schedule: Schedule, clock: Clock, attempts: int) -> list[tuple[Slot, float]]:
    """Make attempts that fail at once, and the ping after them; return each with its start."""
    made = []
    for attempt in range(attempts + 1):
        made.append((next_of(schedule), (clock.now_ns - schedule.origin_ns) / 1e9))
        if attempt < attempts:
            schedule.back_off(made[-1][0], clock.now_ns)
    return made


@pytest.mark.parametrize("rate_hz", [3, 5, 20])
def test_a_monitor_backs_off_to_an_attempt_a_second_on_its_own_grid(clock: Clock, rate_hz: int) -> None:
    schedule = schedule_of(Plan(rate_hz=rate_hz, endless=True), loopback=True)
    schedule.begin()
    made = backed_off(schedule, clock, 3)
    assert [planned_s(schedule, slot) for slot, _ in made] == pytest.approx([0.0, 1.0, 2.0, 3.0], abs=1e-5)
    assert [slot.skipped for slot, _ in made] == [0, *[rate_hz - 1] * 3]
    # Back to its rate at once.
    assert planned_s(schedule, next_of(schedule)) == pytest.approx(3 + 1 / rate_hz, abs=1e-5)


def test_what_was_overdue_before_it_backed_off_is_made_up_with_its_lag(clock: Clock) -> None:
    schedule = schedule_of(Plan(rate_hz=10, endless=True), loopback=True)
    schedule.begin()
    clock.go_on(1.05)
    made = backed_off(schedule, clock, 2)
    # Ten overdue starts are still to be made up, and no more have become overdue meanwhile.
    assert [start_s - planned_s(schedule, slot) for slot, start_s in made] == pytest.approx([1.05, 1.0, 1.0], abs=0.06)
    assert [later_s - earlier_s for (_, earlier_s), (_, later_s) in itertools.pairwise(made)] == pytest.approx(
        [1.0, 1.0], abs=0.06
    )
    assert [next_of(schedule).skipped for _ in range(9)] == [0] * 9


def test_an_attempt_that_hangs_adds_nothing_to_what_is_overdue(clock: Clock) -> None:
    schedule = schedule_of(Plan(rate_hz=10, endless=True), loopback=True)
    schedule.begin()
    slot, started_ns = next_of(schedule), clock.now_ns
    clock.go_on(1.55)
    schedule.back_off(slot, started_ns)
    after = next_of(schedule)
    assert after.skipped == 15
    assert clock.now_ns - (after.scheduled_ns or 0) < 100_000_000


def test_several_workers_leave_out_what_comes_due_meanwhile_too(clock: Clock) -> None:
    schedule = schedule_of(Plan(rate_hz=10, endless=True, concurrency=2), loopback=True)
    schedule.begin()
    for _ in range(3):
        attempts = [(next_of(schedule), clock.now_ns) for _ in range(2)]
        for slot, started_ns in attempts:
            assert started_ns - (slot.scheduled_ns or 0) < 100_000
            clock.go_on(0.003)
            schedule.back_off(slot, started_ns)
    # It is back: nothing is left to be made up.
    after = [next_of(schedule) for _ in range(3)]
    assert [planned_s(schedule, slot) for slot in after] == pytest.approx([3.3, 3.4, 3.5], abs=1e-3)
    assert clock.now_ns - (after[-1].scheduled_ns or 0) < 100_000


@pytest.mark.parametrize("rate_hz", [0.5, None])
def test_a_slow_plan_or_none_leaves_nothing_out(clock: Clock, rate_hz: float | None) -> None:
    schedule = schedule_of(Plan(rate_hz=rate_hz, endless=True), loopback=True)
    schedule.begin()
    made = backed_off(schedule, clock, 1)
    assert [slot.skipped for slot, _ in made] == [0, 0]
    assert made[1][1] == pytest.approx(1.0 if rate_hz is None else 1 / rate_hz)


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


def test_retries_count_against_the_rate_of_another_machine(clock: Clock) -> None:
    schedule = schedule_of(Plan(duration_s=1.5, rate_hz=20), loopback=False)
    schedule.begin()
    requests_s = []
    while schedule.next() is not None:
        now_s = clock.now_ns / 1e9
        requests_s += [now_s, now_s]
        schedule.count_retry()
    assert 28 <= len(requests_s) <= 34
    assert max(within_a_second(requests_s)) <= 22


def within_a_second(requests_s: list[float]) -> list[int]:
    """Count, for each request, those of the second that begins with it."""
    return [sum(begun_s <= other_s < begun_s + 1 for other_s in requests_s) for begun_s in requests_s]


def test_the_most_that_is_polite_does_not_run_late(clock: Clock) -> None:
    clock.wakes_late_ns = 4_000_000
    schedule = schedule_of(Plan(count=100, rate_hz=20), loopback=False)
    lags_s = [started_s - planned_s(schedule, slot) for slot, started_s in starts(schedule)]
    # Each of them by what its own thread woke late, and not by that of all before.
    assert max(lags_s) <= 0.0041


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
