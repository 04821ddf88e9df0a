"""Given pings in flight as a run ends, they become rows; where a stop or an interrupt waits for none, it is said."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import Any

import pytest

from donutwork_magics import Interrupted, SeriesError, collect, diagnose, load, probers
from donutwork_magics.analysis.counted import attributes
from donutwork_magics.analysis.expectations import judge
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.series import Series
from donutwork_magics.watch import Watch
from tests.servers import Handler, Server, answer, answer_then_hang, read_request, reply
from tests.support.processes import until
from tests.support.recordings import running, table, target_of
from tests.support.tables import about

pytestmark = pytest.mark.slow


def numbered(served: Counter[str], respond: Callable[[int], bytes]) -> Handler:
    """Answer each request of a server by its number, from 0 on, and count it."""
    lock = threading.Lock()

    def handler(connection: socket) -> None:
        while read_request(connection):
            with lock:
                number, served["requests"] = served["requests"], served["requests"] + 1
            connection.sendall(respond(number))

    return handler


def slow_at(number: int, slow: int, raw: bytes = reply(), *, after_s: float = 1.0) -> bytes:
    if number == slow:
        time.sleep(after_s)
    return raw


def test_an_interval_that_is_narrow_cuts_no_slow_ping_off() -> None:
    served: Counter[str] = Counter()
    with Server(numbered(served, lambda number: slow_at(number, 20, after_s=4.0))) as server:
        df = collect(5000, rate_hz=100, concurrency=2, until=0.5, target=target_of(server))
    assert about(df)["ended"] == "narrow"
    assert len(df) == served["requests"] < 5000
    assert df["duration_ms"].max() > 3900
    assert about(df)["in_flight"] == []


def test_a_ping_that_is_refused_ends_a_series_and_not_the_pings_beside_it() -> None:
    def respond(number: int) -> bytes:
        return reply(b"", "401 Unauthorized") if number == 10 else slow_at(number, 9)

    served: Counter[str] = Counter()
    with Server(numbered(served, respond)) as server, pytest.raises(SeriesError) as refused:
        collect(5000, rate_hz=100, concurrency=2, target=target_of(server))
    df = refused.value.df
    assert df is not None
    assert (len(df), about(df)["in_flight"]) == (served["requests"], [])
    assert df["error"].dropna().tolist() == ["unauthorized"]
    assert df["duration_ms"].max() > 900


def test_an_interrupt_of_that_wait_says_why_the_series_had_ended_already() -> None:
    def respond(number: int) -> bytes:
        return reply(b"", "401 Unauthorized") if number == 10 else slow_at(number, 9, after_s=20.0)

    def interrupt() -> None:
        until(lambda: any(run.waiting_s for _prober, run in probers.runs()))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with Server(numbered(Counter(), respond)) as server, pytest.raises(Interrupted) as interrupted:
        collect(5000, rate_hz=100, concurrency=2, target=target_of(server))
    df = interrupted.value.df
    assert df is not None
    assert (about(df)["ended"], len(about(df)["in_flight"])) == ("unauthorized", 1)
    assert re.match(r"\d+ rows are kept in the df of this error\. Invalid token: ", str(interrupted.value))


def test_a_rest_beyond_the_end_of_a_series_cuts_no_ping_off() -> None:
    def respond(number: int) -> bytes:
        return reply(b"", "429 Too Many Requests", "Retry-After: 5") if number == 10 else slow_at(number, 9)

    served: Counter[str] = Counter()
    with Server(numbered(served, respond)) as server:
        df = collect(duration_s=2.0, rate_hz=100, concurrency=2, target=target_of(server))
    assert (len(df), about(df)["in_flight"]) == (served["requests"], [])
    assert df["duration_ms"].max() > 900


class TestHang:
    """The server answers 100 pings, and then no more; the ping in flight is not waited for."""

    def test_how_long_it_had_lasted_at_a_stop_is_a_finding(self) -> None:
        with Server(answer_then_hang(reply(), 100)) as server:
            watch = Watch(Series(Plan(rate_hz=100, endless=True), target_of(server)), keep=1000)
            watch.start()
            until(lambda: watch.waiting_s > 1.0)
            assert re.search(r"100 pings, 0 errors, no reply for [12]", repr(watch))
            watch.stop()
        df = watch.df
        (lasted,) = about(df)["in_flight"]
        assert lasted["label"] == "ping"
        assert lasted["waited_ms"] > 1000
        (finding,) = [each for each in diagnose(df) if each.name == "no reply at the end"]
        assert re.match(r"As the run ended, a ping in flight had waited [12]\.\d\d s for a reply", finding.text)
        card = " ".join(repr(df.donutwork).split())
        assert card.startswith("⚠ Pings: 100 pings, no errors")
        assert "1 ping in flight at the end, after" in card
        assert watch.waiting_s == 0.0

    def test_starts_without_a_row_are_counted_too(self, tmp_path: Path) -> None:
        file = tmp_path / "w.jsonl"
        served: Counter[str] = Counter()
        with Server(
            numbered(served, lambda number: slow_at(number, number if number > 4 else -1, after_s=20))
        ) as server:
            watch = Watch(Series(Plan(rate_hz=100, endless=True), target_of(server), journal=file), keep=1000)
            for requests in (6, 7, 8):
                watch.start()
                until(lambda requests=requests: served["requests"] == requests)  # type: ignore[misc]
                watch.pause()
                until(lambda: watch.part_s == 0)
            watch.stop()
        for df in (watch.df, load(file)):
            assert (len(df), len(attributes(df)["in_flight"])) == (5, 3)
            assert len(df.attrs["donutwork"]["runs"]) == 3

    def test_a_limit_is_not_judged_without_it(self) -> None:
        def interrupt() -> None:
            until(lambda: any(run.waiting_s for _prober, run in probers.runs()))
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with Server(answer_then_hang(reply(), 100)) as server, pytest.raises(Interrupted) as interrupted:
            collect(500, rate_hz=100, target=target_of(server))
        df = interrupted.value.df
        assert df is not None
        for text, outcome in {"max<900ms": "fails", "max<1m": "undecided"}.items():
            judged = judge(text, df)
            assert (judged.outcome, judged.n, judged.in_flight) == (outcome, 101, 1)
        assert "1 of 101 had no reply as the run ended" in str(judge("max<900ms", df))
        assert judge("ttfb_ms.max<900ms", df).outcome == "holds"

    def test_its_journal_tells_it_too(self, tmp_path: Path) -> None:
        file = tmp_path / "j.jsonl"
        with Server(answer_then_hang(reply(), 5)) as server:
            series = Series(Plan(rate_hz=100, endless=True), target_of(server), journal=file)
            with running(series) as run:
                until(lambda: run.waiting_s > 0)
        assert about(load(file))["in_flight"] == about(table(run))["in_flight"]


def test_an_interrupt_between_pings_is_no_finding() -> None:
    with Server(answer(reply())) as server, running(Series(Plan(rate_hz=200, endless=True), target_of(server))) as run:
        until(lambda: run.done > 50)
    assert not [each for each in diagnose(table(run)) if each.name == "no reply at the end"]


class TestOverdue:
    """Starts that were due as a run ended, and not made: a punctual caller would have been waiting since."""

    def test_a_hang_at_the_end_of_a_series_is_in_its_corrected_times(self, tmp_path: Path) -> None:
        file = tmp_path / "j.jsonl"
        with Server(numbered(Counter(), lambda number: slow_at(number, 200, after_s=1.5))) as server:
            df = collect(duration_s=3.0, rate_hz=100, timeout_s=1.4, target=target_of(server), journal=file)
        for each in (df, load(file)):
            (overdue,) = about(each)["overdue"]
            assert len(each) + overdue["starts"] == 300
            assert 900 < overdue["waited_ms"] < 1600
            (finding,) = [found for found in diagnose(each) if found.name == "starts not made"]
            assert finding.text.startswith(
                f"As the run ended, {overdue['starts']} planned starts were due and not made."
            )
            assert judge("corrected_ms.p95<50ms", each).outcome != "holds"
            assert "planned starts, due as the run ended" in " ".join(repr(each.donutwork).split())

    def test_they_are_told_also_where_the_rows_alone_are_too_few_for_a_percentile(self) -> None:
        with Server(numbered(Counter(), lambda number: slow_at(number, 40, after_s=1.5))) as server:
            df = collect(duration_s=2.0, rate_hz=40, timeout_s=1.4, target=target_of(server))
        assert len(df) < 59
        (finding,) = [found for found in diagnose(df) if found.name == "starts not made"]
        assert re.search(r"p95 \d\.\d+ s|p95 \d{3} ms", finding.text)

    @pytest.mark.parametrize("plan", [{"count": 50}, {"duration_s": 0.5}, {"duration_s": 0.5, "concurrency": 3}])
    def test_a_series_that_came_to_its_end_has_none(self, plan: dict[str, Any]) -> None:
        with Server(answer(reply())) as server:
            df = collect(rate_hz=100, target=target_of(server), **plan)
        assert (len(df), about(df)["overdue"]) == (50, [])

    def test_those_that_a_rest_has_held_back_are_none(self) -> None:
        def respond(number: int) -> bytes:
            return reply(b"", "429 Too Many Requests", "Retry-After: 9") if number == 20 else reply()

        with Server(numbered(Counter(), respond)) as server:
            df = collect(duration_s=1.0, rate_hz=100, target=target_of(server))
        assert (len(df), about(df)["overdue"]) == (21, [])
