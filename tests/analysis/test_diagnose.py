"""Given a doubtful measurement, a finding says what is doubtful, and what to do; given a sound one, nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from donutwork_magics.analysis.diagnose import Finding, diagnose
from donutwork_magics.errors import AnalysisError, Kind
from donutwork_magics.frame.accessor import DonutworkAccessor
from tests.analysis.experiments import alike, experiment
from tests.display.frames import ATTRS, frame
from tests.support.tables import describe


def steady(n: int = 300, seed: int = 1) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).lognormal(3.0, 0.2, n)]


def found(df: pd.DataFrame) -> dict[str, Finding]:
    return {finding.name: finding for finding in diagnose(df)}


def described(df: pd.DataFrame, **plan: Any) -> pd.DataFrame:
    describe(df, {**ATTRS, "plan": [{**ATTRS["plan"][0], **plan}]})
    return df


def test_a_sound_series_has_no_finding() -> None:
    assert diagnose(frame(steady())) == ()
    assert diagnose(experiment(rounds=10, pings=10)) == ()


def test_a_finding_is_a_value_with_a_name_a_text_advice_and_evidence() -> None:
    df = frame(steady(100) + [3 * value for value in steady(100)] + [9 * value for value in steady(100)])
    finding = found(df)["drift"]
    assert finding == found(df)["drift"]
    assert finding.text.startswith("Latency drifted: its median was 20.2 ms in the first third")
    assert finding.advice.startswith("No single figure describes the run.")
    assert finding.evidence["last_ms"] == pytest.approx(9 * finding.evidence["first_ms"], rel=0.1)
    assert str(finding) == f"{finding.text} {finding.advice}"
    assert DonutworkAccessor(df).diagnose() == diagnose(df)


def test_of_several_series_it_says_of_which() -> None:
    df = experiment(["a", "b"], rounds=20, pings=20)
    slow = df["label"].eq("b") & df["block"].gt(12)
    df.loc[slow, "duration_ms"] *= 3
    assert [(finding.name, finding.label) for finding in diagnose(df)] == [("drift", "b")]


def test_a_warm_up_that_is_not_over() -> None:
    values = steady()
    finding = found(frame([60.0, 50.0, 45.0, 40.0, *values[4:]]))["warm-up not over"]
    assert finding.text == "The first 4 pings took 47.5 ms, the others 19.8 ms (medians)."
    assert "-w 10" in finding.advice
    assert "-w" not in found(described(frame([60.0, 50.0, 45.0, *values[3:]]), endless=True))["warm-up not over"].advice


def test_the_handshake_of_the_first_pings_is_no_warm_up() -> None:
    df = described(frame([60.0, 50.0, 45.0, *steady()[3:]]), concurrency=3)
    df.loc[:2, "reused"] = False
    assert diagnose(df) == ()


def test_more_than_one_mode() -> None:
    random = np.random.default_rng(1)
    values = np.array(steady()) * np.where(random.random(300) < 0.3, 3.0, 1.0)
    finding = found(frame(values.tolist()))["several modes"]
    assert finding.text.startswith("Durations gather around 20.0 ms (67.7 %) and 57.8 ms (32.3 %)")
    assert finding.text.endswith(": no ping took as long as a percentile between them.")


def test_bursts_of_outliers() -> None:
    values = steady()
    values[100:108] = [200.0] * 8
    values[200:206] = [200.0] * 6
    finding = found(frame(values))["bursts of outliers"]
    assert finding.text.startswith("14 of 14 pings above ")
    apart = steady()
    apart[5::20] = [200.0] * len(apart[5::20])
    assert diagnose(frame(apart)) == ()


def test_pings_that_are_too_alike() -> None:
    finding = found(frame(alike(400, 0.99, np.random.default_rng(3), sigma=0.05).tolist()))["pings too alike"]
    assert "400 of them tell as much as" in finding.text
    assert finding.evidence["n_effective"] < 30


@pytest.mark.parametrize(
    ("n", "words"), [(1, "1 ping is too few for any percentile"), (20, "20 pings are too few for in")]
)
def test_too_few_pings_cast_no_doubt_on_what_is_shown(n: int, words: str) -> None:
    (finding,) = diagnose(frame(steady(n)))
    assert finding.name == "too few pings"
    assert finding.text.startswith(words)
    assert not finding.casts_doubt


def test_for_an_interval_it_says_how_many_pings_each_percentile_needs() -> None:
    (finding,) = diagnose(frame(steady(20)))
    assert finding.advice == "p50 needs about 40 pings for an interval, p95 72, p99 368."


def test_no_pings_are_no_finding() -> None:
    assert diagnose(frame([1.0]).iloc[:0]) == ()


@pytest.mark.parametrize(("by_s", "words"), [(3600.0, "+1 h"), (-90.0, "−1.5 min")])
def test_a_clock_that_was_set(by_s: float, words: str) -> None:
    df = frame(steady())
    df.loc[df["seq"] > 200, "timestamp"] += pd.Timedelta(seconds=by_s)
    assert f"was set during the run ({words})" in found(df)["clock set"].text
    assert found(df)["clock set"].advice.endswith("Durations use another clock and are correct.")
    later = df.iloc[:100].assign(timestamp=df["timestamp"] + pd.Timedelta(days=1), run="another")
    joined = pd.concat([frame(steady(100)), later])
    assert "clock set" not in found(joined)


def test_an_rrt_that_is_missing_or_goes_missing() -> None:
    df = frame(steady())
    df.loc[df["seq"].isin([5, 50, 90, 120]), "rrt_ms"] = np.nan
    assert found(df)["RRT missing"].text == "4 of 300 replies have no RRT that is a time."
    assert found(df)["RRT missing"].advice.endswith("; the column rrt has the text.")
    df["rrt_ms"] = np.where(df["seq"] < 200, 2.0, np.nan)
    df["rrt"] = df["rrt"].where(df["seq"] < 200)
    assert str(found(df)["RRT missing"]) == (
        "The server stopped reporting its RRT: the last 100 of 300 replies have none. For these, server and network "
        "time cannot be told apart."
    )
    df["rrt_ms"] = np.nan
    assert found(df)["RRT missing"].text == "No reply has an RRT that is a time."


def with_rrt_above_the_wait(df: pd.DataFrame, rows: int, by_ms: float) -> pd.DataFrame:
    rrt_ms = df["rrt_ms"].where(df["seq"] >= rows, df["ttfb_ms"] + by_ms)
    return df.assign(rrt_ms=rrt_ms, network_ms=df["ttfb_ms"] - rrt_ms)


def test_an_rrt_above_the_wait() -> None:
    finding = found(with_rrt_above_the_wait(frame(steady()), 300, 470.0))["RRT above the wait"]
    assert finding.text == (
        "In 300 of 300 replies the server reports more than the wait for the first byte, by up to 470 ms: there its "
        "RRT is no part of that wait."
    )
    assert finding.advice == "Server and network time cannot be told apart: do not judge by network_ms."
    assert finding.evidence == {"above": 300, "replies": 300, "most_ms": pytest.approx(470.0)}
    assert finding.casts_doubt
    assert "RRT above the wait" in found(with_rrt_above_the_wait(frame(steady()), 16, 470.0))
    assert "RRT above the wait" in found(with_rrt_above_the_wait(frame(steady(2)), 2, 470.0))


@pytest.mark.parametrize(("rows", "by_ms"), [(300, 0.09), (15, 470.0)])
def test_an_rrt_that_is_rounded_or_above_the_wait_in_a_few_replies_is_no_fault(rows: int, by_ms: float) -> None:
    assert diagnose(with_rrt_above_the_wait(frame(steady()), rows, by_ms)) == ()
    assert "RRT above the wait" not in found(with_rrt_above_the_wait(frame(steady(20)), 2, by_ms))


def test_pings_that_are_there_twice() -> None:
    df = frame(steady())
    finding = found(pd.concat([df, df], ignore_index=True))["pings twice"]
    assert finding.text.startswith("300 of 600 rows are of pings that are here already, as in a table that was joined ")
    assert finding.evidence == {"rows": 300}
    once = pd.concat([df, df.iloc[:1]], ignore_index=True)
    assert found(once)["pings twice"].text.startswith("1 of 301 rows is of pings that are here already")
    assert "pings twice" not in found(once.drop_duplicates(["run", "seq"]))
    # Two runs number their pings alike, and without its id nobody knows of which run a row is.
    assert "pings twice" not in found(pd.concat([df, df.assign(run="another")], ignore_index=True))
    assert "pings twice" not in found(once.assign(run=pd.array([None] * 301, dtype="string")))


def test_many_pings_that_failed() -> None:
    errors: dict[int, Kind] = dict.fromkeys(range(16), "server_error")
    finding = found(frame(steady(), errors=errors))["many errors"]
    assert finding.text == "16 of 300 pings failed: the percentiles are of the other 284 only."
    assert finding.evidence == {"failed": 16, "pings": 300}
    del errors[0]
    assert diagnose(frame(steady(), errors=errors)) == ()
    # Then there is no percentile.
    assert "many errors" not in found(frame(steady(9), errors=dict.fromkeys(range(5), "dns")))


def test_connections_that_are_made_again_and_again() -> None:
    df = frame(steady())
    df.loc[df["seq"] % 12 == 0, "reused"] = False
    assert found(df)["connections re-made"].text.startswith("25 of 300 pings had to open a new connection")
    # A ping that timed out leaves no connection to the next one.
    hung = frame(steady(), errors=dict.fromkeys(range(0, 300, 12), "timeout"))
    hung["reused"] = hung["seq"] % 12 != 1
    assert "connections re-made" not in found(hung)
    df["reused"] = False
    assert "connections re-made" not in found(described(df, cold=True))
    assert "connections re-made" in found(described(df, cold=False))
    # Without its attributes a table does not tell whether that was meant.
    df.attrs.clear()
    assert list(found(df)) == ["place unknown"]
    assert found(df)["place unknown"].evidence == {"rows": 300}
    assert found(df)["place unknown"].text.endswith("df.attrs was lost, for example by concat or a CSV file.")


def test_lines_that_ran_one_after_the_other() -> None:
    a, b = frame(steady(), label="a"), frame(steady(), label="b")
    b[["scheduled_ms", "started_ms"]] += 3600e3
    df = pd.concat([a, b], ignore_index=True)
    describe(df, ATTRS)
    assert list(found(df)) == ["not interleaved"]
    assert found(df)["not interleaved"].evidence == {"labels": 2}


def test_another_table_is_an_exact_error() -> None:
    with pytest.raises(AnalysisError, match=r"^This DataFrame lacks the columns"):
        diagnose(pd.DataFrame({"a": [1]}))
