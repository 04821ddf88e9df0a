"""Given samples, the rows hold what the table needs, in little memory."""

from __future__ import annotations

import math
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from donutwork_magics.client.sample import Sample
from donutwork_magics.network.caller import Exchange
from donutwork_magics.network.timing import Phases
from donutwork_magics.sampling.rows import Rows
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
        duration_ms=finite,
        phases=st.builds(Phases, *[milliseconds] * 6),
        reused=st.booleans(),
        retried=st.booleans(),
        http_version=words,
        peer=words,
        tls_version=words,
        tcp_rtt_ms=milliseconds,
        tcp_retransmits=st.none() | st.integers(0, 2**15 - 1),
    ),
    error=st.none() | st.just("timeout"),
    status_code=st.none() | st.integers(100, 999),
    retry_after_s=st.none() | finite,
    body_bytes=st.none() | st.integers(0, 2**31 - 1),
    env=words,
    rrt=words,
    rrt_ms=milliseconds,
)


def columns(rows: Rows) -> dict[str, list[Any]]:
    numbers = {name: list(map(repr, column)) for name, column in (rows.floats | rows.integers).items()}
    flags = {name: column.tolist() for name, column in rows.flags.items()}
    texts = {name: [column[row] for row in range(len(rows))] for name, column in (rows.words | rows.texts).items()}
    return numbers | flags | texts


@given(st.lists(samples, max_size=8))
@settings(derandomize=True, deadline=None)
def test_a_row_survives_its_journal(made: list[Sample]) -> None:
    rows, back = Rows(), Rows()
    for seq, sample in enumerate(made):
        rows.append(sample, Slot(seq, None), origin_ns=0, label="p", warmup=bool(seq % 2))
        back.append_record(msgspec.json.decode(msgspec.json.encode(rows.record(-1))))
    assert columns(back) == columns(rows)
    assert list(back.texts["rrt"]) == [sample.rrt and sample.rrt[:100] for sample in made]
    assert [rows.record(row) for row in range(len(rows))] == [rows.record(row - len(rows)) for row in range(len(rows))]


@pytest.mark.parametrize("count", [10_000, 100_000])
def test_a_row_takes_300_bytes_at_most_even_if_every_text_differs(count: int) -> None:
    phases = Phases(0.0, 0.0, 0.0, 0.02, 1.0, 0.0)
    rows = Rows()
    for seq in range(count):
        exchange = Exchange(seq, seq, 1.02, phases, True, False, "1.1", "127.0.0.1", "TLSv1.3", 0.1, 0)
        text = f"{seq / 1e4:.6f} ms"
        sample = Sample(exchange, status_code=200, body_bytes=60, env="staging", rrt=text, rrt_ms=seq / 1e4)
        rows.append(sample, Slot(seq, seq), origin_ns=0, label="ping")
    arrays = [*rows.floats.values(), *rows.integers.values(), *rows.flags.values()]
    arrays += [column.codes for column in rows.words.values()]
    texts = rows.texts["rrt"]
    taken = sum(map(sys.getsizeof, [*arrays, texts._bytes, texts._ends]))
    assert taken <= 300 * count
