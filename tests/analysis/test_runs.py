"""Given rows of several runs, all of them are on one clock, and what is known of them is told together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from donutwork_magics.analysis.compare import compare
from donutwork_magics.analysis.counted import attributes, clock_s, runs
from donutwork_magics.analysis.expectations import judge
from donutwork_magics.analysis.summary import summary
from donutwork_magics.frame.schema import restored
from tests.display.frames import ATTRS, frame
from tests.support.tables import RUN, describe

LATER = "20261124T130000.000Z-aaaaaa"


def later(df: pd.DataFrame, apart_s: float, *, run: str = LATER) -> pd.DataFrame:
    """Make the table one of another run, which began so much later."""
    describe(df, ATTRS, run)
    return df.assign(timestamp=df["timestamp"] + pd.Timedelta(seconds=apart_s))


def test_rows_of_one_run_are_on_its_own_clock() -> None:
    df = frame([1.0] * 50)
    assert runs(df).tolist() == [RUN] * 50
    assert clock_s(df).equals(df["started_ms"] / 1e3)


def test_no_rows_are_no_runs() -> None:
    empty = frame([1.0]).iloc[:0]
    assert len(runs(empty)) == len(clock_s(empty)) == 0


@pytest.mark.parametrize("apart_s", [1.5, 60.0, 86_400.0])
def test_each_run_has_a_zero_of_its_own(apart_s: float) -> None:
    df = pd.concat([frame([1.0] * 50), later(frame([1.0] * 30), apart_s)], ignore_index=True)
    assert runs(df).tolist() == [RUN] * 50 + [LATER] * 30
    assert clock_s(df)[[0, 50]].tolist() == pytest.approx([0.0, apart_s])
    # In whatever order they stand.
    assert clock_s(df.iloc[::-1]).iloc[[29, 79]].tolist() == pytest.approx([apart_s, 0.0])


def test_a_clock_that_was_set_moves_nothing_within_a_run() -> None:
    df = frame([1.0] * 50)
    df.loc[df.index >= 25, "timestamp"] -= pd.Timedelta(hours=1)
    assert clock_s(df).equals(df["started_ms"] / 1e3)
    both = pd.concat([df, later(frame([1.0] * 30), 60.0)], ignore_index=True)
    assert clock_s(both).is_monotonic_increasing


def test_rows_whose_run_is_not_known_are_on_the_clock_that_they_have() -> None:
    df = frame([1.0] * 5).assign(run=pd.array([None] * 5, dtype="string"))
    assert runs(df).tolist() == [""] * 5
    assert clock_s(df).tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    both = pd.concat([frame([1.0] * 5), df], ignore_index=True)
    assert clock_s(both).tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4] * 2)


def test_without_time_stamps_rows_are_on_the_clock_that_they_have() -> None:
    df = frame([1.0] * 5)
    df["timestamp"] = pd.to_datetime(pd.Series([None] * 5), utc=True)
    assert clock_s(df).tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


OUTAGE: dict[str, Any] = {
    "began_s": 1.7e9,
    "at_s": 3.0,
    "length_s": 2.0,
    "over": True,
    "kinds": ["connect"],
    "pings": 4,
}


def of_run(df: pd.DataFrame, run: str, **attrs: Any) -> pd.DataFrame:
    describe(
        df, {**ATTRS, "client": [{"cpu_share": 0.1}], "outages": {"count": 0, "total_s": 0.0, "first": []}} | attrs, run
    )
    return df


def joined(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    df = pd.concat([one, other], ignore_index=True)
    df.attrs = {
        "donutwork": {"schema": 1, "runs": {**one.attrs["donutwork"]["runs"], **other.attrs["donutwork"]["runs"]}}
    }
    return restored(df)


def as_text(df: pd.DataFrame) -> pd.DataFrame:
    return df.assign(timestamp=df["timestamp"].astype(str))


def without_zone(df: pd.DataFrame) -> pd.DataFrame:
    return df.assign(timestamp=df["timestamp"].dt.tz_localize(None))


@pytest.mark.parametrize("changed", [as_text, without_zone])
def test_runs_are_told_apart_whatever_has_become_of_their_time_stamps(
    changed: Callable[[pd.DataFrame], pd.DataFrame],
) -> None:
    one, other = frame([1.0] * 60, label="a"), later(frame([2.0] * 60, label="b"), 60.0)
    df = joined(one, other)
    again = changed(df)
    again.attrs = df.attrs
    pd.testing.assert_frame_equal(summary(again, by="label"), summary(df, by="label"))
    pd.testing.assert_frame_equal(compare(again), compare(df))
    assert attributes(again) == attributes(df)
    assert str(judge("max<1s", again[again["label"] == "a"])) == "max<1s holds: 1.00 ms"


def test_of_one_run_its_own_description_is_told() -> None:
    df = restored(of_run(frame([1.0] * 5), RUN, ended="timeout"))
    assert attributes(df)["ended"] == "timeout"
    assert attributes(df.iloc[:0])["ended"] == "timeout"


def test_without_a_description_nothing_is_known() -> None:
    df = frame([1.0] * 5)
    df.attrs = {}
    assert attributes(restored(df.assign(run="20261124T120000.000Z-never"))) == {}


@pytest.mark.parametrize("attrs", [5, [], {}, {"runs": 5}, {"runs": {"x": 5}}, {"schema": 1}])
def test_attrs_that_are_somebody_elses_are_none(attrs: Any) -> None:
    df = frame([1.0] * 5).assign(run="20261124T120000.000Z-never")
    df.attrs = {"donutwork": attrs}
    assert attributes(restored(df)) == {}


def test_of_several_runs_what_they_had_is_added_up_on_one_clock() -> None:
    pause = {"count": 1, "total_s": 0.5, "longest_s": 0.5, "first": [[1.0, 0.5]]}
    outages = {"count": 1, "total_s": 2.0, "first": [OUTAGE]}
    one = of_run(frame([1.0] * 50), RUN, pauses=pause, skipped=3, outages=outages, ended=None)
    other = later(frame([1.0] * 30), 60.0)
    other = of_run(
        other,
        LATER,
        pauses=pause,
        skipped=4,
        in_flight=[{"label": "ping", "waited_ms": 3.0}],
        outages=outages,
        client=[],
        ended="interrupted",
    )
    told = attributes(joined(one, other))
    assert told["ended"] == "interrupted"
    assert (told["skipped"], told["in_flight"]) == (7, [{"label": "ping", "waited_ms": 3.0}])
    assert told["pauses"] == {"count": 2, "total_s": 1.0, "longest_s": 0.5, "first": [[1.0, 0.5], [61.0, 0.5]]}
    assert (told["outages"]["count"], told["outages"]["total_s"]) == (2, 4.0)
    assert [outage["at_s"] for outage in told["outages"]["first"]] == [3.0, 63.0]
    # One for each line: a run that was killed has none to tell.
    assert told["client"] == [{"cpu_share": 0.1}, {}]
    assert len(told["plan"]) == 2


def test_what_is_known_of_one_run_only_is_on_the_clock_of_all_rows() -> None:
    outages = {"count": 1, "total_s": 2.0, "first": [OUTAGE]}
    one = frame([1.0] * 50).assign(run="20261124T120000.000Z-never")
    one.attrs = {"donutwork": {"runs": {}}}
    other = of_run(later(frame([1.0] * 30), 60.0), LATER, outages=outages)
    assert attributes(joined(one, other))["outages"]["first"][0]["at_s"] == 63.0
    other["timestamp"] = pd.NaT
    assert attributes(joined(one, other))["outages"]["first"][0]["at_s"] == 3.0


def test_an_outage_that_goes_on_in_the_next_run_is_one() -> None:
    before = {"count": 1, "total_s": 2.0, "first": [{**OUTAGE, "over": False, "length_s": 2.0}]}
    whole = {**OUTAGE, "over": True, "at_s": OUTAGE["at_s"] - 60.0, "length_s": 70.0}
    another = {**OUTAGE, "began_s": OUTAGE["began_s"] + 77.0, "at_s": 20.0, "length_s": 5.0}
    one = of_run(frame([1.0] * 50), RUN, outages=before)
    other = of_run(
        later(frame([1.0] * 30), 60.0), LATER, outages={"count": 2, "total_s": 75.0, "first": [whole, another]}
    )
    told = attributes(joined(one, other))["outages"]
    assert (told["count"], told["total_s"]) == (2, 75.0)
    assert [(outage["at_s"], outage["length_s"]) for outage in told["first"]] == [(3.0, 70.0), (80.0, 5.0)]


def test_of_several_runs_the_rows_that_are_not_in_their_journals_are_added_up() -> None:
    missing = {"missing": 2, "missing_seq": [[3, 4]], "elsewhere": 1}
    one = of_run(frame([1.0] * 50), RUN, journal=missing)
    other = of_run(later(frame([1.0] * 30), 60.0), LATER)
    assert attributes(joined(one, other))["journal"] == missing
    both = of_run(later(frame([1.0] * 30), 60.0), LATER, journal=missing)
    assert attributes(joined(one, both))["journal"] == {"missing": 4, "missing_seq": [], "elsewhere": 2}
