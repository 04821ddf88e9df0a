"""Given the rounds of an experiment, the comparison says by how much a line is slower, and how surely; or why not."""

from __future__ import annotations

import math
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from donutwork_magics.analysis.compare import compare
from donutwork_magics.analysis.intervals import MOST_PAIRS, signed_rank
from donutwork_magics.errors import AnalysisError
from donutwork_magics.frame.accessor import DonutworkAccessor
from tests.analysis.experiments import experiment
from tests.display.frames import frame

COLUMNS = [
    *("baseline_ms", "value_ms", "difference_ms", "low_ms", "high_ms", "ratio", "ratio_low", "ratio_high"),
    *("p_value", "blocks", "verdict"),
]


def verdict(df: pd.DataFrame, **arguments: object) -> str:
    """Return the verdict on the one line that is compared."""
    (found,) = compare(df, **arguments)["verdict"]  # type: ignore[arg-type]
    return str(found)


def test_each_line_but_the_first_is_compared_with_it_in_words() -> None:
    df = experiment(["cold", "warm", "again"], shift_ms={"warm": -2.1})
    found = compare(df)
    assert found.index.tolist() == ["warm", "again"]
    assert found.index.name == "label"
    assert found.columns.tolist() == COLUMNS
    warm, again = found.loc["warm"], found.loc["again"]
    assert warm["verdict"] == "2.0 ms faster (1.2 to 2.9), 10 %"
    assert warm["low_ms"] < -2.1 < warm["high_ms"] < 0
    assert warm["p_value"] < 0.05 < again["p_value"]
    assert again["verdict"].startswith("no difference shown: −")
    assert found["blocks"].tolist() == [10, 10]
    assert found["blocks"].dtype == "int64"
    pd.testing.assert_frame_equal(DonutworkAccessor(df).compare(baseline="cold"), found)


def test_the_first_line_is_the_baseline_also_where_another_has_the_first_ping() -> None:
    # Seeds with either order in the first round.
    assert {experiment(seed=seed)["label"][0] for seed in range(9)} == {"a", "b"}
    assert {compare(experiment(seed=seed)).index.item() for seed in range(9)} == {"b"}


def test_any_line_can_be_the_baseline() -> None:
    df = experiment(["a", "b"], shift_ms={"b": 3.0})
    found = compare(df, baseline="b")
    assert found.index.tolist() == ["a"]
    assert found["difference_ms"].item() == pytest.approx(-compare(df)["difference_ms"].item())
    assert "faster" in found["verdict"].item()


def test_a_difference_that_is_not_shown_says_what_would_show_one() -> None:
    df = experiment(["a", "b"])
    assert verdict(df) == "no difference shown: −875 to +139 µs; some 110 pings a line would show 5 %"


def test_what_takes_the_same_time_always_shows_no_difference() -> None:
    df = experiment(latency_ms=lambda _random, n: np.full(n, 5.0))
    assert verdict(df) == "no difference shown: 0 to 0 ms"
    assert verdict(experiment(latency_ms=lambda _random, n: np.full(n, 5.0), shift_ms={"b": 1.0})) == (
        "1.00 ms slower (1.00 to 1.00), 20 %"
    )


@pytest.mark.parametrize(
    ("labels", "needed"), [(2, 6), (3, 7), (4, 7), (5, 8)]
)  # The least R with 2 / 2**R <= 0.05 / (labels - 1).
def test_so_many_rounds_make_a_verdict_possible(labels: int, needed: int) -> None:
    names = [f"line {at}" for at in range(labels)]
    found = compare(experiment(names, rounds=needed, shift_ms={"line 1": 50.0}))
    assert found["p_value"].iloc[0] < 0.05
    fewer = compare(experiment(names, rounds=needed - 1, shift_ms={"line 1": 50.0}))
    assert fewer["verdict"].iloc[0] == f"no verdict: {needed - 1} rounds of the {needed} that it needs"
    assert fewer[["low_ms", "high_ms", "ratio_low", "ratio_high", "p_value"]].isna().all(axis=None)
    assert fewer["difference_ms"].iloc[0] == pytest.approx(50.0, abs=3.0)
    assert fewer["ratio"].iloc[0] == pytest.approx(3.5, rel=0.1)


@pytest.mark.parametrize("seed", range(40))
def test_p_is_below_5_percent_exactly_where_the_interval_excludes_0(seed: int) -> None:
    found = compare(experiment(["a", "b", "c"], rounds=9, shift_ms={"b": 0.8, "c": -0.8}, seed=seed))
    for _, row in found.iterrows():
        assert (row["p_value"] < 0.05) == (not row["low_ms"] <= 0 <= row["high_ms"])


