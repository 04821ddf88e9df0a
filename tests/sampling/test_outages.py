"""Given failures in a row, the outages are those, and the series ends or goes on."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest

from donutwork_magics import SeriesError, collect, load
from donutwork_magics.client.replies import retry_after_s
from donutwork_magics.client.results import Sample
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.errors import KINDS, Kind
from donutwork_magics.measure import measure
from donutwork_magics.network.exchange import Exchange, Phases
from donutwork_magics.sampling.outages import (
    DOWN,
    HOPELESS_IN_A_ROW,
    LONGEST_PAUSE_S,
    MOST_OUTAGES,
    Outages,
    Pinged,
    StopRules,
    is_throttled,
)
from donutwork_magics.sampling.plan import Plan, interleaved
from donutwork_magics.sampling.series import Series
from donutwork_magics.types import ENVS, Http
from donutwork_magics.watch import Watch
from tests.faults.calls import target_of
from tests.servers import Server, answer, closed_port, hang, read_request, reply
from tests.servers.tls import Tls
from tests.support.recordings import KEY
from tests.support.tables import about

pytestmark = pytest.mark.slow

WALL_NS = 1_700_000_000_000_000_000
PATIENCE_S = 30.0


def ping(seq: int, error: str | None, *, at_s: float | None = None, place: str = "", took_s: float = 0.1) -> Pinged:
    at_s = float(seq) if at_s is None else at_s
    return Pinged(seq, place, WALL_NS + int(at_s * 1e9), at_s * 1e3, took_s * 1e3, error)


def found(pings: Sequence[Pinged]) -> dict[str, Any]:
    outages = Outages()
    for each in pings:
        outages.add(each)
    outages.finish()
    return outages.as_attrs()


def of(*errors: str | None) -> dict[str, Any]:
    return found([ping(seq, error) for seq, error in enumerate(errors)])


class TestPings:
    def test_three_in_a_row_are_one_and_it_ends_where_the_first_that_was_answered_began(self) -> None:
        assert of(None, "connect", "connect", "timeout", "connect", None) == {
            "count": 1,
            "total_s": 4.0,
            "first": [
                {
                    "began_s": WALL_NS / 1e9 + 1,
                    "at_s": 1.0,
                    "length_s": 4.0,
                    "over": True,
                    "kinds": ["connect", "timeout"],
                    "pings": 4,
                    "place": "",
                }
            ],
        }

    def test_two_in_a_row_are_none(self) -> None:
        assert of("connect", "connect", None, "connect", "connect", None) == {"count": 0, "total_s": 0.0, "first": []}

    @pytest.mark.parametrize("kind", [*KINDS, None])
    def test_any_reply_but_a_server_error_shows_that_the_service_is_up(self, kind: str | None) -> None:
        down = kind in {"dns", "connect", "tls", "timeout", "connection_lost", "protocol", "server_error"}
        assert of("connect", "connect", kind)["count"] == down
        assert of("connect", "connect", "connect", kind)["first"][0]["over"] != down
        assert (kind in DOWN) == down

    def test_one_without_an_end_is_as_long_as_its_pings(self) -> None:
        [outage] = of(None, "dns", "dns", "dns")["first"]
        assert (outage["over"], outage["length_s"]) == (False, pytest.approx(2.1))

    def test_it_is_current_while_it_lasts(self) -> None:
        outages = Outages()
        seen = []
        for seq, error in enumerate(["connect", "connect", "connect", "connect", None]):
            outages.add(ping(seq, error))
            seen.append(None if outages.current is None else outages.current.pings)
        assert seen == [None, None, 3, 4, None]

    def test_in_a_row_is_by_their_starts_and_not_by_their_ends(self) -> None:
        row = [ping(seq, "timeout" if seq < 4 else None, took_s=10 if seq < 4 else 0.1) for seq in range(8)]
        completed = [row[at] for at in (0, 4, 1, 5, 2, 6, 7, 3)]
        assert found(completed) == found(row)
        assert found(row)["first"][0]["pings"] == 4

    def test_pings_that_were_given_up_are_waited_for_until_the_end(self) -> None:
        pings = [ping(seq, "timeout") for seq in range(6) if seq != 2]
        outages = Outages()
        for each in pings:
            outages.add(each)
        assert outages.as_attrs()["count"] == 0
        outages.finish()
        assert [outage["pings"] for outage in outages.as_attrs()["first"]] == [5]

    def test_of_many_the_first_are_kept_and_all_counted(self) -> None:
        pings = [ping(seq, None if seq % 5 == 4 else "connect") for seq in range(5 * 1000)]
        attrs = found(pings)
        assert (attrs["count"], attrs["total_s"]) == (1000, 4000.0)
        assert [outage["at_s"] for outage in attrs["first"]] == [5.0 * at for at in range(MOST_OUTAGES)]

    def test_a_line_that_is_missing_keeps_no_more_than_some_waiting(self) -> None:
        outages = Outages()
        for seq in range(1, 200_000):
            outages.add(ping(seq, None))
        assert len(outages._waiting) <= 50_001

    def test_each_is_of_one_service(self) -> None:
        pings = [ping(seq, "connect", place="staging" if seq < 2 else "production") for seq in range(4)]
        assert found(pings)["count"] == 0

    def test_it_goes_on_while_another_service_has_its_turn(self) -> None:
        """In a cell the lines take turns: what is known of one service says nothing of the other."""
        pings = [
            ping(
                seq,
                "server_error" if seq % 4 < 2 and 4 <= seq < 12 else None,
                place=("staging", "production")[seq % 4 > 1],
            )
            for seq in range(16)
        ]
        [outage] = found(pings)["first"]
        assert (outage["place"], outage["at_s"], outage["length_s"]) == ("staging", 4.0, 8.0)
        assert (outage["over"], outage["pings"]) == (True, 4)

    def test_that_of_a_line_whose_turn_does_not_come_again_is_not_over(self) -> None:
        [outage] = found([ping(seq, "connect" if seq < 5 else None, place=("a", "b")[seq > 4]) for seq in range(10)])[
            "first"
        ]
        assert (outage["over"], outage["length_s"], outage["pings"]) == (False, pytest.approx(4.1), 5)

    def test_both_services_may_be_down_at_a_time_and_the_longer_one_is_current(self) -> None:
        outages = Outages()
        for seq in range(12):
            # The one fails from its second ping on, and the other has been down since its first.
            outages.add(ping(seq, None if seq == 0 else "timeout", place=("late", "early")[seq % 2]))
        assert outages.current is not None
        assert (outages.current.place, outages.current.pings) == ("early", 6)
        outages.add(ping(12, "timeout", place="late"))
        outages.add(ping(13, None, place="early"))
        assert outages.current is not None
        assert outages.current.place == "late"
        outages.finish()
        assert [(each["place"], each["at_s"], each["over"]) for each in outages.as_attrs()["first"]] == [
            ("early", 1.0, True),
            ("late", 2.0, False),
        ]
        assert outages.as_attrs()["count"] == 2

    def test_long_turns_of_another_service_do_not_end_it(self) -> None:
        pings = [ping(seq, ("connect", None)[seq // 200 % 2], place=("a", "b")[seq // 200 % 2]) for seq in range(1000)]
        [outage] = found(pings)["first"]
        assert (outage["place"], outage["pings"], outage["length_s"]) == ("a", 600, pytest.approx(999.1))

    def test_a_slow_line_beside_a_fast_one_is_no_such_wait(self) -> None:
        at_s = 0.0
        pings: list[Pinged] = []
        for turn in range(4):
            for _ in range(5):
                at_s += (600.0, 0.2)[turn % 2]
                pings.append(ping(len(pings), "connect", at_s=at_s, place=("slow", "fast")[turn % 2]))
        assert [outage["pings"] for outage in found(pings)["first"]] == [10, 10]

    def test_no_ping_for_long_ends_those_of_all_services(self) -> None:
        pings = [ping(seq, "connect", place=("a", "b")[seq % 2]) for seq in range(10)]
        pings += [ping(10, None, at_s=30_000.0, place="b"), ping(11, None, at_s=30_001.0, place="a")]
        assert [(each["over"], each["pings"]) for each in found(pings)["first"]] == [(False, 5), (False, 5)]

    def test_no_ping_for_long_ends_it_where_it_was_last_seen(self) -> None:
        """A watch that is paused while the service is down, or a laptop that is closed."""
        pings = [ping(seq, "connect") for seq in range(5)] + [ping(5, None, at_s=30_000.0)]
        [outage] = found(pings)["first"]
        assert (outage["over"], outage["length_s"]) == (False, pytest.approx(4.1))

    @pytest.mark.parametrize(("wait_s", "pings"), [(20.0, 5), (200.0, 1)])
    def test_that_of_the_run_before_goes_on_unless_the_wait_was_long(self, wait_s: float, pings: int) -> None:
        before = Outages()
        for seq in range(4):
            before.add(ping(seq, "connect", at_s=50.0 + seq))
        outages = Outages(before.current)
        # It is current, so that the watch tries once a second from its first ping on, and it is counted with that.
        assert outages.current == before.current
        assert outages.as_attrs()["count"] == 0
        at_s = 53.0 + wait_s
        outages.add(ping(0, "timeout", at_s=at_s)._replace(started_ms=0.0))
        current = outages.current
        assert (current.pings if current else 1) == pings
        outages.add(ping(1, None, at_s=at_s + 1)._replace(started_ms=1000.0))
        found = outages.as_attrs()["first"]
        assert [(each["began_s"], each["over"], each["kinds"]) for each in found] == (
            [(WALL_NS / 1e9 + 50, True, ["connect", "timeout"])] if current else []
        )
        assert [(each["at_s"], each["length_s"]) for each in found] == [
            pytest.approx((-3.0 - wait_s, 4.0 + wait_s), abs=1e-5) for _ in found
        ]

    def test_a_slow_plan_is_no_such_wait(self) -> None:
        pings = [ping(seq, "connect" if seq < 4 else None, at_s=600.0 * seq) for seq in range(6)]
        [outage] = found(pings)["first"]
        assert (outage["over"], outage["length_s"]) == (True, 2400.0)


@contextmanager
def away(port: int, down_s: Sequence[tuple[float, float]]) -> Iterator[str]:
    """Serve, but not in some spans of seconds after the first connection: a prober has to start before it."""
    done, up = threading.Event(), threading.Event()

    def serve() -> None:
        began_s = 0.0
        for stop_s, start_s in down_s:
            with Server(answer(reply()), port=port) as server:
                up.set()
                while not began_s and not done.wait(0.01):
                    began_s = time.monotonic() if server.connections else 0.0
                done.wait(began_s + stop_s - time.monotonic())
            done.wait(began_s + start_s - time.monotonic())
        with Server(answer(reply()), port=port):
            done.wait()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert up.wait(PATIENCE_S)
        yield f"http://127.0.0.1:{port}"
    finally:
        done.set()
        thread.join()


def free_port() -> int:
    with closed_port() as port:
        return port


def failed_rows(df: pd.DataFrame) -> pd.DataFrame:
    return df[df["error"].isin(list(DOWN))]


class TestRun:
    def test_a_series_goes_on_through_one_and_names_it(self, tmp_path: Path) -> None:
        file = tmp_path / "j.jsonl"
        with away(free_port(), [(0.6, 1.6)]) as url:
            df = collect(75, rate_hz=30, target=sandbox_target(url, KEY, None), journal=file)
        assert len(df) == 75
        failed = failed_rows(df)
        assert 5 < len(failed) < 60
        attrs = about(df)
        [outage] = attrs["outages"]["first"]
        first, after = failed.iloc[0], df.loc[failed.index[-1] + 1]
        assert outage["at_s"] == pytest.approx(first["started_ms"] / 1e3)
        assert outage["began_s"] == pytest.approx(first["timestamp"].timestamp(), abs=1e-3)
        assert outage["length_s"] == pytest.approx((after["started_ms"] - first["started_ms"]) / 1e3)
        assert outage["kinds"][0] == first["error"]
        assert outage["pings"] == len(failed)
        # The plan of a series is the user's: it has all its pings.
        assert (attrs["skipped"], attrs["ended"]) == (0, None)
        assert load(file).attrs == df.attrs

    def test_an_address_that_was_never_reached_still_ends_it(self) -> None:
        with closed_port() as port, pytest.raises(SeriesError) as caught:
            collect(75, rate_hz=50, target=sandbox_target(f"http://127.0.0.1:{port}", KEY, None))
        assert len(caught.value.df) == 5
        [outage] = about(caught.value.df)["outages"]["first"]
        assert (outage["over"], outage["pings"]) == (False, 5)

    def test_a_journal_without_an_end_tells_them_too(self, tmp_path: Path) -> None:
        file = tmp_path / "j.jsonl"
        with away(free_port(), [(0.4, 0.8), (1.2, 1.6)]) as url:
            target = sandbox_target(url, KEY, None)
            df = collect(60, rate_hz=30, concurrency=3, warmup=20, target=target, journal=file)
            both = collect(5, rate_hz=30, target=target, journal=file)
        assert about(df)["outages"]["count"] == 2
        whole = file.read_bytes().splitlines(keepends=True)
        begins = [at for at, line in enumerate(whole) if line.startswith(b'{"donutwork_journal"')]
        killed = tmp_path / "killed.jsonl"
        killed.write_bytes(b"".join(whole[: begins[1] - 1]))
        assert about(load(killed))["ended"] == "unfinished"
        assert about(load(killed))["outages"] == about(df)["outages"]
        joined = about(load(file))["outages"]
        assert (joined["count"], joined["first"]) == (2, about(df)["outages"]["first"])
        assert about(both)["outages"]["count"] == 0

    def test_lines_of_two_services_are_not_added_up(self) -> None:
        with Server(hang) as one, Server(hang) as other:
            lines = [
                Series(Plan(count=2, rate_hz=50, label=label), sandbox_target(server.url, KEY, None), timeout_s=0.2)
                for label, server in (("one", one), ("other", other))
            ]
            df = measure(lines, keep=lambda _df: "nowhere")
        assert df["error"].tolist() == ["timeout"] * 4
        assert about(df)["outages"]["count"] == 0

    def test_two_environments_with_one_host_and_key_are_one_service(self) -> None:
        with Server(answer(reply(b"{}", "500 X"))) as server:
            lines = [
                Series(Plan(count=10, rate_hz=200, label=str(env)), sandbox_target(server.url, KEY, env))
                for env in (None, *ENVS[:1])
            ]
            segments = interleaved([line.plan for line in lines], blocks=5, seed=1)
            df = measure(lines, keep=lambda _df: "nowhere", segments=segments)
        [outage] = about(df)["outages"]["first"]
        assert (outage["pings"], outage["place"]) == (20, "")

    def test_in_a_cell_that_of_one_environment_is_one(self, tmp_path: Path) -> None:
        """Its lines take turns: between two blocks of one, another service is asked."""
        file = tmp_path / "j.jsonl"
        with Server(answer(reply(b"{}", "500 X"))) as down, Server(answer(reply())) as up:
            lines = [
                Series(Plan(count=20, rate_hz=200, label=label), sandbox_target(url, KEY, None), journal=file)
                for label, url in (("down", down.url), ("up", up.url))
            ]
            segments = interleaved([line.plan for line in lines], blocks=10, seed=1)
            df = measure(lines, keep=lambda _df: "nowhere", segments=segments)
        [outage] = about(df)["outages"]["first"]
        failed = failed_rows(df)
        assert (len(failed), outage["pings"], outage["over"]) == (20, 20, False)
        assert outage["place"] == down.url.removeprefix("http://")
        assert outage["length_s"] == pytest.approx(
            (failed["corrected_ms"] + failed["scheduled_ms"]).max() / 1e3 - outage["at_s"]
        )
        killed = tmp_path / "killed.jsonl"
        killed.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
        assert about(load(killed))["ended"] == "unfinished"
        assert about(load(killed))["outages"] == about(load(file))["outages"] == about(df)["outages"]


def has_rows(watch: Watch, rows: int) -> bool:
    return watch.rows.total >= rows


class TestWatch:
    @staticmethod
    def until(condition: Any) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s
            time.sleep(0.02)

    def test_it_backs_off_during_one_and_goes_on_at_its_rate_after_it(self, tmp_path: Path) -> None:
        port, file = free_port(), tmp_path / "w.jsonl"
        target = sandbox_target(f"http://127.0.0.1:{port}", KEY, None)
        watch = Watch(Series(Plan(rate_hz=20, endless=True), target, journal=file), keep=10)
        with Server(answer(reply()), port=port):
            watch.start()
            self.until(lambda: watch.rows.total > 10)
        self.until(lambda: watch.outage is not None and watch.outage.pings >= 6)
        assert watch.running
        with Server(answer(reply()), port=port):
            self.until(lambda: watch.outage is None)
            total = watch.rows.total
            self.until(lambda: watch.rows.total > total + 20)
            watch.stop()
        # It has dropped the rows of the outage, and still knows it.
        [outage] = about(watch.df)["outages"]["first"]
        df = load(file)
        assert df.attrs == watch.df.attrs
        failed = failed_rows(df)
        assert outage["pings"] == len(failed)
        steps_s = (df["started_ms"] / 1e3).diff()
        # The first three show it; what was on its way as the server ended may have been lost before them.
        backed_off = steps_s.loc[failed.index[3:]]
        assert (backed_off > 0.8).all()
        assert backed_off.median() < 1.5
        assert steps_s.loc[failed.index[-1] + 2 :].median() < 0.2
        assert about(df)["skipped"] >= 19 * (len(failed) - 3) - 20
        # No lag, and nothing but the outage itself, was left out of what a punctual caller waited.
        assert df["lag_ms"].median() < 20

    def test_a_server_that_names_no_time_to_rest_is_tried_once_a_second(self) -> None:
        raws = {"now": reply()}

        def handler(connection: socket.socket) -> None:
            while read_request(connection):
                connection.sendall(raws["now"])

        with Server(handler) as server:
            target = sandbox_target(server.url, KEY, None)
            watch = Watch(Series(Plan(rate_hz=20, endless=True), target), keep=1000)
            watch.start()
            self.until(lambda: watch.rows.total > 3)
            raws["now"] = reply(b"", "503 Service Unavailable")
            self.until(lambda: watch.outage is not None and watch.outage.pings >= 7)
            raws["now"] = reply()
            self.until(lambda: watch.outage is None)
            watch.stop()
        df = watch.df
        steps_s = df["started_ms"].diff()[failed_rows(df).index[3:]] / 1e3
        assert steps_s.between(0.8, 1.5).all()
        assert about(df)["pauses"]["count"] == 0

    def test_started_again_or_changed_it_remembers_that_the_address_is_right(self) -> None:
        port = free_port()
        watch = Watch(
            Series(Plan(rate_hz=50, endless=True), sandbox_target(f"http://127.0.0.1:{port}", KEY, None)), keep=1000
        )
        with Server(answer(reply()), port=port):
            watch.start()
            self.until(lambda: watch.rows.total > 3)
        watch.change(rate_hz=40.0, http="auto")
        self.until(lambda: watch.outage is not None)
        watch.pause()
        self.until(lambda: watch.outage is None)
        watch.start()
        self.until(lambda: watch.outage is not None and watch.outage.pings >= 7)
        assert watch.running
        assert about(watch.df)["outages"]["count"] == 1
        watch.stop()

    def test_started_again_or_changed_during_one_it_knows_it_as_one(self, tmp_path: Path) -> None:
        port, file = free_port(), tmp_path / "w.jsonl"
        target = sandbox_target(f"http://127.0.0.1:{port}", KEY, None)
        watch = Watch(Series(Plan(rate_hz=20, endless=True), target, journal=file), keep=1000)
        with Server(answer(reply()), port=port):
            watch.start()
            self.until(lambda: watch.rows.total > 3)
        self.until(lambda: watch.outage is not None)
        began_s = watch.outage.began_s if watch.outage else 0.0
        for again in (partial(watch.change, rate_hz=10.0, http="auto"), watch.pause):
            enough = watch.rows.total + 4
            again()
            watch.start()
            self.until(partial(has_rows, watch, enough))
            assert watch.outage is not None
            assert watch.outage.began_s == began_s
        with Server(answer(reply()), port=port):
            self.until(lambda: watch.outage is None)
            watch.stop()
        df = watch.df
        assert load(file).attrs == df.attrs
        assert df["run"].nunique() >= 2
        outages = about(df)["outages"]
        [outage] = outages["first"]
        assert (outages["count"], outages["total_s"]) == (1, pytest.approx(outage["length_s"]))
        assert (outage["began_s"], outage["over"], outage["pings"]) == (began_s, True, len(failed_rows(df)))
        # It goes on to try once a second: each run has begun with one try at once.
        steps_s = df.groupby("run")["started_ms"].diff()[failed_rows(df).index[4:]] / 1e3
        assert (steps_s.dropna() > 0.8).all()

    def test_a_wrong_address_ends_it_each_time(self) -> None:
        with closed_port() as port:
            target = sandbox_target(f"http://127.0.0.1:{port}", KEY, None)
            watch = Watch(Series(Plan(rate_hz=50, endless=True), target), keep=1000)
            for total in (5, 10):
                watch.start()
                assert watch.wait(PATIENCE_S)
                assert (watch.state, watch.rows.total) == ("stopped", total)
        assert watch.problem.startswith("The watch ended: No connection to ")


_SENT = Phases(0, 1, 2, 0.1, math.nan, math.nan)
_NOT_SENT = Phases(0, 1, math.nan, math.nan, math.nan, math.nan)


def sample(
    error: Kind | None = None, status_code: int | None = 200, wait_s: float | None = None, phases: Phases = _NOT_SENT
) -> Sample:
    exchange = Exchange(0, 0, 1.0, phases, True, False, "1.1", None, None, math.nan, None)
    return Sample(exchange, error, status_code=status_code, retry_after_s=wait_s)


THROTTLED = [("rate_limited", 429), ("server_error", 503)]


@pytest.mark.parametrize(("error", "status_code"), THROTTLED)
def test_a_longer_wait_than_two_minutes_ends_it(error: Kind, status_code: int) -> None:
    assert not StopRules().must_end(sample(error, status_code, LONGEST_PAUSE_S))
    assert StopRules().must_end(sample(error, status_code, LONGEST_PAUSE_S + 1))
    assert is_throttled(sample(error, status_code, 1.0))


def test_another_failure_is_no_wish_for_rest() -> None:
    others = sample(), sample("server_error", 500), sample("server_error", 503), sample("timeout", None)
    assert not any(map(is_throttled, others))
    assert is_throttled(sample("rate_limited", 429))


@pytest.mark.parametrize("error", ["unauthorized", "forbidden", "env_mismatch"])
def test_a_refusal_ends_it_at_once(error: Kind) -> None:
    assert StopRules().must_end(sample(error, 401))


@pytest.mark.parametrize("error", ["timeout", "connection_lost", "protocol", "schema", "server_error", "not_found"])
def test_other_failures_never_end_it(error: Kind) -> None:
    rules = StopRules()
    assert not any(rules.must_end(sample(error, None, phases=_SENT)) for _ in range(100))


def test_a_version_that_is_not_offered_ends_it_and_is_no_outage(tls: Tls) -> None:
    with Server(answer(reply()), tls=tls.server) as server:
        lines = [
            Series(Plan(count=20, rate_hz=100, label=http), target_of(server.url, tls.ca_pem), http)
            for http in get_args(Http)[1:3]
        ]
        segments = interleaved([line.plan for line in lines], blocks=10, seed=1)
        with pytest.raises(SeriesError, match="the server does not offer this version of HTTP") as caught:
            measure(lines, keep=lambda _df: "nowhere", segments=segments)
    df = caught.value.df
    assert df["error"].dropna().tolist() == ["protocol"] * HOPELESS_IN_A_ROW
    assert set(df["label"]) == {"1.1", "2"}
    assert about(df)["outages"]["count"] == 0


def test_an_address_that_was_never_reached_ends_it_after_five_in_a_row_of_any_such_kind() -> None:
    rules = StopRules()
    kinds: list[Kind] = ["dns", "connect", "tls", "connect", "dns"]
    assert len(kinds) == HOPELESS_IN_A_ROW
    assert [rules.must_end(sample(kind, None)) for kind in kinds] == [False] * 4 + [True]


@pytest.mark.parametrize(
    "reached",
    [
        sample(),
        sample("server_error", 500),
        sample("not_found", 404),
        sample("timeout", None, phases=_SENT),
        sample("connection_lost", None, phases=_SENT),
    ],
    ids=lambda reached: str(reached.error),
)
def test_once_a_request_was_sent_an_outage_never_ends_it(reached: Sample) -> None:
    rules = StopRules()
    assert not any(rules.must_end(sample("connect", None)) for _ in range(4))
    assert not rules.must_end(reached)
    assert not any(rules.must_end(sample("connect", None)) for _ in range(100))
    assert not StopRules(reached=rules.reached).must_end(sample("dns", None))


@pytest.mark.parametrize("error", ["timeout", "connection_lost", "tls"])
def test_a_connection_on_which_nothing_could_be_sent_shows_no_address_to_be_right(error: Kind) -> None:
    rules = StopRules()
    rules.must_end(sample(error, None))
    assert not rules.reached


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("120", 120.0),
        ("9" * 11, 1e10),
        *((text, None) for text in ("inf", "nan", "-3", "1e9", "+1", "1.5", "", "0x10", "\u0663", "1_0", "soon")),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
        ("Mon, 01 Jan 2001 00:00:00 CET", None),
        ("Mon, 99 Jan 2001 00:00:00 GMT", None),
        (None, None),
    ],
)
def test_a_wait_is_whole_seconds_or_a_date(header: str | None, wait_s: float | None) -> None:
    assert retry_after_s(header) == wait_s


def test_a_date_in_the_future_is_so_far_away() -> None:
    found_s = retry_after_s("Fri, 01 Jan 2100 00:00:00 GMT")
    assert found_s is not None
    assert found_s > 86_400
