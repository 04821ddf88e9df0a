"""Given several lines, they take turns in rounds; given a server, the rows say which ping was of which block."""

from __future__ import annotations

import itertools
import random
import socket
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from donutwork_magics import SeriesError, load
from donutwork_magics.measure import measure
from donutwork_magics.probers import Recording
from donutwork_magics.sampling.plan import USUAL_BLOCKS, Course, Plan, Segment, interleaved, rounds_needed
from donutwork_magics.sampling.series import Series
from tests.servers import Server, answer, read_request, reply
from tests.support.processes import until
from tests.support.recordings import running, table, target_of
from tests.support.tables import about


def plans_of(*counts: int, warmup: int = 0) -> list[Plan]:
    return [Plan(count=count, warmup=warmup, label=f"line {number}") for number, count in enumerate(counts)]


def rounds_of(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Part the segments that are no warm-up into their rounds."""
    pings = [segment for segment in segments if not segment.warmup]
    lines = len({segment.line for segment in pings})
    return [pings[at : at + lines] for at in range(0, len(pings), lines)]


@given(
    st.lists(st.integers(20, 300), min_size=2, max_size=5),
    st.integers(2, 20),
    st.integers(0, 5),
    st.integers(0, 2**32),
)
def test_each_line_has_each_block_once_a_round_and_all_of_its_pings(
    counts: list[int], blocks: int, warmup: int, seed: int
) -> None:
    segments = interleaved(plans_of(*counts, warmup=warmup), blocks=blocks, seed=seed)
    rounds = rounds_of(segments)
    assert len(rounds) == blocks
    for block, segments_of_round in enumerate(rounds):
        assert {segment.line for segment in segments_of_round} == set(range(len(counts)))
        assert {segment.block for segment in segments_of_round} == {block}
    for line, count in enumerate(counts):
        sizes = [segment.count or 0 for own in rounds for segment in own if segment.line == line]
        assert sum(sizes) == count
        assert max(sizes) - min(sizes) <= 1
    # The warm-up comes first, whole, a line after the other.
    first = segments[: len(counts) if warmup else 0]
    assert [(segment.line, segment.count, segment.warmup) for segment in first] == [
        (line, warmup, warmup) for line in range(len(counts) if warmup else 0)
    ]
    assert len(segments) == len(first) + blocks * len(counts)
    assert Course(tuple(plans_of(*counts, warmup=warmup)), segments).total == sum(counts) + warmup * len(counts)


def test_the_order_is_drawn_anew_for_each_round_and_again_the_same_from_a_seed() -> None:
    plans = plans_of(100, 100, 100)
    orders = [
        [[segment.line for segment in own] for own in rounds_of(interleaved(plans, blocks=20, seed=seed))]
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert len({tuple(order) for order in orders[0]}) > 3
    # Each line is as often the first as another: else what a round's beginning costs would be of one line.
    first = [
        own[0].line for seed in range(300) for own in rounds_of(interleaved(plans_of(20, 20), blocks=6, seed=seed))
    ]
    assert 0.45 < sum(first) / len(first) < 0.55


@pytest.mark.parametrize(("labels", "rounds"), [(1, 6), (2, 6), (3, 7), (4, 7), (5, 8), (9, 9)])
def test_a_verdict_needs_so_many_rounds(labels: int, rounds: int) -> None:
    assert rounds_needed(labels) == rounds


@pytest.mark.parametrize(
    ("counts", "blocks"),
    [((20, 20), 10), ((500, 20), 10), ((19, 500), 9), ((12, 12), 6), ((11, 500), 1), ((14, 14, 14), 7), ((13,) * 3, 1)],
)
def test_by_default_there_are_ten_or_as_many_as_leave_two_pings_each_or_none_at_all(
    counts: tuple[int, ...], blocks: int
) -> None:
    segments = interleaved(plans_of(*counts), blocks=None, seed=1)
    assert USUAL_BLOCKS == 10
    assert len(segments) == blocks * len(counts)
    if blocks == 1:
        assert [(segment.line, segment.count) for segment in segments] == list(enumerate(counts))


@pytest.mark.parametrize(
    ("plans", "blocks"),
    [
        (plans_of(3000, 3000), 100),
        (plans_of(3000, 250), 25),
        (plans_of(60, 60), 10),
        ([Plan(duration_s=60, rate_hz=5, label=name) for name in "ab"], 30),
        ([Plan(duration_s=60, rate_hz=None, label=name) for name in "ab"], 60),
    ],
)
def test_a_run_that_may_end_early_has_rounds_after_which_it_can(plans: list[Plan], blocks: int) -> None:
    assert len(rounds_of(interleaved(plans, blocks=None, seed=1, until=True))) == blocks


def test_one_line_has_no_turns_to_take() -> None:
    [segment] = interleaved(plans_of(100, warmup=3), blocks=None, seed=1)
    assert segment == Segment(line=0, count=103, warmup=3)


def test_one_block_is_one_line_after_the_other() -> None:
    segments = interleaved(plans_of(10, 20, warmup=2), blocks=1, seed=1)
    assert segments == (Segment(line=0, count=12, warmup=2), Segment(line=1, count=22, warmup=2))


@pytest.mark.parametrize(("counts", "blocks"), [((9, 100), 10), ((100, 1), 2), ((5, 5), 6)])
def test_more_blocks_than_pings_are_an_error_in_one_line(counts: tuple[int, ...], blocks: int) -> None:
    with pytest.raises(ValueError, match=r"^There are more blocks than pings of a line: [^\n]*\.$"):
        interleaved(plans_of(*counts), blocks=blocks, seed=1)
    assert len(interleaved(plans_of(*counts), blocks=min(counts), seed=1)) == min(counts) * len(counts)


def test_a_duration_is_parted_too() -> None:
    plans = [Plan(duration_s=30.0, rate_hz=10, label="a"), Plan(count=100, rate_hz=None, label="b")]
    segments = interleaved(plans, blocks=None, seed=1)
    assert {segment.duration_s for segment in segments if segment.line == 0} == {3.0}
    assert {segment.count for segment in segments if segment.line == 0} == {None}
    assert {(segment.count, segment.duration_s) for segment in segments if segment.line == 1} == {(10, None)}
    # Too short for two pings a block in enough rounds.
    short = [Plan(duration_s=1.0, rate_hz=10, label="a"), plans[1]]
    assert len(interleaved(short, blocks=None, seed=1)) == 2


class Lines:
    """A server that notes on which connection each request came, and when."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, float]] = []
        self._lock = threading.Lock()
        self._connections = 0

    def __call__(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections += 1
            number = self._connections
        while read_request(connection):
            with self._lock:
                self.requests.append((number, time.perf_counter()))
            connection.sendall(reply())


def has_done(run: Recording, rows: int) -> bool:
    return run.done >= rows


def lines_of(server: Server, *plans: Plan, journal: Path | None = None) -> list[Series]:
    return [Series(plan, target_of(server), journal=journal) for plan in plans]


def test_each_line_keeps_its_connection_through_all_rounds(tmp_path: Path) -> None:
    file, seen = tmp_path / "run.jsonl", Lines()
    plans = [Plan(count=30, rate_hz=100, warmup=2, label=label) for label in ("a", "b", "c")]
    segments = interleaved(plans, blocks=6, seed=7)
    with Server(seen) as server:
        df = measure(lines_of(server, *plans, journal=file), keep=lambda _df: "nowhere", segments=segments, seed=7)
    assert server.connections == 3
    assert df["seq"].tolist() == list(range(96))
    assert df["run"].nunique() == 1
    assert df["error"].isna().all()
    # In the order of the segments, and each request on the connection of its line.
    planned = [segment for segment in segments for _ in range(segment.count or 0)]
    assert df["label"].tolist() == [plans[segment.line].label for segment in planned]
    assert df["block"].tolist() == [segment.block for segment in planned]
    assert df["warmup"].tolist() == [True] * 6 + [False] * 90
    connections: dict[int, int] = {}
    for segment in planned:
        connections.setdefault(segment.line, len(connections) + 1)
    assert [number for number, _ in seen.requests] == [connections[segment.line] for segment in planned]
    assert df["reused"].sum() == 93
    assert about(df)["seed"] == 7
    assert [plan["label"] for plan in about(df)["plan"]] == ["a", "b", "c"]
    assert len(about(df)["client"]) == 3
    loaded = load(file)
    assert loaded.equals(df)
    assert loaded.attrs == df.attrs


def test_the_distances_of_the_plan_hold_within_a_block_and_from_one_to_the_next() -> None:
    plans = [Plan(count=24, rate_hz=20, label="slow"), Plan(count=24, rate_hz=100, label="fast")]
    course = Course(tuple(plans), interleaved(plans, blocks=6, seed=3))
    with Server(answer(reply())) as server:
        df = measure(lines_of(server, *plans), keep=lambda _df: "nowhere", segments=course.segments, seed=3)
    assert df["scheduled_ms"].to_numpy() == pytest.approx(planned_ms_of(course), abs=0.01)
    steps_ms = df["scheduled_ms"].diff()
    within = df["label"].eq(df["label"].shift()) & df["block"].eq(df["block"].shift())
    for label, step_ms in (("slow", 50.0), ("fast", 10.0)):
        own = steps_ms[within & df["label"].eq(label)]
        assert own.to_numpy() == pytest.approx(step_ms, abs=0.01)
    # The first ping of a block keeps the distance of the line before it.
    between = steps_ms[~within].iloc[1:]
    before = df["label"].shift()[between.index].map({"slow": 50.0, "fast": 10.0})
    assert between.to_numpy() == pytest.approx(before.to_numpy(), abs=0.01)
    assert (df["started_ms"] >= df["scheduled_ms"] - 0.01).all()


def planned_ms_of(course: Course) -> list[float]:
    return [1e3 * (course.planned_start_s(seq) or 0.0) for seq in range(course.total or 0)]


class Stalling:
    """A server that answers one request late, whatever its connection."""

    def __init__(self, number: int, stall_s: float) -> None:
        self._numbers = itertools.count()
        self._number, self._stall_s = number, stall_s

    def __call__(self, connection: socket.socket) -> None:
        while read_request(connection):
            if next(self._numbers) == self._number:
                time.sleep(self._stall_s)
            connection.sendall(reply())


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["a", "ab"], ids=["series", "cell"])
@pytest.mark.parametrize("number", [20, 23], ids=["first of its block", "last of its block"])
def test_a_stall_is_seen_in_all_rows_that_it_delays_also_in_the_blocks_after_its_own(labels: str, number: int) -> None:
    plans = [Plan(count=60 // len(labels), rate_hz=20, warmup=2 * (len(labels) - 1), label=name) for name in labels]
    blocks = 15 if len(labels) > 1 else None
    course = Course(tuple(plans), interleaved(plans, blocks=blocks, seed=1))
    with Server(Stalling(number, 1.5)) as server:
        df = measure(lines_of(server, *plans), keep=lambda _df: "nowhere", segments=course.segments, seed=1)
    assert df["scheduled_ms"].to_numpy() == pytest.approx(planned_ms_of(course), abs=0.01)
    # Planned for a second after the stall began, and answered when it was over at the soonest.
    delayed = df["seq"].between(number, number + 20)
    assert (df["corrected_ms"][delayed] > 490).all()
    assert (df["lag_ms"][delayed & (df["seq"] > number)] > 490).all()
    assert about(df)["pauses"]["count"] == 0


@pytest.mark.slow
def test_blocks_of_a_duration_whose_time_is_over_before_they_begin_are_made_up_for() -> None:
    plans = [Plan(duration_s=2.0, rate_hz=20, label=name) for name in "ab"]
    course = Course(tuple(plans), interleaved(plans, blocks=10, seed=1))
    with Server(Stalling(9, 1.5)) as server:
        df = measure(lines_of(server, *plans), keep=lambda _df: "nowhere", segments=course.segments, seed=1)
    rows = df.groupby(["block", "label"], sort=False)["seq"].count()
    assert len(rows) == 20
    # What was left of the block that stalled is left out, as at the end of a series.
    assert len(df) < 80
    assert rows.max() == 4
    planned = df.groupby(["block", "label"], sort=False)["scheduled_ms"].first()
    assert planned.to_numpy() == pytest.approx([200.0 * block for block in range(20)], abs=0.01)
    since_stall_ms = df["scheduled_ms"] - df["scheduled_ms"].iloc[9]
    delayed = df["lag_ms"][(df["seq"] > 9) & (since_stall_ms < 600)]
    assert len(delayed) > 3
    assert (delayed > 890).all()


def test_one_line_after_the_other_are_series_with_plans_of_their_own() -> None:
    plans = [Plan(count=5, rate_hz=100, label=name) for name in "ab"]
    with Server(Stalling(4, 0.5)) as server:
        df = measure(
            lines_of(server, *plans), keep=lambda _df: "nowhere", segments=interleaved(plans, blocks=1, seed=1)
        )
    assert df["scheduled_ms"].iloc[5] > 500


def test_an_interrupt_in_any_round_keeps_all_rows(tmp_path: Path) -> None:
    chance = random.Random(3)
    for attempt in range(4):
        file, seen = tmp_path / f"{attempt}.jsonl", Lines()
        plans = [Plan(count=10_000, rate_hz=None, label=label) for label in ("a", "b")]
        segments = interleaved(plans, blocks=2000, seed=attempt)
        with Server(seen) as server:
            series = lines_of(server, *plans, journal=file)
            with running(*series, segments=segments) as run:
                until(partial(has_done, run, chance.randrange(20, 400)))
        df = table(run)
        assert 0 <= len(seen.requests) - len(df) <= 1
        assert df["seq"].tolist() == list(range(len(df)))
        planned = [segment for segment in segments for _ in range(segment.count or 0)][: len(df)]
        assert df["block"].tolist() == [segment.block for segment in planned]
        assert load(file).equals(df)


def test_what_ends_one_line_ends_the_run_with_the_rows_of_all() -> None:
    answered = [0]

    def refuse_the_25th(connection: socket.socket) -> None:
        while read_request(connection):
            answered[0] += 1
            connection.sendall(reply(b"{}", "403 Forbidden") if answered[0] == 25 else reply())

    plans = [Plan(count=40, rate_hz=None, label=label) for label in ("a", "b")]
    with Server(refuse_the_25th) as server, pytest.raises(SeriesError) as caught:
        measure(lines_of(server, *plans), keep=lambda _df: "nowhere", segments=interleaved(plans, blocks=10, seed=1))
    assert caught.value.kind == "forbidden"
    df = caught.value.df
    assert len(df) == answered[0] == 25
    assert set(df["label"]) == {"a", "b"}
