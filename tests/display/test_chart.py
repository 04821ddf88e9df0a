"""A chart is an SVG of bounded size that shows every outlier, the errors apart, on axes with round numbers."""

from __future__ import annotations

import math
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from donutwork_magics.display import chart, mimebundle
from donutwork_magics.display.card import Picture, Pictures
from donutwork_magics.display.cards import card_of
from donutwork_magics.display.chart import (
    LIVE,
    SAVED,
    Numbers,
    bins_of,
    blocks,
    heights_over_time,
    timeline,
)
from donutwork_magics.display.run import RunCard
from tests.display.frames import frame
from tests.display.values import HOSTILE, comparison

SVG = "{http://www.w3.org/2000/svg}"


def draw(durations_ms: list[float] | Numbers, failed: tuple[int, ...] = (), every_s: float = 0.1, **look: Any) -> str:
    durations = np.array(durations_ms, dtype=np.float64)
    flags = np.zeros(durations.size, dtype=bool)
    flags[list(failed)] = True
    return timeline(every_s * np.arange(durations.size, dtype=np.float64), durations, flags, **look)


def histogram(values: Numbers, marks: Mapping[str, float]) -> str:
    return chart.histogram(bins_of({"": values}), marks)


def ridges(parts: Mapping[str, Numbers], p50_ms: Mapping[str, float]) -> str:
    return chart.ridges(bins_of(parts), p50_ms)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def paths(svg: str, colour: str) -> list[str]:
    return [path.get("d", "") for path in ET.fromstring(svg).iter(f"{SVG}path") if path.get("stroke") == colour]


def crosses(svg: str) -> list[float]:
    """Where the crosses stand."""
    drawn = next(text for text in ET.fromstring(svg).iter(f"{SVG}text") if text.get("fill") == SAVED.error)
    places = [float(x) for x in drawn.get("x", "").split()]
    assert drawn.text == "×" * len(places)
    return places


def dots(svg: str) -> int:
    return paths(svg, SAVED.value)[-1].count("M")


def skewed(n: int) -> Numbers:
    return np.random.default_rng(1).lognormal(1.0, 1.0, n)


