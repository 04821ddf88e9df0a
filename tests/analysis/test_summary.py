"""Given rows, the summary says how many, how fast, how often they failed, and what the sample does not support."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from io import StringIO
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

import donutwork_magics.frame.accessor  # noqa: F401
from donutwork_magics import compare, judge, percentiles
from donutwork_magics.analysis.intervals import pings_needed, wilson
from donutwork_magics.analysis.summary import summary
from donutwork_magics.columns import METRICS
from donutwork_magics.errors import AnalysisError
from tests.display.frames import frame


def test_a_percentile_of_the_tail_is_a_value_that_was_measured() -> None:
    times_ms = [0.5] * 57 + [1001.0] * 3
    found = summary(frame(times_ms)).iloc[0]
    assert (found["p50_ms"], found["p95_ms"]) == (0.5, 0.5)
    assert summary(frame([*times_ms, 1001.0])).iloc[0]["p95_ms"] == 1001.0


@pytest.mark.parametrize(("quantile", "needed"), [(0.5, 5), (0.95, 59), (0.99, 299), (0.999, 2995)])
def test_a_percentile_needs_as_many_pings_as_its_tail_is_thin(quantile: float, needed: int) -> None:
    assert pings_needed(quantile) == needed
    assert 1 - quantile**needed >= 0.95 > 1 - quantile ** (needed - 1)


@pytest.mark.parametrize(("column", "needed"), [("p50_ms", 5), ("p95_ms", 59), ("p99_ms", 299)])
def test_a_percentile_is_shown_from_that_number_on(column: str, needed: int) -> None:
    assert math.isnan(summary(frame([1.0] * (needed - 1)))[column].item())
    assert summary(frame([1.0] * needed))[column].item() == 1.0


def test_latency_is_of_successes_and_errors_stand_beside_it() -> None:
    df = frame([1.0, 2.0, 3.0, 4.0, 5.0, 900.0], errors={5: "timeout"})
    row = summary(df).loc["all"]
    assert (row["n"], row["ok"], row["errors"]) == (6, 5, 1)
    assert (row["min_ms"], row["p50_ms"], row["max_ms"]) == (1.0, 3.0, 5.0)
    assert row["error_share"] == pytest.approx(1 / 6)


def test_failures_do_not_count_for_a_percentile() -> None:
    df = frame([1.0] * 5, errors={0: "timeout"})
    assert math.isnan(summary(df)["p50_ms"].item())


def test_warm_up_rows_are_left_out() -> None:
    df = frame([500.0, 1.0, 2.0], warmup=1)
    row = summary(df).loc["all"]
    assert (row["n"], row["max_ms"]) == (2, 2.0)


def test_a_timeout_counts_in_corrected_ms_as_the_lower_bound_that_it_is() -> None:
    df = frame([1.0, 900.0, 800.0], errors={1: "timeout", 2: "server_error"})
    assert summary(df, metric="corrected_ms")["max_ms"].item() == df["corrected_ms"][1]


def test_jitter_is_the_mean_step_from_one_success_to_the_next_in_time() -> None:
    df = frame([1.0, 3.0, 2.0])
    assert summary(df)["jitter_ms"].item() == 1.5
    assert summary(df.iloc[::-1])["jitter_ms"].item() == 1.5
    assert summary(df.iloc[[1, 0, 2]])["jitter_ms"].item() == 1.5


def test_server_share_is_the_servers_median_over_the_median_wait_for_the_first_byte() -> None:
    df = frame([10.0] * 5)
    df["ttfb_ms"], df["rrt_ms"] = 8.0, [2.0, 2.0, 2.0, 2.0, np.nan]
    row = summary(df).loc["all"]
    assert (row["server_share"], row["network_share"]) == (0.25, 0.75)
    df["rrt_ms"] = 0.0
    row = summary(df).loc["all"]
    assert (row["server_share"], row["network_share"]) == (0.0, 1.0)


@pytest.mark.parametrize(("rrt_ms", "ttfb_ms"), [(30.0, 8.0), (0.0, 0.0)])
def test_a_server_that_reports_more_than_the_wait_has_no_share_of_it(rrt_ms: float, ttfb_ms: float) -> None:
    with warnings.catch_warnings(action="error"):
        row = summary(frame([10.0] * 5).assign(rrt_ms=rrt_ms, ttfb_ms=ttfb_ms)).loc["all"]
    assert row[["server_share", "network_share"]].isna().all()


def test_the_start_lag_is_the_median() -> None:
    assert summary(frame([1.0] * 5).assign(lag_ms=[0.0, 1.0, 2.0, 3.0, 900.0]))["lag_p50_ms"].item() == 2.0


def test_the_achieved_rate_is_of_starts() -> None:
    assert summary(frame([1.0] * 11, every_ms=100.0))["rate_hz"].item() == pytest.approx(10.0)


def later(df: pd.DataFrame, *, start_s: float, seq: int) -> pd.DataFrame:
    """Make a part of a run that goes on later, as a journal with several runs or a watch has it."""
    at_ms = 1e3 * start_s
    return df.assign(
        seq=df["seq"] + seq,
        timestamp=df["timestamp"] + pd.Timedelta(seconds=start_s),
        **{name: df[name] + at_ms for name in ("scheduled_ms", "started_ms")},
    )


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize("rows", [3, 20])
def test_a_rest_between_the_parts_of_a_run_is_not_of_its_rate(rows: int, *, planned: bool) -> None:
    parts = [later(frame([1.0] * rows), start_s=at * 60.0, seq=at * rows) for at in range(4)]
    df = pd.concat(parts, ignore_index=True)
    if not planned:
        df["scheduled_ms"] = np.nan
    assert summary(df)["rate_hz"].item() == pytest.approx(10.0)


def test_one_ping_alone_between_two_rests_does_not_hide_them() -> None:
    parts = [frame([1.0] * 20), later(frame([1.0]), start_s=30.0, seq=20), later(frame([1.0] * 20), start_s=70, seq=21)]
    assert summary(pd.concat(parts))["rate_hz"].item() == pytest.approx(10.0)


def test_another_rate_is_no_rest() -> None:
    slow = later(frame([1.0] * 21, every_ms=2000.0), start_s=2.1, seq=21)
    rate_hz = summary(pd.concat([frame([1.0] * 21), slow]))["rate_hz"].item()
    assert rate_hz == pytest.approx(41 / 42.1, rel=0.05)


def test_rows_that_were_taken_out_and_stalls_are_no_rest() -> None:
    df = frame([1.0] * 40)
    assert summary(df[df["seq"] % 8 != 3])["rate_hz"].item() == pytest.approx(34 / 3.9)
    df.loc[df["seq"] >= 20, ["started_ms", "lag_ms"]] += 5000.0
    assert summary(df)["rate_hz"].item() == pytest.approx(39 / 8.9)


def test_a_stall_before_a_rest_is_of_the_rate_and_the_rest_is_not() -> None:
    df = frame([1.0] * 60)
    # Ten starts late by 5 s in which nothing was answered, then a rest of 3 s; caught up with at 20/s.
    after = df["seq"] >= 10
    df.loc[after, "scheduled_ms"] += 3000.0
    df.loc[after, "started_ms"] = 1000.0 + 5000.0 + 3000.0 + (df["seq"] - 10) * 50.0
    df["lag_ms"] = df["started_ms"] - df["scheduled_ms"]
    # From the first start to the last it took 11.45 s, the rest included.
    assert summary(df)["rate_hz"].item() == pytest.approx(59 / 8.45)


def test_without_a_plan_a_ping_that_took_long_is_no_rest() -> None:
    df = frame([1.0] * 10 + [5000.0] + [1.0] * 10)
    df["scheduled_ms"] = np.nan
    df.loc[df["seq"] > 10, "started_ms"] += 5000.0
    assert summary(df)["rate_hz"].item() == pytest.approx(20 / 7.0)


def test_tables_joined_into_one_have_the_rate_of_their_parts() -> None:
    second = frame([1.0] * 20).assign(run="another")
    second["timestamp"] += pd.Timedelta(minutes=5)
    assert summary(pd.concat([frame([1.0] * 20), second]))["rate_hz"].item() == pytest.approx(10.0)


def test_runs_side_by_side_under_one_label_add_up() -> None:
    second = later(frame([1.0] * 101), start_s=0.0, seq=0).assign(run="another")
    second["timestamp"] += pd.Timedelta(seconds=5.03)
    # For half of the time each of them was alone: 200 starts in 15 s.
    assert summary(pd.concat([frame([1.0] * 101), second]))["rate_hz"].item() == pytest.approx(200 / 15.03)


@pytest.mark.parametrize("by_s", [-10.05, 86_400.0], ids=["set back", "slept"])
def test_a_wall_clock_that_is_set_during_a_run_changes_neither_its_rate_nor_its_order(by_s: float) -> None:
    df = frame([float(seq) for seq in range(100)])
    before = summary(df)
    df.loc[df["seq"] >= 50, "timestamp"] += pd.Timedelta(seconds=by_s)
    pd.testing.assert_frame_equal(summary(df), before)


def test_rows_whose_start_is_unknown_leave_the_rate_of_the_others() -> None:
    df = frame([1.0] * 21)
    df.loc[20, ["started_ms", "scheduled_ms"]] = np.nan
    assert summary(df)["rate_hz"].item() == pytest.approx(10.0)


@pytest.mark.parametrize("by", ["label", ["label"]])
def test_one_row_a_group_in_the_order_of_the_rows(by: str | list[str]) -> None:
    df = pd.concat([frame([3.0] * 5, label="warm"), frame([7.0] * 5, label="cold")])
    result = summary(df, by=by)
    assert result.index.tolist() == ["warm", "cold"]
    assert result.index.name == "label"
    assert result["p50_ms"].tolist() == [3.0, 7.0]


def test_several_columns_group_by_their_combinations() -> None:
    df = frame([1.0, 2.0], errors={1: "dns"})
    result = summary(df, by=["label", "reused"])
    assert result.index.names == ["label", "reused"]


def test_counts_are_integers_and_the_rest_floats() -> None:
    dtypes = summary(frame([1.0, 2.0])).dtypes.astype(str)
    assert dtypes[:3].tolist() == ["int64"] * 3
    assert set(dtypes[3:]) == {"float64"}


def test_no_rows_make_a_row_of_unknowns() -> None:
    empty = frame([1.0]).iloc[:0]
    row = summary(empty).loc["all"]
    assert row["n"] == 0
    assert row.drop(["n", "ok", "errors"]).isna().all()
    assert list(summary(empty, by="label").columns) == list(summary(empty).columns)
    assert len(summary(empty, by="label")) == 0


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # R: binom::binom.wilson
        (0, 10, 0.0, 0.2775),
        (1, 10, 0.0179, 0.4042),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_intervals_are_those_of_the_textbook(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_no_pings_have_no_interval() -> None:
    assert all(map(math.isnan, wilson(0, 0)))


def test_a_frame_without_the_columns_is_refused_in_one_line_that_names_them() -> None:
    df = frame([1.0]).drop(columns=["error", "warmup"])
    with pytest.raises(ValueError, match=r"^This DataFrame lacks the columns error, warmup: it cannot be analysed.$"):
        summary(df)


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the columns town"):
        summary(frame([1.0]), by="town")
    with pytest.raises(AnalysisError, match=r"^This DataFrame lacks the columns a b: [^\n]*$"):
        summary(frame([1.0]), by="a\nb")


@pytest.mark.parametrize("table", [None, 5, "run.jsonl", [1.0], {"duration_ms": [1.0]}, frame([1.0])["duration_ms"]])
@pytest.mark.parametrize("analyse", [summary, percentiles, compare, partial(judge, "p50<1s")])
def test_what_is_no_table_is_refused_in_one_line(analyse: Callable[[Any], object], table: object) -> None:
    with pytest.raises(AnalysisError, match=r"^A DataFrame is needed, as collect and load return one\.$"):
        analyse(table)


def test_an_unknown_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"metric must be one of .*duration_ms") as refused:
        summary(frame([1.0]), metric="rrt")
    assert "\n" not in str(refused.value)
    assert "ttfb_ms" in METRICS


def test_a_table_from_csv_is_summarised_alike() -> None:
    df = frame([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], errors={3: "timeout"}, warmup=1)
    again = pd.read_csv(StringIO(df.to_csv(index=False)))
    pd.testing.assert_frame_equal(summary(again), summary(df))


def test_a_table_joined_with_one_from_csv_is_summarised_alike() -> None:
    new, old = frame([1.0] * 60, label="new"), frame([2.0] * 60, label="old")
    joined = pd.concat([new, pd.read_csv(StringIO(old.to_csv(index=False)))])
    assert summary(joined).equals(summary(pd.concat([new, old])))
    assert summary(joined, by="label")["p50_ms"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("index", ["timestamp", "label", ["seq", "label"]])
def test_an_index_with_the_name_of_a_column_is_left_aside(index: str | list[str]) -> None:
    df = frame([1.0] * 60)
    assert summary(df.set_index(index, drop=False), by="label").equals(summary(df, by="label"))


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow", "object"])
def test_other_dtypes_for_the_same_values_are_summarised_alike(
    backend: Literal["numpy_nullable", "pyarrow", "object"],
) -> None:
    df = frame([1.0] * 59 + [2.0], errors={3: "timeout"})
    other = df.astype(object) if backend == "object" else df.convert_dtypes(dtype_backend=backend)
    pd.testing.assert_frame_equal(summary(other), summary(df))


def test_a_time_without_end_was_not_measured() -> None:
    row = summary(frame([1.0] * 5 + [math.inf])).loc["all"]
    assert (row["ok"], row["p50_ms"], row["max_ms"]) == (6, 1.0, 1.0)


def test_columns_that_are_there_twice_are_refused_in_one_line_that_names_them() -> None:
    df = frame([1.0])
    with pytest.raises(ValueError, match=r"^This DataFrame has the columns seq, error twice: it cannot be analysed.$"):
        summary(pd.concat([df, df[["seq", "error"]]], axis=1))


def test_the_accessor_summarises_too() -> None:
    df = frame([1.0] * 5)
    pd.testing.assert_frame_equal(df.donutwork.summary(by="label"), summary(df, by="label"))


def test_a_grouper_makes_windows_of_time() -> None:
    df = frame([1.0] * 60 + [3.0] * 60)
    found = summary(df, by=pd.Grouper(key="timestamp", freq="6s"))
    assert found["n"].sum() == 120
    assert found["p50_ms"].iloc[[0, -1]].tolist() == [1.0, 3.0]
    assert isinstance(found.index, pd.DatetimeIndex)
    again = pd.read_csv(StringIO(df.to_csv(index=False)))
    assert summary(again, by=pd.Grouper(key="timestamp", freq="6s"))["n"].tolist() == found["n"].tolist()


def test_whatever_groupby_takes_makes_groups() -> None:
    df = pd.concat([frame([1.0] * 10), frame([3.0] * 10)])
    half = pd.Series([False] * 10 + [True] * 10, index=df.index, name="second")
    by_series = summary(df, by=half)
    assert by_series["p50_ms"].tolist() == [1.0, 3.0]
    assert by_series.index.name == "second"
    assert summary(df, by=half.to_numpy())["n"].tolist() == [10, 10]
    assert summary(df, by=["label", half])["n"].tolist() == [10, 10]
    assert summary(df, by=lambda row: row % 2)["n"].tolist() == [10, 10]
    assert summary(df.set_index("env"), by="env")["n"].tolist() == [20]


@pytest.mark.parametrize("by", [7, object(), pd.Grouper(key="town"), [], ["label", 3]])
def test_what_groups_nothing_is_refused_in_one_line(by: object) -> None:
    with pytest.raises(ValueError, match="by needs what groupby takes"):
        summary(frame([1.0] * 3), by=by)
