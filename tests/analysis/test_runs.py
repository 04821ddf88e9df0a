"""Given rows of several runs, each is found again, and all of them are on one clock."""

from __future__ import annotations

import pandas as pd
import pytest

from donutwork_magics.analysis.runs import clock_s, runs
from tests.display.frames import frame


def test_rows_of_one_run_are_on_its_own_clock() -> None:
    df = frame([1.0] * 50)
    assert runs(df).tolist() == [0] * 50
    assert clock_s(df).equals(df["started_ms"] / 1e3)


def test_no_rows_are_no_runs() -> None:
    empty = frame([1.0]).iloc[:0]
    assert len(runs(empty)) == len(clock_s(empty)) == 0


@pytest.mark.parametrize("apart_s", [1.5, 60.0, 86_400.0])
def test_each_run_has_a_zero_of_its_own(apart_s: float) -> None:
    second = frame([1.0] * 30)
    second["timestamp"] += pd.Timedelta(seconds=apart_s)
    df = pd.concat([frame([1.0] * 50), second], ignore_index=True)
    assert runs(df).tolist() == [0] * 50 + [1] * 30
    assert clock_s(df)[[0, 50]].tolist() == pytest.approx([0.0, apart_s])


def test_a_clock_that_was_set_begins_no_run_also_with_several_in_flight() -> None:
    df = frame([1.0] * 50)
    df.loc[df.index >= 25, "timestamp"] -= pd.Timedelta(hours=1)
    df["seq"] = df["seq"].replace({24: 26, 26: 24})
    assert runs(df).nunique() == 1
    assert clock_s(df).is_monotonic_increasing


def test_a_clock_that_runs_fast_begins_no_run() -> None:
    df = frame([1.0] * 50)
    df["timestamp"] += pd.to_timedelta(df["seq"] * 0.5, unit="s")
    assert runs(df).nunique() == 1
    assert clock_s(df).is_monotonic_increasing


def test_without_time_stamps_rows_are_on_the_clock_that_they_have() -> None:
    df = frame([1.0] * 5)
    df["timestamp"] = pd.to_datetime(pd.Series([None] * 5), utc=True)
    assert clock_s(df).tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