class TestTimeline:
    def test_few_pings_are_a_dot_each(self) -> None:
        assert dots(draw([5.0, 6.0, 7.0, 5.0, 6.0])) == 5

    def test_many_pings_are_a_stroke_a_column_and_its_size_does_not_grow(self) -> None:
        sizes = [len(draw(skewed(n), failed=tuple(range(0, n, 3)))) for n in (1000, 10_000, 100_000)]
        assert max(sizes) < 8_000
        assert max(sizes) < 1.2 * min(sizes)

    def test_a_single_outlier_among_many_is_seen(self) -> None:
        values = np.full(50_000, 5.0)
        values[33_333] = 9.0
        calm, noticed = draw(np.full(50_000, 5.0)), draw(values)
        assert "V" not in paths(calm, SAVED.value)[0]
        assert paths(noticed, SAVED.value)[0].count("V") == 1

    def test_errors_are_crosses_in_a_strip_with_a_name_and_not_among_the_values(self) -> None:
        svg = draw([5.0, 900.0, 5.0, 5.0], failed=(1, 3))
        assert crosses(svg) == pytest.approx([50 + 6 + 222 / 3, 50 + 6 + 222], abs=3)
        assert "errors" in texts(svg)
        assert dots(svg) == 2
        assert "1 s" not in texts(svg)
        assert "errors" not in texts(draw([5.0, 5.0]))

    def test_the_first_cross_keeps_away_from_the_name_of_the_strip(self) -> None:
        svg = draw([5.0] * 200, failed=tuple(range(200)))
        name = next(text for text in ET.fromstring(svg).iter(f"{SVG}text") if text.text == "errors")
        assert name.get("text-anchor") == "end"
        assert min(crosses(svg)) - 3 - float(name.get("x", "nan")) >= 5

    def test_nothing_but_errors_has_no_axis_of_values(self) -> None:
        svg = draw([5.0, 5.0], failed=(0, 1))
        assert not [text for text in texts(svg) if text.endswith("µs")]
        assert "errors" in texts(svg)

    @pytest.mark.parametrize(
        ("durations_ms", "labels"),
        [
            ([0.03, 0.05], ["0", "20 µs", "40 µs", "60 µs"]),
            ([3.0, 7.0], ["0", "2 ms", "4 ms", "6 ms", "8 ms"]),
            ([900.0, 3900.0], ["0", "1 s", "2 s", "3 s", "4 s"]),
            ([2.0, 150.0], ["3 ms", "10 ms", "30 ms", "100 ms"]),
            ([0.9, 20_000.0], ["1 ms", "10 ms", "100 ms", "1 s", "10 s"]),
        ],
    )
    def test_the_axis_of_values_has_round_numbers_in_units_by_size(
        self, durations_ms: list[float], labels: list[str]
    ) -> None:
        elements = ET.fromstring(draw(durations_ms * 5)).iter(f"{SVG}text")
        assert [element.text for element in elements if element.get("x") == "45"] == labels

    @pytest.mark.parametrize(
        ("seconds", "label"), [(0.4, "200 ms"), (8, "2 s"), (100, "30 s"), (1000, "5 min"), (50_000, "4 h")]
    )
    def test_the_axis_of_time_has_the_unit_that_fits(self, seconds: float, label: str) -> None:
        assert label in texts(draw([5.0] * 11, every_s=seconds / 10))

    def test_the_last_minute_is_counted_back_from_now(self) -> None:
        seen = texts(draw([5.0] * 200, span_s=(-40.0, 20.0), count_back=True))
        assert "now" in seen
        assert "−20 s" in seen

    @pytest.mark.parametrize("durations_ms", [[], [5.0], [0.0, 0.0], [math.nan, math.nan], [math.inf, 5.0], [5.0] * 9])
    def test_it_draws_whatever_there_is(self, durations_ms: list[float]) -> None:
        assert "nan" not in draw(durations_ms)
        assert "inf" not in draw(durations_ms)

    def test_a_hundred_thousand_take_no_longer_than_a_blink(self) -> None:
        values = skewed(100_000)
        began_s = time.thread_time()
        draw(values)
        assert time.thread_time() - began_s < 1.0

    def test_a_live_one_says_what_it_is_and_takes_the_colours_of_the_page(self) -> None:
        svg = draw([5.0, 6.0], look=LIVE, title="Durations <lately>")
        root = ET.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("aria-label") == "Durations <lately>"
        assert root[0].text == "Durations <lately>"
        assert "var(--jp-" in svg

    def test_a_live_one_gives_way_to_a_narrow_page_but_its_letters_do_not(self) -> None:
        svg = draw([5.0, 900.0, 5.0, 5.0, 900.0], failed=(1, 4), look=LIVE, title="Durations")
        root = ET.fromstring(svg)
        stretched = root.find(f".//{SVG}svg")
        assert stretched is not None
        # What scales has a view box, and letters are not in it.
        assert (root.get("viewBox"), stretched.get("preserveAspectRatio")) == (None, "none")
        assert "max-width:100%" in (root.get("style") or "")
        assert not list(stretched.iter(f"{SVG}text"))
        drawn = list(root.iter(f"{SVG}path"))
        assert drawn == list(stretched.iter(f"{SVG}path"))
        assert {path.get("vector-effect") for path in drawn} == {"non-scaling-stroke"}
        crosses = next(text for text in root.iter(f"{SVG}text") if text.get("fill") == LIVE.error)
        assert crosses.text == "××"
        first, last = (float(place.removesuffix("%")) for place in (crosses.get("x") or "").split())
        assert 20 < first < 30
        assert 95 < last <= 100


