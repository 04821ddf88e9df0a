"""Rows that are bounded, and that others may read while they come in."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest

from donutwork_magics.client.results import Sample
from donutwork_magics.network.exchange import Exchange, Phases
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.rows import NOT_AVAILABLE, Rows, Words, row_of
from donutwork_magics.sampling.schedule import Slot


def sample(started_ns: int = 0, **outcome: Any) -> Sample:
    exchange = Exchange(
        started_ns=started_ns,
        timestamp_ns=0,
        duration_ms=1.0,
        phases=Phases(0.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        reused=True,
        retried=False,
        http_version="1.1",
        peer="127.0.0.1",
        tls_version=None,
        tcp_rtt_ms=0.1,
        tcp_retransmits=0,
    )
    return Sample(exchange, **outcome)


def add(rows: Rows, n: int, *, warmup: bool = False, **outcome: Any) -> None:
    made = sample(**outcome)
    for _ in range(n):
        slot = Slot(rows.total, None)
        rows.extend([row_of(made, slot, origin_ns=0, label="ping", block=0, warmup=warmup)])


def words_of(column: Words) -> list[str | None]:
    return [None if code == NOT_AVAILABLE else column.distinct[code] for code in column.codes]


def lengths(rows: Rows) -> set[int]:
    floats, integers = map(len, rows.floats.values()), map(len, rows.integers.values())
    flags, words = map(len, rows.flags.values()), (len(column.codes) for column in rows.words.values())
    return {*floats, *integers, *flags, *words, *(len(list(column)) for column in rows.texts.values())}


def test_the_oldest_make_room_and_all_columns_stay_as_long() -> None:
    rows = Rows(keep=100)
    for n in range(1, 1001):
        add(rows, 1)
        assert lengths(rows) == {len(rows)}
        assert min(n, 100) <= len(rows) <= 110
    assert rows.total == 1000
    assert rows.integers["seq"][-1] == 999


def test_a_copy_has_no_more_than_are_to_be_kept() -> None:
    rows = Rows(keep=100)
    add(rows, 1005)
    copy = rows.copy()
    assert lengths(copy) == {100}
    assert list(copy.integers["seq"]) == list(range(905, 1005))
    assert copy.total == 1005
    add(rows, 3)
    assert len(copy) == 100


@pytest.mark.parametrize("keep", [1, 2, 9])
def test_very_few_can_be_kept(keep: int) -> None:
    rows = Rows(keep=keep)
    add(rows, 50)
    assert list(rows.copy().integers["seq"]) == list(range(50 - keep, 50))


def test_words_that_went_with_their_rows_are_forgotten_and_the_others_stay_right() -> None:
    rows = Rows(keep=2000)
    for number in range(10_000):
        add(
            rows,
            1,
            rrt=f"{number} ms" if number % 3 else None,
            env=f"{number}",
            error="timeout" if number % 2 else None,
        )
    assert len(rows.words["env"].distinct) <= 2200
    copy = rows.copy()
    kept = range(8000, 10_000)
    assert list(copy.texts["rrt"]) == [f"{number} ms" if number % 3 else None for number in kept]
    assert words_of(copy.words["env"]) == [f"{number}" for number in kept]
    assert words_of(copy.words["error"]) == [None, "timeout"] * 1000


def test_memory_is_bounded() -> None:
    sizes = []
    rows = Rows(keep=500)
    for _ in range(3):
        add(rows, 5000, rrt="0.1 ms")
        sizes.append(len(pickle.dumps([rows.floats, rows.integers, rows.flags])))
    assert max(sizes) <= 1.15 * min(sizes)


def test_errors_are_counted_also_those_that_made_room() -> None:
    rows = Rows(keep=10)
    add(rows, 30, error="timeout")
    add(rows, 70)
    add(rows, 1, error="dns", warmup=True)
    assert rows.errors == 30


def test_a_tail_has_the_latest_and_says_how_many_came_before() -> None:
    rows = Rows(keep=10)
    add(rows, 30)
    assert rows.tail(4).first == 26
    assert len(rows.tail(4).duration_ms) == 4
    assert rows.tail(99).first == rows.dropped


def test_a_tail_is_of_one_moment_while_rows_come_in_and_go() -> None:
    rows = Rows(keep=50)
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            add(rows, 10)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2000):
            tail = rows.tail(40)
            columns = (tail.started_ms, tail.duration_ms, tail.error_codes, tail.warmup)
            assert len({len(column) for column in columns}) == 1
        for _ in range(200):
            assert len(lengths(rows.copy())) == 1
    finally:
        done.set()
        writer.join()


def started(rows: Rows, seq: int, started_ms: float) -> None:
    made = sample(started_ns=int(started_ms * 1e6))
    rows.extend([row_of(made, Slot(seq, None), origin_ns=0, label="ping", block=0, warmup=False)])


def test_runs_that_follow_one_another_are_told_apart_also_when_rows_made_room() -> None:
    rows = Rows(keep=10)
    rows.begin("first")
    for seq in range(12):
        started(rows, seq, seq * 10.0)
    rows.begin("second", offset_ms=1000.0)
    rows.begin("third", offset_ms=2000.0)
    for seq in range(5):
        started(rows, seq, seq * 10.0)
    copy = rows.copy()
    assert list(copy.spans()) == [("first", 5), ("third", 5)]
    assert list(copy.integers["seq"]) == [*range(7, 12), *range(5)]
    # A chart has one axis for all of them; a table has the clock of each run.
    for kept in (rows, copy):
        assert list(kept.tail(7).started_ms) == [100.0, 110.0, 2000.0, 2010.0, 2020.0, 2030.0, 2040.0]
    assert list(copy.floats["started_ms"][-2:]) == [30.0, 40.0]


def test_a_plan_without_an_end_has_to_say_so() -> None:
    with pytest.raises(ValueError, match="a count or a duration"):
        Plan()
    assert Plan(endless=True).total is None