def test_lines_that_ran_one_after_the_other_have_no_verdict() -> None:
    a, b = frame([5.0] * 60, label="a"), frame([9.0] * 60, label="b")
    found = compare(pd.concat([a, b], ignore_index=True))
    assert found["verdict"].item() == "no verdict: not interleaved"
    assert found[["baseline_ms", "value_ms", "difference_ms", "ratio"]].iloc[0].tolist() == [5.0, 9.0, 4.0, 1.8]
    assert found["blocks"].item() == 0
    assert found[["low_ms", "high_ms", "p_value"]].isna().all(axis=None)


def test_runs_of_one_line_each_that_were_joined_have_no_verdict() -> None:
    joined = pd.concat([experiment(["a"], run="1"), experiment(["b"], run="2", seed=2)], ignore_index=True)
    assert verdict(joined) == "no verdict: not interleaved"
    joined["vantage"] = pd.array(["here"] * 100 + ["there"] * 100, dtype="string")
    assert verdict(joined) == "no verdict: not interleaved, and measured on different machines"


def test_rounds_of_joined_experiments_are_told_apart_by_their_run() -> None:
    parts = [experiment(rounds=5, run=f"run-{at}", seed=at, shift_ms={"b": 1.0 * at}) for at in range(2)]
    found = compare(pd.concat(parts, ignore_index=True))
    assert found["blocks"].item() == 10
    assert not found["verdict"].item().startswith("no verdict")
    # The rows of two machines with one run id are of different rounds too.
    parts = [part.assign(run="1", vantage=str(at)) for at, part in enumerate(parts)]
    assert compare(pd.concat(parts, ignore_index=True))["blocks"].item() == 10


def test_without_a_column_of_runs_there_is_no_comparison() -> None:
    with pytest.raises(AnalysisError, match=r"^This DataFrame lacks the columns run: it cannot be analysed\.$"):
        compare(experiment().drop(columns="run"))


def test_a_round_that_lacks_a_line_or_was_cut_short_is_left_out() -> None:
    df = experiment(rounds=12)
    lacking = df[~((df["block"] == 3) & (df["label"] == "b"))]
    assert compare(lacking)["blocks"].item() == 11
    last = df[df["block"] == 11]["label"].iloc[-1]
    cut = df.drop(df[(df["block"] == 11) & (df["label"] == last)].index[4:])
    assert compare(cut)["blocks"].item() == 11
    # Sizes of blocks that differ by one are as planned.
    assert compare(df[:-1])["blocks"].item() == 12


def test_errors_and_warm_up_do_not_count() -> None:
    df = experiment(rounds=8)
    base = compare(df)
    more = df[df["block"] == 2].assign(warmup=True, duration_ms=900.0)
    failed = df[df["block"] == 5].assign(error="timeout", duration_ms=10_000.0)
    pd.testing.assert_frame_equal(compare(pd.concat([df, more, failed], ignore_index=True)), base)


def test_a_tail_quantile_needs_its_pings_in_each_block_and_takes_rounds_together_for_them() -> None:
    assert verdict(experiment(rounds=20, pings=10), q=0.95).startswith("no difference shown")
    assert compare(experiment(rounds=20, pings=10), q=0.95)["blocks"].item() == 10
    assert compare(experiment(rounds=20, pings=20), q=0.95)["blocks"].item() == 20
    assert verdict(experiment(rounds=10, pings=10), q=0.95) == "no verdict: 5 rounds of the 6 that it needs"
    assert verdict(experiment(rounds=10, pings=5), q=0.95) == "no verdict: p95 needs 59 successes of each"


def test_very_many_rounds_are_taken_together() -> None:
    found = compare(experiment(rounds=MOST_PAIRS + 100, pings=2, shift_ms={"b": 1.0}))
    assert found["blocks"].item() == (MOST_PAIRS + 100) / 2
    assert found["low_ms"].item() < 1.0 < found["high_ms"].item()


