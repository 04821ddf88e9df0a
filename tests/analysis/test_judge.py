"""Given what a user expects, a series holds it, fails it, or leaves it undecided; and a text is read strictly."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from donutwork_magics.analysis.expectations import Expectation, judge, parse_expectation
from donutwork_magics.analysis.intervals import cell_is_narrow, next_look, series_is_narrow
from donutwork_magics.errors import AnalysisError
from tests.display.frames import frame


@pytest.mark.parametrize(
    ("text", "read", "shown"),
    [
        ("p95<200ms", Expectation("duration_ms", 0.95, 200.0), "p95<200ms"),
        ("ttfb_ms.p50<=40ms", Expectation("ttfb_ms", 0.5, 40.0, True), "ttfb_ms.p50<=40ms"),
        (" max<1.5s ", Expectation("duration_ms", 1.0, 1500.0), "max<1.5s"),
        ("rrt_ms.max<500us", Expectation("rrt_ms", 1.0, 0.5), "rrt_ms.max<500µs"),
        ("p5<1m", Expectation("duration_ms", 0.05, 60_000.0), "p5<60s"),
        ("errors<1%", Expectation("", None, 0.01), "errors<1%"),
        ("errors<=0.5%", Expectation("", None, 0.005, True), "errors<=0.5%"),
    ],
)
def test_an_expectation_is_read(text: str, read: Expectation, shown: str) -> None:
    found = parse_expectation(text)
    assert found.limit == pytest.approx(read.limit)
    assert found.quantile == pytest.approx(read.quantile)
    assert (found.column, found.or_equal) == (read.column, read.or_equal)
    assert str(found) == shown
    assert parse_expectation(shown) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p95",
        "p95>200ms",
        "95<200ms",
        "p95<",
        "mean<5ms",
        "p0<1s",
        "p100<1s",
        "p999<1s",
        "p9.5.1<1s",
        "p95<0ms",
        "p95<-1ms",
        "p95<5%",
        "max<1e3ms",
        "p95<\u0665ms",
        "p95<2h",
        "rrt.p95<1s",
        "label.p50<1s",
        "rrt_ms.errors<1%",
        "errors<0%",
        "errors<100%",
        "errors<0.01",
        "p95<200",
    ],
)
def test_what_is_none_is_refused_in_one_line_without_its_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^needs a limit with its unit, such as [^\n]*$"):
        parse_expectation(text)


def test_reading_needs_neither_numpy_nor_pandas() -> None:
    code = (
        "import sys, donutwork_magics.analysis.expectations as e; e.parse_expectation('p95<1s');"
        "print(*sorted({'numpy', 'pandas', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


def pings(n: int = 400) -> list[float]:
    return [float(value) for value in np.random.default_rng(1).normal(100.0, 5.0, n)]


@pytest.mark.parametrize(
    ("text", "outcome", "words"),
    [
        ("p50<110ms", "holds", "p50<110ms holds: 99.7 ms (99.1 ms to 100 ms)"),
        ("p50<90ms", "fails", "p50<90ms fails: 99.7 ms (99.1 ms to 100 ms)"),
        ("p50<100ms", "undecided", "p50<100ms is undecided: 99.7 ms (99.1 ms to 100 ms)"),
        ("max<1s", "holds", "max<1s holds: 116 ms"),
        ("max<1ms", "fails", "max<1ms fails: 116 ms"),
        ("errors<5%", "holds", "errors<5% holds: 0 % (0 % to 1.0 %)"),
        ("errors<0.5%", "undecided", "errors<0.5% is undecided: 0 % (0 % to 1.0 %)"),
        ("p99.9<1s", "undecided", "p99.9<1s is undecided: of the 2995 pings that it needs there are 400"),
    ],
)
def test_it_holds_below_its_interval_fails_above_it_and_is_undecided_within(
    text: str, outcome: str, words: str
) -> None:
    found = judge(text, frame(pings()))
    assert found.outcome == outcome
    assert str(found) == words


def test_the_limit_itself_is_as_expected_only_with_an_equals_sign() -> None:
    df = frame([5.0] * 100)
    assert [judge(text, df).outcome for text in ("p50<5ms", "p50<=5ms", "max<5ms", "max<=5ms")] == [
        "fails",
        "holds",
    ] * 2


def test_errors_in_a_row_decide_less_than_as_many_apart() -> None:
    apart = frame(pings(), errors=dict.fromkeys(range(0, 400, 10), "timeout"))
    together = frame(pings(), errors=dict.fromkeys(range(100, 140), "timeout"))
    assert judge("errors<6%", apart).outcome == "fails"
    assert judge("errors<6%", together).outcome == "undecided"


def hanging(each: int, n: int = 200) -> pd.DataFrame:
    """Let each so-manieth ping hang until its timeout of 300 ms, and the others take about 5 ms."""
    durations_ms = np.random.default_rng(1).normal(5.0, 0.5, n)
    durations_ms[::each] = 300.0
    return frame(durations_ms.tolist(), errors=dict.fromkeys(range(0, n, each), "timeout"))


@pytest.mark.parametrize(
    ("text", "each", "words"),
    [
        ("p95<200ms", 5, "fails: 300 ms or more (40 of 200 timed out)"),
        ("p95<200ms", 20, "is undecided: 6.44 ms (5.81 ms or more; 10 of 200 timed out)"),
        ("p95<1s", 5, "is undecided: 300 ms or more (40 of 200 timed out)"),
        ("p50<20ms", 5, "holds: 5.09 ms (5.02 ms to 5.17 ms; 40 of 200 timed out)"),
        ("p50<4ms", 5, "fails: 5.09 ms (5.02 ms to 5.17 ms; 40 of 200 timed out)"),
        ("corrected_ms.p95<200ms", 5, "fails: 300 ms or more (40 of 200 timed out)"),
        ("max<250ms", 20, "fails: 300 ms or more (10 of 200 timed out)"),
        ("max<1s", 20, "is undecided: 300 ms or more (10 of 200 timed out)"),
    ],
)
def test_a_ping_that_timed_out_took_its_duration_or_more(text: str, each: int, words: str) -> None:
    found = judge(text, hanging(each))
    assert str(found).removeprefix(f"{text} ") == words
    assert found.low <= found.value <= found.high


def test_a_time_of_which_only_a_bound_is_known_has_no_high_end() -> None:
    # 70 pings have none in any case.
    found = judge("p95<1s", hanging(5, 70))
    assert math.isnan(judge("p95<1s", frame(pings(70))).high)
    assert str(found) == "p95<1s is undecided: 300 ms or more (14 of 70 timed out)"
    assert found.low == 300.0


def test_an_interval_with_one_end_says_so() -> None:
    text = str(judge("p95<1ms", frame(pings(70))))
    assert re.fullmatch(r"p95<1ms fails: \S+ ms \(\S+ ms or more\)", text), text
    text = str(judge("p5<1ms", frame(pings(70))))
    assert re.fullmatch(r"p5<1ms is undecided: \S+ ms \(\S+ ms or less\)", text), text


def test_where_all_timed_out_a_limit_below_the_timeout_fails() -> None:
    df = hanging(1, 60)
    assert [judge(text, df).outcome for text in ("p50<200ms", "p50<1s", "max<200ms", "max<1s")] == [
        "fails",
        "undecided",
    ] * 2


def test_pings_that_failed_otherwise_have_no_time_and_it_says_so() -> None:
    df = frame(pings(100), errors=dict.fromkeys(range(61), "server_error"))
    text = str(judge("p50<1s", df))
    assert text.startswith("p50<1s holds: ")
    assert text.endswith("; 61 of 100 pings failed and are not counted: errors<1% judges them")
    df.loc[:19, "error"] = "timeout"
    text = str(judge("p50<1s", df))
    assert "; 20 of 59 timed out)" in text
    assert text.endswith("; 41 of 100 pings failed otherwise and are not counted: errors<1% judges them")
    # The server's own time of a ping that timed out is not known at all.
    assert "; 61 of 100 pings failed and are not counted" in str(judge("rrt_ms.p50<1s", df))
    assert "not counted" not in str(judge("errors<1%", df))
    # With -r max no ping has one.
    assert "; 41 of 100 pings failed and" in str(judge("corrected_ms.p50<1s", df.assign(corrected_ms=np.nan)))


@pytest.mark.parametrize("text", ["network_ms.p50<1ms", "network_ms.max<1ms", "network_ms.p99.9<1ms"])
def test_a_time_of_the_network_below_0_decides_nothing(text: str) -> None:
    df = frame(pings(), errors={0: "timeout"})
    found = judge(text, df.assign(network_ms=-470.0))
    reason = "in 399 of 399 replies the RRT is above the wait, so network time is not known"
    assert str(found).startswith(f"{text} is undecided: {reason}; 1 of 400 pings failed")
    assert math.isnan(found.value)
    assert found.above_wait == 399


def test_a_time_of_the_network_that_is_rounded_below_0_is_judged() -> None:
    df = frame(pings())
    assert judge("network_ms.p50<1ms", df.assign(network_ms=-0.05)).outcome == "holds"
    few = df.assign(network_ms=df["network_ms"].where(df["seq"] >= 20, -470.0))
    assert judge("network_ms.p50<1s", few).outcome == "holds"
    # Only the network's time is made of both.
    assert judge("ttfb_ms.p50<1s", df.assign(network_ms=-470.0)).outcome == "holds"


@pytest.mark.parametrize("df", [frame([1.0]).iloc[:0], frame([1.0] * 30, errors=dict.fromkeys(range(30), "dns"))])
def test_nothing_is_decided_by_pings_that_are_not_there(df: object) -> None:
    assert [judge(text, df).outcome for text in ("p50<1s", "max<1s")] == ["undecided"] * 2  # type: ignore[arg-type]


def test_too_few_pings_decide_nothing_but_the_longest_time() -> None:
    found = judge("p50<1s", frame(pings(20)))
    assert str(found) == "p50<1s is undecided: 101 ms (no interval: 20 pings are too few, or too alike)"
    assert math.isnan(found.high)
    assert judge("max<1s", frame(pings(20))).outcome == "holds"


@pytest.mark.parametrize("text", ["p95<200", 3, None])
def test_what_is_no_expectation_is_an_exact_error(text: Any) -> None:
    with pytest.raises(AnalysisError, match=r"^expectation needs a"):
        judge(text, frame([1.0]))


def test_another_table_is_an_exact_error() -> None:
    with pytest.raises(AnalysisError, match="lacks the columns duration_ms"):
        judge("p50<1s", frame([1.0]).drop(columns="duration_ms"))


def test_a_series_is_looked_at_from_100_pings_on_at_each_tenth_more() -> None:
    looks = [next_look(0)]
    while looks[-1] < 200:
        looks.append(next_look(looks[-1]))
    assert looks == [100, 111, 123, 136, 150, 165, 182, 201]


def test_a_series_is_narrow_by_the_half_width_over_the_median() -> None:
    values = np.array(pings())
    assert series_is_narrow(values, 0.05)
    assert not series_is_narrow(values, 0.001)
    assert not series_is_narrow(values[:99], 0.5)
    # Too alike for an interval.
    assert not series_is_narrow(np.repeat(values[:20], 20), 0.5)


def test_a_cell_is_narrow_where_all_of_its_differences_are() -> None:
    random = np.random.default_rng(1)
    lines = [random.normal(100.0, sigma, 12) for sigma in (1.0, 1.0, 20.0)]
    assert cell_is_narrow(lines[:2], 100.0, 0.05)
    assert not cell_is_narrow(lines, 100.0, 0.05)
    assert not cell_is_narrow([line[:9] for line in lines[:2]], 100.0, 0.5)


def test_very_many_rounds_can_be_looked_at_too() -> None:
    lines = list(np.random.default_rng(1).normal(100.0, 10.0, (2, 1201)))
    assert cell_is_narrow(lines, 100.0, 0.02)
    assert not cell_is_narrow(lines, 100.0, 0.001)