class TestHistogram:
    def test_the_axis_is_logarithmic_where_values_span_a_factor_of_ten(self) -> None:
        assert {"1 ms", "100 ms"} <= set(texts(histogram(np.array([1.0, 5.0, 20.0, 100.0] * 20), {})))
        assert {"4 ms", "6 ms", "8 ms"} <= set(texts(histogram(np.array([3.0, 5.0, 8.0] * 20), {})))

    def test_every_value_is_in_a_bin_and_bins_are_bounded(self) -> None:
        for values in (skewed(100_000), np.array([5.0]), np.array([5.0] * 9), np.array([1.0, 1.0, 1.0, 1e6])):
            heights = bins_of({"a": values}).counts["a"]
            assert heights.sum() == values.size
            assert 8 <= heights.size <= 48

    def test_bins_follow_freedman_and_diaconis(self) -> None:
        values = np.random.default_rng(1).uniform(10.0, 20.0, 1000)
        # Twice the interquartile range over the cube root of n: 2 * 5 / 10 is a width of 1.
        assert bins_of({"a": values}).edges.size - 1 in {10, 11}

    def test_marks_are_named_unless_their_names_would_collide(self) -> None:
        values = skewed(1000)
        assert {"p50", "p95"} <= set(texts(histogram(values, {"p50": 2.7, "p95": 14.0, "p99": math.nan})))
        assert "p99" not in texts(histogram(values, {"p95": 14.0, "p99": 14.1}))

    def test_its_size_does_not_grow(self) -> None:
        assert len(histogram(skewed(100_000), {"p50": 2.7})) < 4_000


class TestRidges:
    def test_labels_are_on_one_axis_and_the_first_eight_are_drawn(self) -> None:
        parts = {f"label {at}": skewed(500) * (1 + at) for at in range(20)}
        svg = ridges(parts, dict.fromkeys(parts, 2.7))
        named = [text for text in texts(svg) if text.startswith("label")]
        assert named == [f"label {at}, p50 2.70 ms" for at in range(8)]
        assert len(svg) < 8_000

    def test_their_letters_are_as_large_as_those_of_other_charts_on_a_narrow_page(self) -> None:
        ridge, spread = (ET.fromstring(svg) for svg in (ridges({"a": skewed(9)}, {"a": 2.0}), histogram(skewed(9), {})))
        assert ridge.get("width") == spread.get("width")

    def test_a_label_without_a_median_has_no_mark(self) -> None:
        svg = ridges({"a": skewed(4)}, {"a": math.nan})
        assert "a" in texts(svg)
        assert "dasharray" not in svg

    def test_a_label_cannot_mark_up(self) -> None:
        root = ET.fromstring(ridges({HOSTILE: skewed(9)}, {HOSTILE: 2.0}))
        assert not list(root.iter(f"{SVG}script"))

    @pytest.mark.parametrize("parts", [{}, {"a": np.empty(0)}, {"a": np.array([5.0]), "b": np.array([math.nan])}])
    def test_it_draws_whatever_there_is(self, parts: Mapping[str, Numbers]) -> None:
        assert "nan" not in ridges(parts, {})


class TestBlocks:
    def test_the_highest_is_full_and_a_gap_is_blank(self) -> None:
        assert blocks([1.0, math.nan, 8.0, 4.0, 0.0]) == "▂ █▅ "
        assert blocks([]) == ""

    def test_over_time_the_greatest_of_a_stretch_is_seen(self) -> None:
        heights = heights_over_time(np.arange(100.0), np.where(np.arange(100) == 55, 9.0, 1.0), 10)
        assert list(heights) == [1.0, 1.0, 1.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0]


def pictures(card: RunCard) -> list[Picture]:
    return [p for section in card_of(card).sections if isinstance(section, Pictures) for p in section.pictures]


