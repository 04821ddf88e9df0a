"""Given a doubtful measurement, a finding says what is doubtful, and what to do; given a sound one, nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from donutwork_magics.analysis.diagnose import Finding, diagnose
from donutwork_magics.analysis.summary import percentiles, summary
from donutwork_magics.errors import AnalysisError, Kind
from donutwork_magics.frame.accessor import DonutworkAccessor
from tests.analysis.experiments import alike, experiment
from tests.analysis.test_runs import LATER, joined, later, of_run
from tests.display.frames import ATTRS, frame
from tests.support.tables import RUN, describe


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
    df = df.assign(run="20261126T120000.000Z-never")
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


BEHIND_OTHERS = "Some pings began late, behind others that took long, or timed out."
STOOD_STILL = "This machine stood still once, for 1.00 s:"


def stalled(*, by_the_api: bool = False, for_s: float = 1.0) -> pd.DataFrame:
    """Make 400 pings at 200/s, of which 80 began late, after one that took a second or a pause of this machine."""
    df = frame([2.0] * 400, every_ms=5.0)
    df.loc[99, "duration_ms"] = 2.0 + by_the_api * for_s * 1e3
    df["lag_ms"] = (for_s * 1e3 - 12.0 * df["seq"].sub(100)).where(df["seq"].between(100, 180), 0.0)
    df["started_ms"] = df["scheduled_ms"] + df["lag_ms"]
    df["corrected_ms"] = df["duration_ms"] + df["lag_ms"]
    pauses = {"count": 1, "total_s": for_s, "longest_s": for_s, "first": [[0.5, for_s]]}
    plan = [{**ATTRS["plan"][0], "rate_hz": 200.0}]
    return of_run(df, RUN, plan=plan, **({} if by_the_api else {"machine_pauses": pauses}))


def of_a_later_run(df: pd.DataFrame, apart_s: float = 60.0) -> pd.DataFrame:
    (attrs,) = df.attrs["donutwork"]["runs"].values()
    return of_run(later(df, apart_s), LATER, **attrs)


# Vantage points measure at the same time.
@pytest.mark.parametrize("apart_s", [60.0, 0.5])
def test_of_several_runs_a_pause_of_this_machine_is_found_by_the_clock_of_its_run(apart_s: float) -> None:
    sound = of_run(frame([2.0] * 400, every_ms=5.0), RUN)
    finding = found(joined(sound, of_a_later_run(stalled(), apart_s)))["machine paused"]
    assert finding.text.startswith(STOOD_STILL)
    assert "Pings began late because of that, not because of the API. Corrected" in finding.text
    assert finding.evidence == {"pauses": 1, "longest_s": 1.0, "within_durations": 0}
    labelled = joined(sound.assign(label="before"), of_a_later_run(stalled(), apart_s).assign(label="after"))
    told = {(finding.name, finding.label) for finding in diagnose(labelled)}
    assert ("machine paused", "after") in told
    assert not told & {("machine paused", "before"), ("late starts", "before"), ("late starts", "after")}


@pytest.mark.parametrize("apart_s", [60.0, 0.0])
def test_of_several_runs_a_pause_of_this_machine_excuses_no_stall_of_another_run(apart_s: float) -> None:
    told = found(joined(stalled(), of_a_later_run(stalled(by_the_api=True), apart_s)))
    assert told["late starts"].text.startswith(BEHIND_OTHERS)
    assert "Some pings began late because of that." in told["machine paused"].text
    assert "duration" not in told["machine paused"].text


def test_of_several_runs_a_short_stall_is_not_taken_for_the_cause_of_long_lags() -> None:
    short = stalled(by_the_api=True, for_s=0.05)
    short.loc[101:, ["lag_ms", "corrected_ms"]] = [0.0, 2.0]
    assert "late starts" not in found(joined(short, of_a_later_run(stalled())))


def test_of_several_runs_each_has_as_many_pings_at_a_time_as_its_own_plan_says() -> None:
    # One worker would be behind another ping nearly all the time.
    busy = of_run(frame([15.0] * 400, every_ms=5.0), RUN, plan=[{**ATTRS["plan"][0], "concurrency": 4}])
    told = found(joined(busy, of_a_later_run(stalled())))
    assert "not because of the API" in told["machine paused"].text
    assert "late starts" not in told


def test_of_several_runs_why_pings_began_late_is_checked_run_by_run() -> None:
    unknown = of_run(of_a_later_run(stalled()), LATER, machine_pauses=None)
    text = found(joined(of_run(frame([2.0] * 400, every_ms=5.0), RUN), unknown))["late starts"].text
    assert text.startswith("Some pings began late, though none before them took that long:")


def test_where_rows_are_missing_it_is_said_that_they_may_tell_why_pings_began_late() -> None:
    df = stalled(by_the_api=True)
    assert found(df)["late starts"].text.startswith(BEHIND_OTHERS)
    finding = found(df[~df["seq"].between(98, 99)])["late starts"]
    assert finding.text.startswith("Some pings began late; rows that are missing here may tell why. Corrected")
    assert finding.advice == "Diagnose the whole table."
    # What the other rows tell needs no further one.
    assert found(df[df["seq"] != 300])["late starts"].text.startswith(BEHIND_OTHERS)


def test_of_several_runs_the_rate_is_that_of_the_last_pings_in_whatever_order_they_stand() -> None:
    slow = frame([20.0] * 60, every_ms=200.0)
    slow["lag_ms"] = slow["seq"] * 100.0
    first, last = of_run(frame([20.0] * 60), RUN), of_a_later_run(of_run(slow, RUN))
    assert "rate not reached" in found(joined(first, last))
    assert "rate not reached" in found(joined(last, first))


def test_of_several_runs_each_opens_as_many_connections_as_its_own_plan_says() -> None:
    df, plan = frame([2.0] * 60), ATTRS["plan"][0]
    df.loc[:7, "reused"] = False
    few = of_run(df.assign(reused=df["seq"] > 0), RUN, plan=[{**plan, "concurrency": 1}])
    many = of_run(later(df, 60.0), LATER, plan=[{**plan, "concurrency": 8}])
    assert list(found(joined(few, many))) == ["runs joined"]


@pytest.mark.parametrize("apart_s", [60.0, 15.05])
def test_several_runs_are_judged_in_the_order_of_their_starts_however_they_stand(apart_s: float) -> None:
    values = np.array([*[60.0] * 8, *steady(292)])
    values[[*range(100, 108), *range(220, 224)]] = 300.0
    errors: dict[int, Kind] = dict.fromkeys(range(140, 150), "timeout")
    one = of_run(frame(values[:150].tolist(), errors=errors), RUN)
    other = of_run(later(frame(values[150:].tolist()), apart_s), LATER)
    assert {"warm-up not over", "bursts of outliers"} <= set(found(joined(one, other)))
    tables = [joined(one, other), joined(other, one), joined(one, other).sample(frac=1, random_state=1)]
    tables[2].attrs = tables[0].attrs
    first, *others = [(diagnose(df), summary(df), percentiles(df)) for df in tables]
    for told, *figures in others:
        assert told == first[0]
        assert all(map(pd.DataFrame.equals, figures, first[1:]))
    assert first[1].loc["all", "rate_hz"] == pytest.approx(10.0, rel=0.01)


def test_timeouts_that_leave_too_few_successes_for_a_percentile_hide_no_late_starts() -> None:
    hung: dict[int, Kind] = dict.fromkeys(range(20, 25), "timeout")
    df = frame([500.0 if seq in hung else 2.0 for seq in range(62)], errors=hung)
    df["lag_ms"] = [max(0.0, 400.0 * (seq - 20) if seq < 25 else 2100.0 - 100.0 * (seq - 25)) for seq in range(62)]
    df.loc[df["seq"] < 20, "lag_ms"] = 0.0
    df["corrected_ms"] = df["duration_ms"] + df["lag_ms"]
    df["started_ms"] = df["scheduled_ms"] + df["lag_ms"]
    assert found(df)["late starts"].text.endswith("p50 2.00 ms, p95 1.90 s.")


def test_timeouts_alone_are_no_late_starts() -> None:
    hung: dict[int, Kind] = dict.fromkeys(range(0, 100, 10), "timeout")
    assert "late starts" not in found(frame([500.0 if seq in hung else 2.0 for seq in range(100)], errors=hung))


def test_another_table_is_an_exact_error() -> None:
    with pytest.raises(AnalysisError, match=r"^This DataFrame lacks the columns"):
        diagnose(pd.DataFrame({"a": [1]}))
