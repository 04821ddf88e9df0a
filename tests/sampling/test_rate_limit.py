"""Given a host that has had enough, everything that calls it rests."""

from __future__ import annotations

import itertools
import time

import pytest

from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.sampling.rate_limit import RateLimit

KEY = "dw_test_Kx81mZq0vTnR57yE"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock that stands still unless it is set."""
    now_ns = [10**12]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now_ns[0])
    return now_ns


def rest_s(manners: RateLimit, asked_s: float) -> float:
    """Ask for a rest, and return by how much that extends the one under way."""
    from_ns = max(time.perf_counter_ns(), manners.rests_until_ns)
    manners.rest(asked_s)
    return max(0, manners.rests_until_ns - from_ns) / 1e9


@pytest.mark.parametrize("asked_s", [2.0, 60.0, 120.0])
def test_what_it_asks_for_is_the_least(asked_s: float) -> None:
    manners = RateLimit()
    began_ns = time.perf_counter_ns()
    manners.rest(asked_s)
    assert manners.rests_until_ns - began_ns >= asked_s * 1e9


def test_without_a_wish_the_rests_grow_with_full_jitter(clock: list[int]) -> None:
    seen_s = []
    for _ in range(300):
        manners = RateLimit()
        rests_s = []
        for _ in range(10):
            clock[0] = max(clock[0], manners.rests_until_ns)
            rests_s.append(rest_s(manners, 0.0))
        seen_s.append(rests_s)
    # Anything from nothing up to a bound that doubles, and is capped.
    bounds_s = [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    for column, bound_s in zip(zip(*seen_s, strict=True), bounds_s, strict=True):
        assert 0.9 * bound_s < max(column) <= bound_s
        assert min(column) < 0.1 * bound_s


def test_calls_that_were_refused_together_count_once_and_their_rests_are_one(clock: list[int]) -> None:
    manners = RateLimit()
    rests_s = [rest_s(manners, 3.0) for _ in range(8)]
    assert rests_s == [3.0, *[0.0] * 7]
    assert manners._throttled == 1
    assert rest_s(manners, 5.0) == 2.0


def test_an_answer_as_usual_makes_it_forget(clock: list[int]) -> None:
    manners = RateLimit()
    for _ in range(8):
        clock[0] = max(clock[0], manners.rests_until_ns)
        manners.rest(0.0)
    manners.forgive()
    clock[0] = manners.rests_until_ns
    assert rest_s(manners, 0.0) <= 0.5


def test_a_server_that_refuses_for_days_is_rested_from_no_longer_than_the_cap(clock: list[int]) -> None:
    manners = RateLimit()
    for _ in range(3000):
        clock[0] = max(clock[0], manners.rests_until_ns)
        assert rest_s(manners, 0.0) <= 30.0


def test_twenty_a_second_and_no_more(clock: list[int]) -> None:
    manners = RateLimit()
    begun_ns = []
    for _ in itertools.count():
        if manners.take():
            begun_ns.append(clock[0])
        clock[0] += 1_000_000
        if clock[0] >= 10**12 + 3 * 10**9:
            break
    assert 60 <= len(begun_ns) <= 61
    assert max(sum(at <= other < at + 10**9 for other in begun_ns) for at in begun_ns) <= 21


def test_each_origin_has_its_own() -> None:
    one, other = (sandbox_target(f"http://127.0.0.1:{port}", KEY, None) for port in (1, 2))
    assert manners_towards(one) is manners_towards(one)
    assert manners_towards(one) is not manners_towards(other)
    manners_towards(one).rest(1.0)
    assert manners_towards(other).rests_until_ns < time.perf_counter_ns()