class TestOfARun:
    def test_the_texts_in_their_place_say_the_summary(self) -> None:
        durations_ms = [5.0 + 0.1 * seq for seq in range(70)]
        over_time, how_often = pictures(RunCard(frame(durations_ms, errors={3: "timeout"})))
        assert over_time.alt == (
            "Durations of 69 pings over 6.9 s; from 5.00 ms to 11.9 ms, half of them up to 8.50 ms; "
            "1 error, marked by crosses."
        )
        assert how_often.alt.startswith(
            "Histogram of 69 durations on a linear axis, 5.00 ms to 11.9 ms; p50 8.50 ms; p95 "
        )
        assert "p99" not in how_often.alt

    def test_a_single_ping_has_no_chart(self) -> None:
        assert pictures(RunCard(frame([5.0]))) == []

    def test_warm_up_is_not_drawn(self) -> None:
        over_time, how_often = pictures(RunCard(frame([900.0, 5.0, 6.0, 5.0, 6.0, 5.0], warmup=1)))
        assert "5 pings" in over_time.alt
        assert "5 durations" in how_often.alt

    def test_its_percentiles_are_marked_in_its_histogram(self) -> None:
        histogram_of_run = pictures(RunCard(frame(list(skewed(400)))))[1]
        assert {"p50", "p95", "p99"} <= set(texts(histogram_of_run.svg))

    def test_a_comparison_marks_the_p50_of_each_label(self) -> None:
        [picture] = pictures(comparison(labels=3))
        assert "cold 1, p50 6.00 ms" in texts(picture.svg)
        assert picture.svg.count("stroke-dasharray") == 3

    def test_a_comparison_shows_its_labels_on_one_axis(self) -> None:
        [picture] = pictures(comparison(labels=3))
        assert picture.alt.startswith("Durations of each label on one axis")
        assert "cold 0: p50 5.00 ms; cold 1: p50 6.00 ms" in picture.alt
        assert picture.blocks == (
            ("cold 0", "█" + 7 * " "),
            ("cold 1", 4 * " " + "█" + 3 * " "),
            ("cold 2", 7 * " " + "█"),
            ("", "5.00 ms to 7.00 ms"),
        )

    def test_in_a_terminal_its_labels_stand_on_one_axis_too(self) -> None:
        lines = mimebundle(comparison(labels=3))["text/plain"].splitlines()
        at = [line.index("█") for line in lines if re.match(" +cold . +█$", line)]
        assert at[1:] == [at[0] + 4, at[0] + 7]

    def test_in_a_terminal_a_chart_has_the_ends_of_its_axes(self) -> None:
        df = frame([5.0 + 0.1 * seq for seq in range(70)], errors={0: "timeout", 69: "dns"})
        lines = mimebundle(RunCard(df))["text/plain"].splitlines()
        at = next(at for at, line in enumerate(lines) if "Duration over time" in line)
        durations, errors, time = lines[at + 1 : at + 4]
        begin = durations.index("▄")
        assert durations[:begin].strip() == "0–11.8 ms"
        assert errors == f"{'    errors':{begin}}×{58 * ' '}×"
        assert time == f"{begin * ' '}0 s{52 * ' '}6.9 s"
        spread = frame(list(np.random.default_rng(1).uniform(10.0, 20.0, 1000)))
        histogram, ends = mimebundle(RunCard(spread))["text/plain"].split("Histogram of durations\n")[1].split("\n")[:2]
        assert re.fullmatch(r"    10\.\d ms to 20\.\d ms", ends)
        assert len(histogram.strip()) == 10

    def test_a_timeline_says_when_its_axis_is_logarithmic_and_so_are_its_blocks(self) -> None:
        text = mimebundle(RunCard(frame([2.0, 200.0] * 30, errors={0: "dns"})))["text/plain"]
        caption, durations = text[text.index("Duration over time") :].split("\n")[:2]
        assert caption == "Duration over time, log scale, × errors"
        assert durations.split()[:2] == ["2.00–200", "ms"]
        assert set("▁█") <= set(durations)

    def test_in_a_terminal_blocks_are_whole_and_names_give_way(self) -> None:
        text = mimebundle(comparison("x" * 70, labels=3))["text/plain"]
        assert [line for line in text.splitlines() if line.strip().startswith("xxxx") and line.endswith("█")]
