"""The card of a run: its figures, charts and notes, what it was judged by, and what it advises."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import asdict
from io import StringIO
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

import donutwork_magics.frame.accessor  # noqa: F401
from donutwork_magics import Client, DonutworkError
from donutwork_magics.client.replies import PING as PING_ENDPOINT
from donutwork_magics.client.results import Sample, advice
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.display import mimebundle
from donutwork_magics.display.card import Breakdown
from donutwork_magics.display.cards import card_of
from donutwork_magics.display.run import RunCard
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import KINDS, Kind
from donutwork_magics.grammar.options import PING, WATCH, Spec
from donutwork_magics.network.exchange import Exchange, Phases
from donutwork_magics.sampling.machine import ClientLoad
from donutwork_magics.sampling.plan import Plan
from tests.analysis.experiments import experiment
from tests.display.frames import ATTRS, frame
from tests.display.values import comparison, run
from tests.servers import Server, hang
from tests.support.tables import describe

CLIENT = ClientLoad(0.4, 0.9, 0.1, 5.0, 0.9, 400).as_attrs()


def shown(df: pd.DataFrame, **attrs: Any) -> str:
    """Return the card of a table as text, which tells of itself what is given."""
    if attrs:
        describe(df, {**ATTRS, **attrs})
    return mimebundle(RunCard(df))["text/plain"]


def said(df: pd.DataFrame, **attrs: Any) -> str:
    """Return the same in one line."""
    return " ".join(shown(df, **attrs).split())


def test_how_a_run_ended_is_said_in_words() -> None:
    lost = mimebundle(run(ended="prober_lost"))["text/plain"]
    assert lost.startswith("✗ Pings: ended early, as the process that pings was lost: 70 pings, 2 errors")
    narrow = mimebundle(run(ended="narrow"))["text/plain"]
    assert narrow.startswith("⚠ Pings: 70 pings, 2 errors, enough for its interval (--until)")


def test_rows_that_the_kernel_did_not_read_are_told_and_where_they_are() -> None:
    df = frame([1.0] * 6).drop(index=[2, 3]).reset_index(drop=True)
    text = said(df, unread=2)
    assert "2 rows are not here: the kernel did not read them in time. The journal of the run has them" in text
    assert "missing" not in text


@pytest.mark.parametrize(
    ("expected", "judged"),
    [
        ("p50<30ms", r"✓ holds: 2\d\.\d ms \(.* to .* ms\)"),
        ("max<30ms", r"✗ fails: 39\.\d ms"),
        ("p99<1s", r"○ undecided: of the \d+ pings that it needs there are 120"),
    ],
)
def test_what_was_expected_is_judged_in_the_card(expected: str, judged: str) -> None:
    df = frame(list(np.random.default_rng(1).uniform(10.0, 40.0, 120)))
    text = shown(df, plan=[{**ATTRS["plan"][0], "expect": [expected]}])
    assert re.search(rf"{expected} +{judged}", text)
    assert ("no errors, not as expected" in text.splitlines()[0]) == ("✗" in judged)


def test_what_was_expected_of_a_label_stands_by_its_name() -> None:
    df = pd.concat([frame([1.0] * 6, label=label) for label in "ab"], ignore_index=True)
    plans = [{**ATTRS["plan"][0], "label": label} for label in "ab"]
    text = shown(df, plan=[plans[0], {**plans[1], "expect": ["max<0.5ms"]}])
    assert re.search("b: max<500µs +✗ fails: 1.00 ms\n", text)


def test_the_settings_of_the_sandbox_are_among_the_details() -> None:
    df = frame([1.0] * 6)
    text = shown(df, sandbox={"latency": "5ms", "seed": 1})
    assert "[sandbox]" in text
    assert re.search("Sandbox +latency 5ms; seed 1\n", text[text.index("Run details") :])


def saved_bytes(value: Displayed) -> int:
    """How much of a notebook it takes: both renderings are saved."""
    return sum(len(text.encode()) for text in mimebundle(value).values())


def test_the_saved_card_of_a_run_is_small() -> None:
    many = [float(value) for value in np.random.default_rng(1).lognormal(1.0, 1.0, 100_000)]
    long = frame(many, errors=dict.fromkeys(range(0, 100_000, 7), "timeout"), every_ms=5.0)
    assert saved_bytes(run()) <= 20_000
    assert saved_bytes(RunCard(long)) <= 30_000


FOREIGN = "&" * 10_000


@pytest.mark.parametrize(
    ("labels", "letters"),
    [
        *itertools.product([2, 3, 8], ["<" * 62, "測" * 62]),
        (4, FOREIGN),
        # Only 20 are shown; but all are compared, which takes a while.
        (21, "&" * 62),
    ],
    ids=lambda value: str(value)[:1] if isinstance(value, str) else None,
)
@pytest.mark.slow
def test_the_saved_card_of_a_comparison_is_small(labels: int, letters: str) -> None:
    random = np.random.default_rng(1)
    rows = 2000 if labels <= 8 else 200
    parts = [
        frame(
            list(random.lognormal(1.0, 1.0, rows)),
            label=f"{at} {letters}",
            errors={row: KINDS[row % len(KINDS)] for row in range(0, rows, 10)},
            warmup=20,
        )
        for at in range(labels)
    ]
    df = pd.concat(parts, ignore_index=True)
    for phase, share in {"dns_ms": 0.1, "connect_ms": 0.2, "tls_ms": 0.3}.items():
        df[phase] = df["duration_ms"] * share
    df["tls_version"] = "TLSv1.3"
    df["lag_ms"] = df["seq"] * 100.0
    df["corrected_ms"] = df["duration_ms"] + df["lag_ms"]
    df["retried"] = df["seq"] % 10 == 0
    plans = [{**ATTRS["plan"][0], "label": label, "rate_hz": 1000.0} for label in df["label"].unique()]
    client = {**CLIENT, "notices": ["client_saturated", "machine_busy"]}
    pauses = {"count": 20, "total_s": 300.0, "first": []}
    describe(
        df,
        {
            **ATTRS,
            "plan": plans,
            "client": [client] * labels,
            "pauses": pauses,
            "in_flight": [{"label": "ping", "waited_ms": 3.0}] * 3,
        },
    )
    assert saved_bytes(RunCard(df)) <= 32_000


def test_phases_that_did_not_happen_are_left_out() -> None:
    text = shown(frame([1.0] * 5))
    assert "first byte" in text
    assert "TLS " not in text.split("Measured")[0]


def test_a_run_tells_the_servers_share_of_the_wait() -> None:
    df = frame([10.0] * 60)
    df["tcp_rtt_ms"] = math.nan
    text = shown(df)
    assert "Wait for the first byte: in the server (RRT in its reply), and outside of it" in " ".join(text.split())
    assert re.search(r"server +3.00 ms +33.3 % +█+\n +network +6.00 ms +66.7 % +█+\n", text)


def test_where_the_rrt_is_above_the_wait_the_wait_is_not_broken_down() -> None:
    df = frame([10.0] * 60)
    # The pings in the middle are sound, and still nobody knows what the RRT of this server is.
    df.loc[:9, "rrt_ms"] = 500.0
    df["network_ms"] = df["ttfb_ms"] - df["rrt_ms"]
    text = said(df, plan=[{**ATTRS["plan"][0], "expect": ["network_ms.p50<1s"]}])
    assert "In 10 of 60 replies the server reports more than the wait for the first byte, by up to 491 ms" in text
    assert "Wait for the first byte" not in text
    assert "first byte 9.00 ms" in text
    assert "undecided: in 10 of 60 replies the RRT is above the wait, so network time is not known" in text
    assert text.startswith("⚠ Pings: 60 pings")


def test_where_the_rrt_is_above_the_wait_no_server_stands_beside_the_phases() -> None:
    strange = frame([10.0] * 60, label="strange").assign(rrt_ms=500.0)
    sound = frame([5.0] * 60, label="sound")
    text = shown(pd.concat([strange, sound], ignore_index=True))
    assert re.search(r"strange +500 µs +9.00 ms +500 µs +–\n", text)
    assert re.search(r"sound +250 µs +4.50 ms +250 µs +1.50 ms\n", text)
    text = shown(pd.concat([strange, sound.assign(rrt_ms=500.0)], ignore_index=True))
    assert re.search(r"label +send +first byte +receive\n", text)
    assert "server is its RRT" not in " ".join(text.split())


def test_the_phases_of_a_run_add_up_to_its_p50_also_where_their_medians_would_not() -> None:
    random = np.random.default_rng(1)
    df = frame([1.0] * 200)
    # Each is mostly short, and seldom two are long at once: the median of each is the short one.
    for column in ("connect_ms", "ttfb_ms", "receive_ms"):
        df[column] = np.where(random.random(200) < 0.4, random.uniform(40.0, 60.0, 200), 1.0)
    df["duration_ms"] = df[["connect_ms", "send_ms", "ttfb_ms", "receive_ms"]].sum(axis=1)
    p50_ms = df["duration_ms"].median()
    assert sum(df[column].median() for column in ("connect_ms", "ttfb_ms", "receive_ms")) < 0.1 * p50_ms
    phases = next(s for s in card_of(RunCard(df)).sections if isinstance(s, Breakdown))
    in_ms = {"µs": 1e-3, "ms": 1.0}
    times_ms = [float(number) * in_ms[unit] for number, unit in (part.value.split() for part in phases.segments)]
    assert sum(times_ms) == pytest.approx(p50_ms, rel=0.05)
    assert phases.caption == "Typical ping (mean of the 40th to 60th percentile)"


def gone_missing(n: int = 80) -> pd.DataFrame:
    """Let the server report no RRT any more from the middle of the run on, and take 4 times as long."""
    df = frame([1.0] * (n // 2) + [4.0] * (n // 2))
    df["rrt_ms"] = df["rrt_ms"].where(df["seq"] < n // 2)
    return df


def test_the_phases_and_the_wait_are_of_the_same_pings_where_some_have_no_rrt() -> None:
    phases, wait = (each for each in card_of(RunCard(gone_missing())).sections if isinstance(each, Breakdown))
    assert phases.caption == "Typical ping of the 40 with an RRT (mean of the 40th to 60th percentile)"
    assert {part.name: part.value for part in phases.segments}["first byte"] == "900 µs"
    assert {part.name: part.value for part in wait.segments} == {
        "path": "100 µs",
        "server": "300 µs",
        "unexplained": "500 µs",
    }
    few = shown(gone_missing(4))
    assert "Phases: mean of the 2 with an RRT\n" in few
    assert "Phases of the ping with an RRT\n" in shown(gone_missing(2))


def test_the_wait_is_not_told_where_most_pings_have_no_rrt() -> None:
    df = gone_missing()
    df.loc[0, "rrt_ms"] = np.nan
    (phases,) = (each for each in card_of(RunCard(df)).sections if isinstance(each, Breakdown))
    assert phases.caption == "Typical ping (mean of the 40th to 60th percentile)"
    both = shown(pd.concat([df.assign(label="a"), gone_missing().assign(label="b")], ignore_index=True))
    assert re.search(r"a +\d+ µs +\d.\d\d ms +\d+ µs +–\n +b +50.0 µs +900 µs +50.0 µs +300 µs\n", both)


def test_a_percentile_that_the_sample_does_not_support_says_what_it_needs() -> None:
    text = shown(frame([1.0] * 58))
    assert "–  p95 needs 59 successes" in text
    assert "–  p99 needs 299 successes" in text
    assert "1.00 ms  p50" in text


@pytest.mark.parametrize(
    ("n", "failed", "figures"),
    [
        (1, {}, ["5.00 ms  duration", "–  p50 needs 5 successes"]),
        (2, {1: "timeout"}, ["5.00 ms  the one success", "–  p50 needs 5 successes"]),
        (2, {}, ["5.00 ms  min", "6.00 ms  max", "–  p50 needs 5 successes"]),
        (4, {3: "timeout"}, ["5.00 ms  min", "7.00 ms  max", "–  p50 needs 5 successes"]),
        (4, {}, ["5.00 ms  min", "8.00 ms  max", "–  p50 needs 5 successes"]),
    ],
)
def test_a_few_pings_have_counts_and_no_statistics(n: int, failed: dict[int, Kind], figures: list[str]) -> None:
    df = frame([5.0 + seq for seq in range(n)], errors=failed)
    df["reused"] = df["seq"] > 0
    text = shown(df)
    assert [line.strip() for line in text.splitlines()[1 : 1 + len(figures)]] == figures
    for statistic in ("interval", "Jitter", "Histogram", "p95", "Typical ping", "0 % reused"):
        assert statistic not in text
    assert re.search(f"Errors +1 of {n}: timeout 1\n" if failed else "Errors +none\n", text)
    ok = n - len(failed)
    assert f"warm, {ok - 1} of {ok} reused" in text
    assert ("median" in text) == (n > 1)
    assert ("Duration over time" in text) == (n > 1)


def test_a_run_tells_its_plan_and_what_became_of_it() -> None:
    df = frame([1.0] * 6, every_ms=200.0, warmup=1)
    df["lag_ms"] = df["seq"] * 100.0
    text = shown(df, pauses={"count": 2, "total_s": 3.0}, skipped=7, in_flight=[{"label": "ping", "waited_ms": 3.0}])
    for fact in (
        "5 of 5 planned, 1 more for warm-up left out",
        "The planned rate was not reached: 5.00/s of 10.0/s.",
        "warm, 100 % reused, HTTP/1.1, no TLS",
        "2 in the whole run, 3.00 s in total, as the server asked",
        "1 ping in flight",
        "7 planned starts (during outages, or when more than",
        "127.0.0.1:8080/2026-02-01/ping.json",
    ):
        assert fact in text


def outages(count: int, first: int, **last: Any) -> dict[str, Any]:
    one = {"began_s": 1.7e9, "at_s": 12.3, "length_s": 4.2, "over": True, "kinds": ["connect"], "pings": 6}
    return {"count": count, "total_s": 4.2 * count, "first": [*[one] * (first - 1), {**one, **last}]}


def text_of(described: dict[str, Any], labels: int = 1) -> str:
    df = pd.concat([frame([1.0] * 6, label=f"l{at}") for at in range(labels)], ignore_index=True)
    describe(df, {**ATTRS, "outages": described})
    bundle = mimebundle(RunCard(df))
    assert max(map(len, bundle["text/plain"].splitlines())) <= 80
    assert bool(re.search("outages[^<]*</summary>", bundle["text/html"])) == (described["count"] > 3)
    return bundle["text/plain"]


def test_a_card_lists_its_outages() -> None:
    text = text_of(outages(2, 2, length_s=3700.0, kinds=["timeout", "connect", "tls"], over=False, pings=40))
    words = " ".join(text.split())
    assert "Outages 2 in the whole run, 8.40 s in total" in words
    assert "server error; ≥: no ping was answered after it" in words
    assert "2023-11-14 22:13:20 UTC 12.3 s 4.20 s connect 6" in words
    assert "2023-11-14 22:13:20 UTC 12.3 s ≥ 1 h 1 min timeout and 2 more 40" in words
    assert "≥" not in text_of(outages(2, 2))


def test_where_a_run_asks_several_services_each_outage_says_of_which_it_is() -> None:
    words = " ".join(text_of(outages(2, 2, place="staging", length_s=3700.0, kinds=["timeout", "tls"]), 2).split())
    assert "Outages 2 in the whole run, 8.40 s in total, each service by itself" in words
    assert "began of length errors pings" in words
    assert "2023-11-14 22:13:20 UTC staging 1 h 1 min timeout and 1 more 6" in words


def test_many_outages_are_folded_and_the_card_says_how_many_it_lists() -> None:
    assert "\n  4 outages\n" in text_of(outages(4, 4))
    assert "  300 outages, the first 20\n" in text_of(outages(300, 20))
    # A comparison lists those of the whole run once.
    for count, labels in ((4, 1), (2, 2), (4, 2)):
        assert text_of(outages(count, count), labels).count("4.20 s") == count
    assert "utage" not in text_of({"count": 0, "total_s": 0.0, "first": []})


def test_where_the_rate_was_not_reached_the_corrected_times_are_told_once() -> None:
    df = frame([20.0] * 60, every_ms=200.0)
    df["lag_ms"] = df["seq"] * 100.0
    df["corrected_ms"] = df["duration_ms"] + df["lag_ms"]
    describe(df, ATTRS)
    text = shown(df)
    assert text.startswith("⚠ Pings: 60 pings, no errors")
    assert text.count("5.62 s") == 1
    words = " ".join(text.split())
    assert "The planned rate was not reached: 5.00/s of 10.0/s." in words
    # The 57th of 60.
    assert "Corrected, what a punctual caller would have waited: p50 2.97 s, p95 5.62 s." in words


def test_a_stall_that_was_caught_up_with_is_told_too() -> None:
    df = frame([2.0] * 400, every_ms=5.0)
    stalled = df["seq"].between(100, 180)
    df.loc[stalled, "lag_ms"] = 1000.0 - (df["seq"] - 100) * 12
    df.loc[99, "duration_ms"] = 1000.0
    df["corrected_ms"] = df["duration_ms"] + df["lag_ms"]
    text = said(df, plan=[{**ATTRS["plan"][0], "rate_hz": 200.0}])
    assert text.startswith("⚠ Pings: 400 pings, no errors")
    assert "Some pings began late, behind others that took long, or timed out." in text
    assert re.search(r"Corrected, what a punctual caller would have waited: .*p99 9\d\d ms", text)


def held_up(pauses: dict[str, object], *, stall_s: float = 0.0) -> str:
    """Tell of 400 pings at 200/s of which 80 began late, after a second in which nothing began."""
    df = frame([2.0] * 400, every_ms=5.0)
    late = df["seq"].between(100, 180)
    df.loc[late, "lag_ms"] = 1000.0 - 12.0 * df["seq"].sub(100)
    df.loc[99, "duration_ms"] = 2.0 + stall_s * 1e3
    df["started_ms"] = df["scheduled_ms"] + df["lag_ms"]
    df["corrected_ms"] = df["duration_ms"] + df["lag_ms"]
    return said(df, plan=[{**ATTRS["plan"][0], "rate_hz": 200.0}], machine_pauses=pauses)


def paused(*first: list[float], count: int | None = None) -> dict[str, object]:
    """Describe pauses of this machine by when they began and how long they were."""
    lengths_s = [pause_s for _at_s, pause_s in first]
    return {
        "count": len(first) if count is None else count,
        "total_s": sum(lengths_s),
        "longest_s": max(lengths_s),
        "first": list(first),
    }


BEHIND_OTHERS = "Some pings began late, behind others that took long, or timed out."


def test_a_pause_of_this_machine_is_not_blamed_on_the_api() -> None:
    text = held_up(paused([0.5, 1.0]))
    assert text.startswith("⚠ Pings: 400 pings, no errors")
    assert "This machine stood still once, for 1.00 s:" in text
    assert re.search(
        r"not because of the API\. Corrected, what a punctual caller would have waited: p50 .* p99 9", text
    )
    assert BEHIND_OTHERS not in text
    assert "Machine pauses 1 in the whole run, the longest 1.00 s" in text
    within = held_up(paused([0.5, 1.0]), stall_s=1.0)
    assert "not because of the API. The duration of 1 ping contains such a pause." in within


def test_a_pause_of_this_machine_excuses_no_stall() -> None:
    elsewhere = held_up(paused([1.7, 0.2]), stall_s=1.0)
    assert BEHIND_OTHERS in elsewhere
    assert "stood still" not in elsewhere
    too_short = held_up(paused([0.5, 0.2]), stall_s=0.8)
    assert "This machine stood still once, for 200 ms:" in too_short
    assert "Some pings began late because of that." in too_short
    assert BEHIND_OTHERS in too_short
    assert "not because of the API" not in too_short


def test_where_not_all_pauses_of_this_machine_are_known_a_stall_is_told_too() -> None:
    text = held_up(paused([90.0, 1.0], count=21), stall_s=1.0)
    assert "This machine stood still 21 times, for up to 1.00 s:" in text
    assert "Some pings began late because of that." in text
    assert BEHIND_OTHERS in text


def test_a_pause_of_this_machine_that_held_up_no_ping_is_no_note() -> None:
    df = frame([2.0] * 60)
    text = shown(df, machine_pauses=paused([90.0, 1.0]))
    assert text.startswith("✓ Pings: 60 pings, no errors")
    assert "stood still" not in text


def test_a_saturated_client_is_not_told_to_do_more_at_a_time() -> None:
    df = frame([20.0] * 60, every_ms=200.0)
    df["lag_ms"] = df["seq"] * 100.0
    plan = {**ATTRS["plan"][0], "concurrency": 8}
    text = said(df, plan=[plan], client=[{**CLIENT, "notices": ["client_saturated"]}])
    assert "A lower rate (-r) may reach the planned rate." in text
    assert "Lower -c for more accurate times." in text


def test_the_card_of_a_table_that_was_read_from_text_is_the_same() -> None:
    df = frame([1.0] * 60)
    again = pd.read_csv(StringIO(df.to_csv(index=False)))
    again["error"] = again["error"].astype(object)
    # What was in its attributes, no file of text keeps.
    df.attrs.clear()
    assert mimebundle(RunCard(again)) == mimebundle(RunCard(df))
    again["timestamp"] = pd.NaT
    assert "Began" not in shown(again)


def test_rows_without_a_label_are_a_label_of_their_own() -> None:
    a, b = frame([1.0] * 20, label="a"), frame([2.0] * 30, label="b")
    b["label"] = None
    text = shown(pd.concat([a, b], ignore_index=True))
    assert re.search(r"no label +2.00 ms .* 30 +0\n", text)


@pytest.mark.parametrize("name", ["None", "nan"])
def test_a_label_that_a_file_of_text_takes_for_none_is_one_label(name: str) -> None:
    df = pd.concat([frame([5.0] * 60, label=name), frame([6.0] * 60, label="warm")])
    again = pd.read_csv(StringIO(df.to_csv(index=False)))
    text = shown(again)
    assert re.search(r"no label +5.00 ms .* 60 +0\n +warm +6.00 ms .* 60 +0\n", text)
    assert shown(again[:60]).startswith("✓ Pings: no label: 60 pings")


def test_a_version_that_a_file_of_text_takes_for_a_number_is_itself_again() -> None:
    df = frame([1.0] * 10, errors={3: "connect"})
    df["http_version"] = pd.Series(["2"] * 10).where(df["seq"] != 3)
    again = pd.read_csv(StringIO(df.to_csv(index=False)))
    text = shown(pd.concat([df, again]))
    assert "HTTP/2, no TLS" in text
    assert "HTTP/2.0" not in text


def test_a_table_joined_with_one_from_text_has_a_card() -> None:
    new, old = frame([1.0] * 60, label="new"), frame([2.0] * 60, label="old")
    joined = pd.concat([pd.read_csv(StringIO(old.to_csv(index=False))), new])
    text = shown(joined)
    assert re.search(r"old +2.00 ms .*\n +new +1.00 ms", text)


@pytest.mark.parametrize("index", ["timestamp", "label", ["seq", "label"]])
def test_an_index_of_ones_own_changes_no_card(index: str | list[str]) -> None:
    df = frame([5.0 + 0.1 * seq for seq in range(70)])
    assert mimebundle(RunCard(df.set_index(index, drop=False))) == mimebundle(RunCard(df))


@pytest.mark.parametrize("durations_ms", [[math.inf, 1.0] * 40, [math.inf] * 80, [1e300, 1e-300] * 40])
def test_times_that_nobody_measured_break_no_card(durations_ms: list[float]) -> None:
    assert shown(frame(durations_ms))[1:].startswith(" Pings: 80 pings")


def test_columns_that_are_there_twice_are_named() -> None:
    df = frame([1.0])
    text = shown(pd.concat([df, df[["seq", "error"]]], axis=1))
    assert text == "○ Pings: not a table of pings\n  It has seq, error twice."


def test_a_column_that_cannot_be_read_is_named() -> None:
    text = shown(frame([1.0] * 5).assign(reused="VERO"))
    assert text.startswith("○ Pings: not a table of pings\n  The column reused of this DataFrame has values other than")


def test_one_late_start_is_no_rate_that_was_not_reached() -> None:
    df = frame([1.0] * 10)
    late = df["seq"] == 9
    df.loc[late, ["started_ms", "lag_ms"]] = [1300.0, 400.0]
    describe(df, ATTRS)
    text = shown(df)
    assert "not reached" not in text
    assert "corrected" not in text


def test_pings_that_were_sent_again_are_told_and_why_they_took_longer() -> None:
    df = frame([1.0] * 10)
    df["retried"] = df["seq"] < 2
    text = said(df)
    assert "⚠ Pings: 10 pings, no errors" in text
    assert "2 pings were retried on a new connection, as the kept one was closed or did not take them." in text
    few = frame([1.0] * 300)
    few["retried"] = few["seq"] < 2
    text = said(few)
    assert "✓ Pings: 300 pings, no errors" in text
    assert "Retried 2 pings, on a new connection" in text


@pytest.mark.parametrize("kind", ["dns", "connect", "tls"])
def test_of_calls_that_did_not_get_as_far_as_tls_nothing_is_said_of_it(kind: Kind) -> None:
    df = frame([1.0] * 5, errors=dict.fromkeys(range(5), kind))
    df["http_version"] = None
    assert "TLS" not in shown(df)
    df.loc[4, ["http_version", "error"]] = ["1.1", None]
    assert "HTTP/1.1, no TLS" in shown(df)


def test_a_percentile_of_successes_without_a_time_says_what_it_lacks() -> None:
    df = frame([1.0] * 120)
    df["duration_ms"] = np.nan
    assert "p50 needs 5 successes whose time is known" in shown(df)


def test_errors_are_counted_by_kind_the_most_frequent_first_with_their_interval() -> None:
    text = " ".join(mimebundle(run())["text/plain"].split())
    assert "Errors 2, 2.9 % (95 % interval 0.8 % to 9.8 %): server_error 1, timeout 1" in text
    kinds: dict[int, Kind] = {0: "dns", 1: "timeout", 2: "timeout", 3: "connect", 4: "connect", 5: "timeout"}
    assert ": timeout 3, connect 2, dns 1 Rate" in said(frame([1.0] * 60, errors=kinds))


def test_a_run_tells_its_jitter_and_when_it_began() -> None:
    text = shown(frame([1.0, 3.0] * 5))
    assert re.search(r"Jitter +2.00 ms from ping to ping, mean\n", text)
    assert re.search(r"Began +2023-11-14 22:13:20 UTC\n", text)


def test_a_filtered_table_is_not_compared_with_the_plan() -> None:
    df = frame([5.0 if seq % 12 else 50.0 for seq in range(300)], every_ms=200.0)
    whole = shown(df, plan=[{**ATTRS["plan"][0], "count": 300, "rate_hz": 5.0}])
    assert re.search(r"Pings +300 of 300 planned\n(.*\n)+? +Rate +5.00/s, 5.00/s planned\n", whole)
    slow = shown(df[df["duration_ms"] > 20])
    missing = "Between these rows 264 pings of the run are missing, as in a table that was filtered."
    assert missing in " ".join(slow.split())
    assert re.search(r"Pings +25\n", slow)
    assert re.search(r"Rate +0.417/s\n", slow)


def test_the_rate_of_a_line_that_took_turns_is_that_within_its_blocks() -> None:
    df = experiment(rounds=10, pings=10)
    text = shown(df)
    assert re.findall(r"Rate +(.*)\n", text) == ["10.0/s within its blocks, 10.0/s planned"] * 2
    # Behind the plan by as much again with each ping.
    df["started_ms"] *= 2
    df["lag_ms"] = df["started_ms"] - df["scheduled_ms"]
    assert "a: The planned rate was not reached: 5.00/s of 10.0/s within its blocks." in said(df)
    # A block of one ping has no rate.
    alone = experiment(rounds=20, pings=1)
    assert re.search(r"Rate +\d.\d\d/s, 10.0/s planned\n", shown(alone))


def test_pings_that_were_in_flight_at_the_end_are_no_missing_rows() -> None:
    df = frame([5.0] * 20)
    describe(
        df,
        {
            **ATTRS,
            "in_flight": [{"label": "ping", "waited_ms": 3.0}] * 2,
            "plan": [{**ATTRS["plan"][0], "count": 30, "concurrency": 2}],
        },
    )
    text = shown(df.drop(index=[15, 17]))
    assert "18 of 30 planned" in text
    assert "missing" not in text


def test_rows_of_another_label_are_not_missing() -> None:
    df = frame([5.0] * 40).assign(label=["a"] * 10 + ["b"] * 10 + ["a"] * 10 + ["b"] * 10)
    text = shown(df, plan=[{**ATTRS["plan"][0], "label": name, "count": 20} for name in "ab"])
    assert text.count("20 of 20 planned") == 2
    assert "missing" not in text


def test_runs_joined_under_one_label_are_on_one_axis_and_it_says_so() -> None:
    first, second = frame([5.0] * 100), frame([5.0] * 100)
    describe(second, ATTRS, run="20261125T120000.000Z-0a1b2c")
    second["timestamp"] += pd.Timedelta(days=1)
    text = shown(pd.concat([first, second]))
    assert "2 runs are joined here under one label." in " ".join(text.split())
    assert re.search(r"0–5.00 ms +█ +█\n +0 s +24 h\n", text)
    assert re.search(r"Pings +200\n(.*\n)+? +Rate +10.0/s\n", text)
    assert "joined" not in shown(pd.concat([first, second.assign(label="b")]))


def test_where_a_table_lost_its_attributes_it_says_that_they_are_not_known() -> None:
    first, second = frame([1.0] * 10, label="a"), frame([1.0] * 10, label="b")
    # A run that no other test has loaded from a journal: the process would remember it.
    for df, skipped in ((first, 0), (second, 1)):
        describe(df, {**ATTRS, "skipped": skipped}, run="20261126T120000.000Z-0a1b2c")
    lost = "Where this was measured is not in the table"
    assert lost in shown(pd.concat([first, second]))
    assert lost not in shown(first)


def test_a_journal_with_runs_in_several_places_names_them() -> None:
    df = frame([1.0] * 10)
    places = {"127.0.0.1:8080": True, "api.example": False}
    plans = [{**ATTRS["plan"][0], "host": host, "sandbox": sandbox} for host, sandbox in places.items()]
    text = shown(df, plan=plans, sandbox=False, host="api.example")
    assert text.startswith("✓ Pings: 10 pings, no errors [partly sandbox] [staging]")
    assert re.search(r"Address +127.0.0.1:8080, api.example\n", text)
    assert "[sandbox]" in shown(df, plan=plans[:1], sandbox=False)


def test_the_interval_of_the_p50_and_what_would_narrow_it_are_shares_of_it() -> None:
    text = said(frame(list(np.random.default_rng(1).lognormal(3.0, 0.5, 300))))
    assert "Interval of p50 ±6.1 % (95 %); about 500 pings would give ±5 % " in text
    # To name a share that is hardly less would read as if nothing were gained.
    text = said(frame(list(np.random.default_rng(1).lognormal(3.0, 0.44, 300))))
    assert "Interval of p50 ±5.4 % (95 %); about 2200 pings would give ±2 % " in text


def test_a_planned_duration_is_in_a_unit_that_fits() -> None:
    assert "9 in 8 h" in said(frame([1.0] * 9), plan=[{**ATTRS["plan"][0], "count": None, "duration_s": 28_800.0}])


def limit(df: pd.DataFrame, **plan: object) -> str:
    client = {**CLIENT, "notices": ["client_saturated"]}
    text = said(df, plan=[{**ATTRS["plan"][0], **plan}], client=[client])
    found = re.search(r"per ping \(median\), outside the measured time(.*?) Connections", text)
    assert found is not None
    return found[1]


def test_the_client_is_the_limit_of_a_rate_only_where_that_was_not_reached() -> None:
    df = frame([1.0] * 60)
    assert limit(df, rate_hz=10.0) == "; 90% of a core"
    assert limit(df, rate_hz=None) == ", and so the limit of the rate"
    assert limit(df.assign(lag_ms=df["seq"] * 100.0), rate_hz=20.0) == ", and so the limit of the rate"
    assert limit(df[df["seq"] % 2 == 0], rate_hz=10.0) == "; 90% of a core"


@pytest.mark.parametrize(
    ("wakes", "late"), [(58, "some pings began over 2.00 ms late"), (59, "pings began up to 5.00 ms late (p95)")]
)
def test_how_late_the_machine_woke_is_a_percentile_only_of_enough_wakes(wakes: int, late: str) -> None:
    df = frame([1.0] * 60)
    client = {**CLIENT, "notices": ["machine_busy"], "wakes": wakes}
    assert f"affected the timings: {late}." in said(df, client=[client])


def test_all_that_failed_is_bad_and_says_how_many() -> None:
    text = shown(frame([1.0] * 3, errors=dict.fromkeys(range(3), "server_error")))
    assert text.startswith("✗ Pings: 3 pings, 3 errors")
    assert "3 of 3  failed" in text
    assert "Duration over time, × errors" in text
    assert re.search("×  +×  +×", text)


@pytest.mark.parametrize(
    ("n", "failed", "count", "state"),
    [
        (5, 5, 5, "all 5 planned pings failed"),
        (1, 1, 1, "the planned ping failed"),
        (5, 1, 5, "5 pings, 1 error, all that were planned"),
        (5, 5, 6, "ended early by connect: 5 pings, 5 errors"),
        (5, 5, None, "ended early by connect: 5 pings, 5 errors"),
    ],
)
def test_a_series_that_its_last_planned_ping_ended_was_not_cut(
    n: int, failed: int, count: int | None, state: str
) -> None:
    df = frame([1.0] * n, errors=dict.fromkeys(range(n - failed, n), "connect"))
    text = shown(df, ended="connect", plan=[{**ATTRS["plan"][0], "count": count}])
    assert text.startswith(f"✗ Pings: {state} [sandbox]")


def test_a_maximum_that_had_to_connect_says_so() -> None:
    df = frame([9.0] + [1.0] * 9)
    df["reused"] = df["seq"] > 0
    assert "9.00 ms  max, on a new connection" in shown(df)
    df["reused"] = False
    assert "on a new connection" not in shown(df)


def test_a_long_label_cuts_neither_how_a_run_ended_nor_where_it_was() -> None:
    df = frame([1.0] * 5, label="ping -n 100 --cold --http 2 --timeout 5s --env staging -r 10000x", errors={4: "dns"})
    assert shown(frame([1.0], label="monitor")).startswith("✓ Pings: monitor: 1 ping")
    head = said(df, ended="dns", plan=[{**ATTRS["plan"][0], "count": 9}])
    assert head.startswith(f"✗ Pings: {df['label'][0]}: ended early by dns: 5 pings, 1 error [sandbox] [staging] ")


def test_a_label_from_right_to_left_does_not_move_the_count_beside_it() -> None:
    html = mimebundle(RunCard(frame([1.0] * 5, label="שלום")))["text/html"]
    assert "<strong>✓ <bdi>שלום</bdi>: 5 pings, no errors</strong>" in html


def test_what_to_know_of_each_label_is_said_in_sight_of_the_comparison() -> None:
    plans = [{**ATTRS["plan"][0], "label": label} for label in ("a", "b")]
    a, b = (frame([1.0] * 20, label=label, every_ms=200.0) for label in ("a", "b"))
    a["lag_ms"] = a["seq"] * 100.0
    b[["started_ms", "scheduled_ms"]] += 10_000.0
    df = pd.concat([a, b], ignore_index=True)
    text = shown(df, plan=plans)
    before = " ".join(text.split("More about")[0].split())
    assert "a: The planned rate was not reached: 5.00/s of 10.0/s." in before
    assert "b: The planned" not in before
    assert "The labels ran one after the other" in before
    b[["started_ms", "scheduled_ms"]] -= 9_000.0
    interleaved = pd.concat([a, b], ignore_index=True)
    assert "one after the other" not in shown(interleaved)


def late_labels(*labels: str) -> str:
    """Return the card of labels whose pings began ever later, each a little later than those of the one before."""
    parts = [frame([30.0] * 20, label=label, every_ms=200.0) for label in labels]
    for at, part in enumerate(parts):
        part["lag_ms"] = part["seq"] * (100.0 + 2 * at)
        part["corrected_ms"] = part["duration_ms"] + part["lag_ms"]
    plans = [{**ATTRS["plan"][0], "label": label} for label in labels]
    return said(pd.concat(parts, ignore_index=True), plan=plans)


def test_the_corrected_times_of_a_label_are_told_once() -> None:
    two = late_labels("a", "b")
    assert "a: The planned rate was not reached: 5.00/s of 10.0/s. Corrected, what a punctual caller would have" in two
    assert two.count("980 ms") == 1
    assert two.count("999 ms") == 1
    # Of three, the notes have those of the first only.
    three = late_labels("a", "b", "c")
    assert three.count("980 ms") == 1
    assert "p50 corrected 999 ms" in three
    assert three.count("1.02 s") == 1


def test_of_many_labels_each_kind_of_finding_is_told_once_with_its_advice() -> None:
    text = late_labels(*"abcdefg")
    assert text.count("A lower rate (-r)") == 1
    assert (
        "a: The planned rate was not reached: 5.00/s of 10.0/s. Corrected, what a punctual caller would have waited: "
        "p50 980 ms. A lower rate (-r), or more at a time (-c), may reach the planned rate. The same of b, c, d and 3 "
        "more: df.donutwork.diagnose() has their figures." in text
    )


def test_labels_are_compared_to_the_first() -> None:
    text = mimebundle(comparison("x", labels=2))["text/plain"]
    assert re.search(r"x 0 +5.00 ms +– +5.00 ms +5.00 ms +70 +0\n", text)
    assert re.search(r"x 1 +6.00 ms +\+1.00 ms +6.00 ms +6.00 ms +70 +0\n", text)


def test_labels_that_differ_at_their_ends_can_be_told_apart() -> None:
    parts = [frame([5.0] * 60, label=f"ping -n 300 -r 25 --cold --http {version}") for version in ("1.1", "2")]
    text = shown(pd.concat(parts, ignore_index=True))
    assert re.search(r"ping -n 300 … --http 1.1 +5.00 ms .*\n +ping -n 300 …ld --http 2 +5.00 ms", text)


def test_where_the_time_went_stands_side_by_side() -> None:
    cold = frame([10.0] * 60, label="cold").assign(connect_ms=4.0, ttfb_ms=5.0)
    df = pd.concat([cold, frame([5.0] * 60, label="warm")], ignore_index=True)
    text = shown(df)
    assert re.search(r"label +connect +send +first byte +receive +server\n", text)
    assert re.search(r"cold +4.00 ms +500 µs +5.00 ms +500 µs +3.00 ms\n", text)
    assert re.search(r"warm +0 ms +250 µs +4.50 ms +250 µs +1.50 ms\n", text)
    assert "DNS" not in text


@pytest.mark.slow
def test_many_labels_are_cut_and_it_says_so() -> None:
    text = " ".join(mimebundle(comparison(labels=21))["text/plain"].split())
    assert "Durations by label, the first 8 of 21" in text
    assert "the first 20 of 21 labels" in text
    assert "Durations by label\n" in mimebundle(comparison(labels=8))["text/plain"]


def test_each_label_of_an_interleaved_run_has_its_own_plan() -> None:
    plans = [{**ATTRS["plan"][0], "label": label, "count": count} for label, count in (("a", 5), ("b", 6))]
    df = pd.concat([frame([1.0] * 5, label="a"), frame([1.0] * 6, label="b")], ignore_index=True)
    text = shown(df, plan=plans)
    assert "5 of 5 planned" in text
    assert "6 of 6 planned" in text
    only_b = df[df["label"] == "b"]
    assert "6 of 6 planned" in shown(only_b)


@pytest.mark.parametrize("dtype", ["str", "category", "object"])
def test_a_frame_that_lost_its_attrs_and_its_kind_of_text_still_has_a_card(dtype: str) -> None:
    df = pd.concat([frame([1.0] * 5, label="a"), frame([2.0] * 5, label="b")])
    df.attrs.clear()
    df = df.astype({"label": dtype})
    text = shown(df)
    assert text.startswith("✓ Pings: 10 pings, no errors [staging]")


def test_the_accessor_of_a_frame_of_pings_shows_the_card() -> None:
    df = frame([1.0] * 5)
    assert df.donutwork._repr_mimebundle_() == mimebundle(RunCard(df))
    assert repr(df.donutwork) == shown(df)


def test_the_accessor_of_another_frame_says_so_when_it_is_used() -> None:
    df = pd.DataFrame({"a": [1]})
    assert hasattr(df, "donutwork")
    assert df.donutwork._repr_mimebundle_()["text/plain"].startswith("○ Pings: not a table of pings")
    with pytest.raises(ValueError, match="lacks the columns"):
        df.donutwork.summary()


BUSY = {
    "own_p50_ms": 1.0,
    "own_p95_ms": 1.0,
    "wake_p50_ms": 3.0,
    "wake_p95_ms": 3.0,
    "cpu_share": 0.8,
    "wakes": 60,
    "notices": ["client_saturated", "machine_busy"],
}
STOOD_STILL = {"count": 1, "total_s": 1.0, "longest_s": 1.0, "first": [[10.0, 1.0]]}
COMMANDS = {
    "ping": (PING, [Plan(count=90, rate_hz=10.0), Plan(count=90, rate_hz=10.0, concurrency=8)]),
    "watch": (WATCH, [Plan(rate_hz=10.0, endless=True)]),
}
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def late() -> pd.DataFrame:
    """Behind its plan, drifting, with errors and retries."""
    df = frame([20.0 + (seq // 30) * 20.0 for seq in range(100)], every_ms=200.0, errors={5: "timeout"})
    df["lag_ms"] = df["seq"] * 100.0
    df["corrected_ms"] = df["duration_ms"] + df["lag_ms"]
    df["retried"] = df["seq"] % 3 == 0
    return df


def filtered() -> pd.DataFrame:
    df = late()
    return df[~df["seq"].between(40, 49)].copy()


def stalled() -> pd.DataFrame:
    """On its plan in the end, and behind it for a time."""
    df = frame([2.0] * 400, every_ms=100.0)
    stall = df["seq"].between(100, 180)
    df.loc[stall, "lag_ms"] = 1000.0 - (df["seq"] - 100) * 12
    df["corrected_ms"] = df["duration_ms"] + df["lag_ms"]
    return df


def advised(plan: Plan) -> set[str]:
    """Everything that looks like an option in the cards of a plan whose every note is due."""
    found: set[str] = set()
    for df in (late(), filtered(), stalled()):
        for client, pauses in (({}, {}), (BUSY, STOOD_STILL)):
            described = {"plan": [asdict(plan)], "client": [client], "machine_pauses": pauses, "skipped": 7}
            describe(df, {**ATTRS, **described})
            found |= set(OPTION.findall(said(df)))
    return found


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.slow
def test_each_option_that_a_note_names_is_one_of_the_command(command: str) -> None:
    spec, plans = COMMANDS[command]
    found = set().union(*map(advised, plans))
    assert found == ({"-r", "-c"} if command == "ping" else {"-r"})
    assert found <= set(spec.spellings)


@pytest.mark.parametrize("spec", [PING, WATCH], ids=lambda spec: str(spec.name))
def test_so_is_each_that_an_error_names(spec: Spec) -> None:
    phases = Phases(0.0, *[float("nan")] * 5)
    exchange = Exchange(0, 0, 1.0, phases, False, False, None, None, None, float("nan"), None)
    target = sandbox_target("http://127.0.0.1:1", "dw_test_Kx81mZq0vTnR57yE", None)
    lines: list[Any] = [advice(Sample(exchange, kind), target, PING_ENDPOINT) for kind in get_args(Kind)]
    lines.append(Plan(count=1, rate_hz=50.0).impolite(loopback=False))
    found = set(OPTION.findall(" ".join(lines)))
    assert {"--timeout", "--allow-load"} <= found <= set(spec.spellings)


def test_more_time_is_advised_as_a_script_writes_it_too() -> None:
    with Server(hang) as server, pytest.raises(DonutworkError) as caught:
        Client(sandbox_target(server.url, "dw_test_Kx81mZq0vTnR57yE", None), timeout_s=0.2).ping()
    assert "(--timeout; in Python: timeout_s)" in str(caught.value)


def test_pings_that_failed_in_a_pause_of_this_machine_are_told_with_it() -> None:
    df = frame([2.0] * 20 + [3000.0] * 3 + [2.0] * 37, errors=dict.fromkeys(range(20, 23), "timeout"))
    pauses = {"count": 1, "total_s": 2.9, "longest_s": 2.9, "first": [[2.21, 2.7]]}
    text = said(df, plan=[{**ATTRS["plan"][0], "concurrency": 3}], machine_pauses=pauses)
    assert "3 durations contain such a pause. 3 of these pings failed, perhaps because of it." in text
    df["error"] = pd.array([pd.NA] * len(df), dtype="string")
    assert "perhaps because of it" not in said(df)