def test_the_block_median_is_the_textbooks_and_a_tail_the_nearest_rank() -> None:
    df = experiment(rounds=6, pings=20, latency_ms=lambda _random, n: np.tile(np.arange(1.0, 21.0), n // 20))
    df.loc[df["label"] == "b", "duration_ms"] *= 2
    assert compare(df)["difference_ms"].item() == 10.5
    assert compare(df, q=0.9)["difference_ms"].item() == 18.0


def test_whatever_is_the_same_for_all_pings_of_a_line_can_be_compared() -> None:
    df = experiment(["a", "b"], shift_ms={"b": 5.0})
    df["http_version"] = df["label"].map({"a": "1.1", "b": "2"}).astype("string")
    assert "slower" in compare(df, baseline="1.1", by="http_version")["verdict"].item()
    df["http_version"] = df["http_version"].where(df["seq"] != 5)
    df["error"] = df["error"].where(df["seq"] != 5, "dns")
    assert "slower" in compare(df, baseline="1.1", by="http_version")["verdict"].item()


def test_pings_within_a_block_were_not_in_random_order() -> None:
    df = experiment(["a"], rounds=10)
    df["reused"] = df["seq"] % 10 > 4
    assert verdict(df, by="reused") == "no verdict: not interleaved"


def test_runs_are_not_interleaved_with_each_other() -> None:
    joined = pd.concat([experiment(run="1"), experiment(run="2", seed=2)], ignore_index=True)
    assert verdict(joined, by="run") == "no verdict: not interleaved"


def test_machines_that_measured_in_the_same_rounds_can_be_compared() -> None:
    df = experiment(["x", "y"], rounds=8, shift_ms={"y": 9.0}).assign(label="ping")
    df["vantage"] = np.where(df["duration_ms"] > 25.0, "far", "near")
    assert "slower" in compare(df, baseline="near", by="vantage")["verdict"].item()


def test_a_metric_that_is_0_has_a_difference_and_no_ratio() -> None:
    found = compare(experiment(), metric="dns_ms").iloc[0]
    assert found["difference_ms"] == 0.0
    assert math.isnan(found["ratio"])
    assert found["verdict"] == "no difference shown: 0 to 0 ms"


def test_a_metric_that_nobody_knows_has_no_verdict() -> None:
    df = experiment()
    df.loc[df["label"] == "b", "rrt_ms"] = np.nan
    found = compare(df, metric="rrt_ms").iloc[0]
    assert found["verdict"] == "no verdict: p50 needs 5 successes of each"
    assert math.isnan(found["difference_ms"])


def test_a_metric_that_is_missing_here_and_there_is_compared_over_the_rest() -> None:
    df = experiment(rounds=8)
    df.loc[df["block"].isin([2]) & (df["label"] == "a"), "rrt_ms"] = np.nan
    assert compare(df, metric="rrt_ms")["blocks"].item() == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"metric": "rrt"}, r"metric must be one of .*duration_ms"),
        ({"q": 1.0}, "q needs numbers above 0 and below 1"),
        ({"q": "p95"}, "q needs numbers above 0 and below 1"),
        ({"q": math.nan}, "q needs numbers above 0 and below 1"),
        ({"baseline": "hot"}, "baseline must be one of the groups of this table: a, b."),
        ({"baseline": ["a"]}, "baseline must be one of the groups of this table: a, b."),
        ({"by": "town"}, "lacks the columns town"),
        ({"by": lambda _: 1}, "this table has one"),
    ],
)
def test_what_does_not_exist_is_an_exact_error_in_one_line(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(AnalysisError, match=words) as refused:
        compare(experiment(rounds=2), **arguments)  # type: ignore[arg-type]
    assert isinstance(refused.value, ValueError)
    assert "\n" not in str(refused.value)
    assert "hot" not in str(refused.value)


def test_one_label_is_an_exact_error() -> None:
    with pytest.raises(AnalysisError, match="two groups, and this table has one: measure several lines in a"):
        compare(frame([1.0] * 60))


def test_a_table_from_csv_has_the_same_comparison() -> None:
    df = experiment(shift_ms={"b": 1.0})
    again = pd.read_csv(StringIO(df.to_csv(index=False)))
    df.attrs.clear()
    pd.testing.assert_frame_equal(compare(again), compare(df), check_index_type=False)


def test_the_interval_is_of_all_labels_together() -> None:
    wide = compare(experiment(["a", "b", "c", "d", "e"], rounds=12))
    narrow = compare(experiment(["a", "b", "c", "d", "e"], rounds=12).query("label in ['a', 'b']"))
    assert (wide["high_ms"] - wide["low_ms"])["b"] > (narrow["high_ms"] - narrow["low_ms"])["b"]


def test_equal_differences_and_zeros_make_p_an_upper_bound() -> None:
    assert signed_rank(np.zeros(10)).p_value == 1.0
    assert signed_rank(np.array([0.0] * 3 + [1.0] * 7)).p_value >= signed_rank(np.arange(1.0, 11.0) - 2.5).p_value / 2
    assert signed_rank(np.ones(10)) == (1.0, 1.0, 1.0, 2 / 2**10)
