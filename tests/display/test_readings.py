"""Rows that are read while they come in: each error once, the latest to draw, a chart of bounded size."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from array import array

import numpy as np
import pytest

from donutwork_magics.display.card import Picture
from donutwork_magics.display.readings import LATEST, Reader, Reading, live_chart
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.rows import Rows
from tests.display.test_live import Series


def series(rows: Rows | None = None) -> Series:
    return Series(Plan(endless=True), rows=rows)


def live_picture(reading: Reading, elapsed_s: float, last_s: float) -> Picture:
    [[picture]] = (pictures.pictures for pictures in live_chart(reading, elapsed_s, last_s))
    return picture


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_each_error_is_counted_once_however_often_one_looks() -> None:
    run, reader = series(), Reader(0)
    for errors in (1, 2, 3):
        run.ping(1.0)
        run.ping(1.0, error="dns")
        assert reader.read(run.rows).errors == errors
        assert reader.read(run.rows).errors == errors


def test_errors_are_counted_also_where_more_came_in_than_are_drawn() -> None:
    run, reader = series(), Reader(0)
    reader.read(run.rows)
    run.ping(1.0, error="timeout", times=2 * LATEST)
    reading = reader.read(run.rows)
    assert reading.errors == 2 * LATEST
    assert reading.duration_ms.size == LATEST


def test_the_rows_of_a_series_before_are_not_its_own() -> None:
    first = series()
    first.ping(900.0, error="dns")
    first.ping(900.0)
    reading_before = Reader(2).read(first.rows)
    assert (reading_before.errors, reading_before.duration_ms.size) == (0, 0)
    second = series(first.rows)
    second.ping(3.0)
    assert list(Reader(2).read(second.rows).duration_ms) == [3.0]


def test_warm_up_is_neither_drawn_nor_counted() -> None:
    run, reader = series(), Reader(0)
    run.ping(500.0, warmup=True, error="dns")
    for _ in range(59):
        run.ping(5.0)
    reading = reader.read(run.rows)
    assert list(reading.duration_ms) == [5.0] * 59
    assert reading.errors == 0
    assert reading.percentiles_ms() == (5.0, 5.0)


def test_a_percentile_waits_for_the_successes_that_it_needs() -> None:
    run = series()
    supported = {4: (math.nan, math.nan), 5: (5.0, math.nan), 58: (5.0, math.nan), 59: (5.0, 5.0)}
    for n, percentiles_ms in supported.items():
        while len(run.rows) < 2 * n:
            run.ping(5.0)
            run.ping(900.0, error="timeout")
        read = Reader(0).read(run.rows).percentiles_ms()
        assert read == pytest.approx(percentiles_ms, nan_ok=True)


def test_a_percentile_says_of_which_pings_it_is() -> None:
    run, reader = series(), Reader(0)
    captions = {}
    for n in (4, 5, 1000, 1001, 3000, LATEST + 1):
        run.ping(5.0 if n <= 1000 else 7.0, times=n - len(run.rows))
        reading = reader.read(run.rows)
        captions[n] = reading.figures()[0].caption
    assert captions == {
        4: "p50 needs 5 successes",
        **dict.fromkeys((5, 1000), "p50 so far"),
        **dict.fromkeys((1001, 3000, LATEST + 1), "p50 of the latest 1000"),
    }
    # Those before it do not count any more.
    assert reading.percentiles_ms() == (7.0, 7.0)


def test_rows_that_made_room_do_not_confuse_it() -> None:
    rows = Rows(keep=10)
    run, reader = series(rows), Reader(0)
    for value in range(100):
        run.ping(float(value))
        assert reader.read(rows).duration_ms[-1] == value


def test_without_a_success_there_is_no_percentile() -> None:
    run = series()
    run.ping(5.0, error="dns")
    assert all(math.isnan(value) for value in Reader(0).read(run.rows).percentiles_ms())


@pytest.mark.parametrize(
    ("elapsed_s", "last"),
    [(3.0, "4 s"), (9.0, "10 s"), (25.0, "30 s"), (45.0, "1 min"), (61.0, "now"), (9000.0, "now")],
)
def test_the_chart_grows_in_steps_and_then_moves_on(elapsed_s: float, last: str) -> None:
    run = series()
    for _ in range(10):
        run.ping(5.0)
    run.rows.floats["started_ms"] = array("d", np.linspace(0, elapsed_s * 1e3, 10))
    seen = texts(live_picture(Reader(0).read(run.rows), elapsed_s, 60.0).svg)
    assert last in seen
    assert ("0 s" in seen) == (last != "now")


def test_the_chart_says_in_words_what_it_shows() -> None:
    run = series()
    run.ping(5.0)
    run.ping(7.0)
    run.ping(900.0, error="timeout")
    picture = live_picture(Reader(0).read(run.rows), 3.0, 60.0)
    assert picture.alt == "Durations of the last 3 s: 2 pings from 5.00 ms to 7.00 ms, 1 error."
    assert picture.alt in picture.svg


def test_an_update_is_small_after_any_number_of_pings() -> None:
    run, reader = series(), Reader(0)
    run.ping(5.0, times=3 * LATEST)
    run.rows.floats["duration_ms"] = array("d", np.random.default_rng(1).lognormal(1.0, 1.0, 3 * LATEST))
    run.rows.floats["started_ms"] = array("d", np.linspace(0, 59e3, 3 * LATEST))
    assert len(live_picture(reader.read(run.rows), 59.0, 60.0).svg) < 10_000


def test_the_chart_is_of_the_time_that_the_rows_cover() -> None:
    run, reader = series(), Reader(0)
    run.ping(5.0, times=10 * LATEST)
    run.rows.floats["started_ms"] = array("d", np.linspace(0, 50e3, 10 * LATEST))
    picture = live_picture(reader.read(run.rows), 50.0, 60.0)
    assert picture.alt.startswith(f"Durations of the last 5 s: {LATEST} pings")
    assert {"now", "−4 s"} <= set(texts(picture.svg))


def test_a_rate_is_that_of_the_starts() -> None:
    run, reader = series(), Reader(0)
    assert math.isnan(reader.read(run.rows).rate_hz)
    for _ping in range(11):
        run.ping(5.0)
    assert reader.read(run.rows).rate_hz == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("now_s", "began_s", "rate_hz"),
    [
        (1.0, 0.0, 10.0),
        (2.0, 0.0, 5.0),
        (4.0, 0.0, 2.5),
        (8.05, 0.0, 5 / 7.5),
        (20.0, 0.0, 0.0),
        (1.0, 0.51, 4 / 0.49),
        (1.0, 0.95, math.nan),
    ],
    ids=["steady", "it rests", "the whole window", "the rest leaves it", "nothing", "a part", "a part of one ping"],
)
def test_a_rate_of_the_last_seconds_has_the_rests_in_it(now_s: float, began_s: float, rate_hz: float) -> None:
    run = series()
    for _ping in range(11):
        run.ping(5.0)
    lately_hz, of_s = Reader(0).read(run.rows).lately_hz(now_s, began_s=began_s, window_s=7.5)
    assert lately_hz == pytest.approx(rate_hz, nan_ok=True)
    assert of_s == pytest.approx(min(7.5, now_s - began_s))


def test_a_rate_of_more_seconds_than_there_are_rows_is_that_of_the_rows() -> None:
    run, reader = series(Rows(100)), Reader(0)
    run.ping(5.0)
    reader.read(run.rows)
    for _ping in range(999):
        run.ping(5.0)
    reading = reader.read(run.rows)
    assert reading.cut
    rate_hz, of_s = reading.lately_hz(100.0, began_s=0.0, window_s=30.0)
    assert rate_hz == pytest.approx(10.0, rel=0.02)
    assert of_s == 100.0 - reading.started_s[0] < 15.0
    assert reading.figures()[0].name == f"p50 of the latest {reading.started_s.size}"
