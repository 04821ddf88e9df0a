"""Given samples, the rows hold what the table needs, in little memory, bounded, and readable while they come in."""

from __future__ import annotations

import math
import pickle
import sys
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from donutwork_magics.client.results import Sample
from donutwork_magics.network.exchange import Exchange, Phases
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.rows import NOT_AVAILABLE, Rows, Words, decode, encode, row_of
from donutwork_magics.sampling.schedule import Slot

pytestmark = pytest.mark.slow

finite = st.floats(allow_nan=False, allow_infinity=False)
milliseconds = finite | st.just(math.nan)
words = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=150)
samples = st.builds(
    Sample,
    st.builds(
        Exchange,
        started_ns=st.integers(0, 2**62),
        timestamp_ns=st.integers(0, 2**62),
        duration_ms=st.floats(0, allow_infinity=False),
        phases=st.builds(Phases, *[milliseconds] * 6),
        reused=st.booleans(),
        retried=st.booleans(),
        http_version=st.sampled_from([None, "1.1", "2", "3"]),
        peer=st.none() | st.ip_addresses().map(str),
        tls_version=st.sampled_from([None, "TLSv1.2", "TLSv1.3"]),
        tcp_rtt_ms=milliseconds,
        tcp_retransmits=st.none() | st.integers(0, 2**15 - 1),
    ),
    error=st.none() | st.just("timeout"),
    status_code=st.none() | st.integers(100, 999),
    retry_after_s=st.none() | st.floats(0, 1e9),
    body_bytes=st.none() | st.integers(0, 2**31 - 1),
    env=words,
    rrt=words,
    rrt_ms=milliseconds,
)


def columns(rows: Rows) -> dict[str, list[Any]]:
    numbers = {name: list(map(repr, column)) for name, column in (rows.floats | rows.integers).items()}
    flags = {name: column.tolist() for name, column in rows.flags.items()}
    words = {name: [column.codes.tolist(), column.distinct] for name, column in rows.words.items()}
    return numbers | flags | words | {name: list(texts) for name, texts in rows.texts.items()}


@given(st.lists(samples, max_size=8))
@settings(derandomize=True, deadline=None)
def test_a_row_survives_its_line(made: list[Sample]) -> None:
    slots = [Slot(seq, seq if seq % 3 else None) for seq in range(len(made))]
    read = [
        row_of(sample, slot, origin_ns=0, label="p", block=slot.seq // 4, warmup=bool(slot.seq % 2))
        for sample, slot in zip(made, slots, strict=True)
    ]
    rows, back = Rows(), Rows()
    rows.extend(read)
    lines = [encode(row) for row in read]
    back.extend([decode(line) for line in lines])
    assert columns(back) == columns(rows)
    assert list(back.texts["rrt"]) == [sample.rrt and sample.rrt[:100] for sample in made]
    # A line is told from an event by its beginning, and from the next line by its end.
    assert not [line for line in lines if not line.startswith(b'{"label":') or b"\n" in line]


@given(st.lists(samples, max_size=8), st.integers(0, 8))
@settings(derandomize=True, deadline=None)
def test_rows_that_are_added_together_are_as_one_by_one(made: list[Sample], first: int) -> None:
    read = [
        row_of(sample, Slot(seq, None), origin_ns=0, label="p", block=0, warmup=False)
        for seq, sample in enumerate(made)
    ]
    together, each = Rows(), Rows()
    together.extend(read[:first])
    together.extend(read[first:])
    for row in read:
        each.extend([row])
    assert columns(together) == columns(each) == columns(each.copy())
    assert together.errors == sum(sample.error is not None for sample in made)


@pytest.mark.parametrize("count", [10_000, 100_000])
def test_a_row_takes_300_bytes_at_most_even_if_every_text_differs(count: int) -> None:
    phases = Phases(0.0, 0.0, 0.0, 0.02, 1.0, 0.0)
    rows = Rows()
    for seq in range(count):
        exchange = Exchange(seq, seq, 1.02, phases, True, False, "1.1", "127.0.0.1", "TLSv1.3", 0.1, 0)
        text = f"{seq / 1e4:.6f} ms"
        sample = Sample(exchange, status_code=200, body_bytes=60, env="staging", rrt=text, rrt_ms=seq / 1e4)
        rows.extend([row_of(sample, Slot(seq, seq), origin_ns=0, label="ping", block=0, warmup=False)])
    arrays = [*rows.floats.values(), *rows.integers.values(), *rows.flags.values()]
    arrays += [column.codes for column in rows.words.values()]
    texts = rows.texts["rrt"]
    taken = sum(map(sys.getsizeof, [*arrays, texts, *texts]))
    assert taken <= 300 * count


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
