"""Given samples, the rows hold what the table needs, in little memory."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from donutwork_magics.client.sample import Sample
from donutwork_magics.network.caller import Exchange
from donutwork_magics.network.timing import Phases
from donutwork_magics.sampling.rows import Rows, decode, encode, row_of
from donutwork_magics.sampling.schedule import Slot

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
@pytest.mark.slow
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
@pytest.mark.slow
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
