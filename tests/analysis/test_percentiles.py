"""Given pings, a percentile has an interval that holds where they are alike, and none where the sample has none."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from donutwork_magics.analysis.intervals import (
    FEWEST_EFFECTIVE,
    binomial_ranks,
    n_effective,
    quantile_intervals,
    share_interval,
    signed_rank,
    wilson,
)
from donutwork_magics.analysis.summary import percentiles, summary
from donutwork_magics.errors import AnalysisError
from donutwork_magics.frame.accessor import DonutworkAccessor
from tests.analysis.experiments import alike
from tests.display.frames import frame


def independent(n: int, seed: int = 1) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).lognormal(3.0, 0.3, n)]


# From scipy 1.17: quantile_test(x, q=0, p=p).confidence_interval(0.95) of 1, 2, 3 ... n; nan where it has no end.
@pytest.mark.parametrize(
    ("n", "quantile", "low", "high"),
    [
        (30, 0.5, 10, 21),
        (100, 0.5, 40, 61),
        (100, 0.9, 84, 96),
        (71, 0.95, 63, None),
        (72, 0.95, 64, 72),
        (367, 0.99, 359, None),
        (368, 0.99, 360, 368),
        (3687, 0.999, 3679, None),
        (3688, 0.999, 3680, 3688),
        (1000, 0.1, 82, 120),
    ],
)
def test_the_ranks_of_independent_values_are_those_of_the_textbook(
    n: int, quantile: float, low: int, high: int | None
) -> None:
    assert binomial_ranks(n, quantile) == (low, n + 1 if high is None else high)


def test_wilson_is_that_of_scipy() -> None:
    # scipy 1.17: binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(3, 50) == pytest.approx((0.020614970348973957, 0.1621709168883817), abs=1e-12)
    assert wilson(0, 7) == pytest.approx((0.0, 0.35433043506668743), abs=1e-12)


def test_the_signed_rank_is_that_of_scipy() -> None:
    # scipy 1.17: wilcoxon(x, method="exact").pvalue; R 4: wilcox.test(x, conf.int=TRUE) has the same interval.
    differences = np.array([1.1, -0.4, 2.3, 0.7, 3.9, -1.6, 0.2, 1.5, 2.8, 0.9])
    found = signed_rank(differences)
    assert found.p_value == pytest.approx(0.064453125, abs=1e-12)
    averages = np.sort([(a + b) / 2 for at, a in enumerate(differences) for b in differences[at:]])
    # Hollander, Wolfe, Chicken, table A.4: t(0.025, 10) is 47, so that the 9th from either end is the interval's.
    assert found[:3] == pytest.approx((np.median(averages), averages[8], averages[-9]))


def test_an_interval_is_of_order_statistics() -> None:
    values = np.array(independent(400))
    (found,) = quantile_intervals(values, [0.5])
    assert {found.low, found.high} <= set(values)
    assert found.low < found.value < found.high
    assert found.n_effective <= 400


def test_alike_pings_have_a_wider_interval_and_a_smaller_effective_size() -> None:
    random = np.random.default_rng(1)
    loose, tight = (alike(2000, correlation, random) for correlation in (0.0, 0.9))
    (wide,), (narrow,) = quantile_intervals(tight, [0.5]), quantile_intervals(loose, [0.5])
    assert wide.n_effective < 0.2 * narrow.n_effective
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_outliers_that_come_in_bursts_make_the_interval_of_the_tail_wider() -> None:
    values = np.array(independent(1000))
    apart, together = values.copy(), values.copy()
    apart[::50] = together.reshape(2, 500)[:, :10] = 200.0
    (apart_p95,), (together_p95,) = quantile_intervals(apart, [0.95]), quantile_intervals(together, [0.95])
    assert apart_p95.value == together_p95.value < 100
    assert together_p95.n_effective < 0.2 * apart_p95.n_effective
    assert apart_p95.high < 100 < together_p95.high


def test_a_decision_takes_the_tail_for_as_alike_as_the_middle() -> None:
    values = alike(1000, 0.8, np.random.default_rng(1))
    shown, cautious = quantile_intervals(values, [0.5, 0.95]), quantile_intervals(values, [0.5, 0.95], cautious=True)
    assert cautious[0] == shown[0]
    assert cautious[1].low < shown[1].low < shown[1].high < cautious[1].high


def test_too_alike_pings_have_no_interval_at_any_percentile() -> None:
    values = np.repeat(independent(20), 20)
    found = quantile_intervals(values, [0.5, 0.9, 0.95])
    assert found[0].n_effective < FEWEST_EFFECTIVE
    assert all(math.isfinite(each.value) and math.isnan(each.low) and math.isnan(each.high) for each in found)


def test_values_that_are_all_the_same_are_known_exactly() -> None:
    assert quantile_intervals(np.full(100, 7.0), [0.5]) == [(7.0, 7.0, 7.0, 100.0)]


def test_the_table_has_a_row_a_group_and_quantile() -> None:
    df = pd.concat([frame(independent(400), label="a"), frame(independent(60), label="b")], ignore_index=True)
    found = percentiles(df, by="label")
    assert found.index.names == ["label", "q"]
    assert found.columns.tolist() == ["value_ms", "low_ms", "high_ms", "n", "n_effective"]
    assert found["n"].dtype == "int64"
    assert found.loc["a"].index.tolist() == [0.5, 0.9, 0.95, 0.99, 0.999]
    assert found["value_ms"].isna().tolist() == [False, False, False, False, True, False, False, False, True, True]
    # 60 pings have a p95, whose interval has no upper end.
    assert np.isnan(found["high_ms"].to_numpy()[7])
    assert np.isfinite(found["low_ms"].to_numpy()[7])
    pd.testing.assert_frame_equal(DonutworkAccessor(df).percentiles(by="label"), found)


def test_one_group_and_one_quantile_are_named_too() -> None:
    found = percentiles(frame(independent(60)), 0.5)
    assert found.index.tolist() == [("all", 0.5)]
    assert found.index.names == ["group", "q"]


def test_it_is_the_summarys_percentile() -> None:
    df = frame(independent(300))
    row = summary(df).iloc[0]
    assert percentiles(df, (0.5, 0.95, 0.99))["value_ms"].tolist() == row[["p50_ms", "p95_ms", "p99_ms"]].tolist()


def test_few_pings_have_no_interval() -> None:
    found = percentiles(frame(independent(20)), 0.5).iloc[0]
    assert math.isfinite(found["value_ms"])
    assert found[["low_ms", "high_ms"]].isna().all()


def test_rows_in_another_order_have_the_same_interval() -> None:
    df = frame(alike(300, 0.7, np.random.default_rng(1)).tolist())
    pd.testing.assert_frame_equal(percentiles(df.sample(frac=1.0, random_state=1)), percentiles(df))


def test_no_rows_have_no_percentiles() -> None:
    found = percentiles(frame([1.0]).iloc[:0])
    assert found.drop(columns=["n", "n_effective"]).isna().all(axis=None)
    assert found["n"].tolist() == [0] * 5


@pytest.mark.parametrize("q", [0.0, 1.0, -0.5, 1e-320, math.nan, (), "p50", None, (0.5, 2.0)])
def test_an_unknown_quantile_is_refused(q: object) -> None:
    with pytest.raises(AnalysisError, match=r"^q needs numbers above 0 and below 1, such as 0.5 or 0.95.$"):
        percentiles(frame([1.0] * 9), q)  # type: ignore[arg-type]


def test_failures_in_a_row_tell_less_than_as_many_apart() -> None:
    apart, together = np.zeros(200, dtype=bool), np.zeros(200, dtype=bool)
    apart[5::20] = True
    together[50:60] = True
    assert share_interval(apart) == wilson(10, 200)
    assert n_effective(together) < 50
    low, high = share_interval(together)
    assert low < wilson(10, 200)[0] < wilson(10, 200)[1] < high
