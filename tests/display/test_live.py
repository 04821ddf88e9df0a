"""While a series runs: a line that is written over in a terminal, a widget that becomes the card in a kernel."""

from __future__ import annotations

import contextlib
import io
import math
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

from donutwork_magics.client.results import Sample
from donutwork_magics.display.live import LiveView, ProgressLine, Readout, live_view, takes_widgets
from donutwork_magics.network.exchange import Exchange, Phases
from donutwork_magics.sampling.outages import Outage, Outages, Pinged
from donutwork_magics.sampling.plan import Course, Plan, one_after_the_other
from donutwork_magics.sampling.rows import Rows, row_of
from donutwork_magics.sampling.schedule import Slot
from donutwork_magics.units import width
from tests.display.values import run

VIEW = "application/vnd.jupyter.widget-view+json"


class Screen(io.StringIO):
    """A terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def course(*plans: Plan) -> Course:
    """Plan to carry out series one after the other."""
    return Course(plans, tuple(one_after_the_other(plans)))


class Series:
    """A run whose pings are there at once; what an observer looks at."""

    def __init__(self, *plans: Plan, rows: Rows | None = None) -> None:
        self.course = course(*plans)
        self.rows = rows if rows is not None else Rows()
        self.elapsed_s = self.waiting_s = 0.0
        self._first_row = len(self.rows)
        self._outages = Outages()
        self.rows.begin(f"run {self._first_row}")

    @property
    def outage(self) -> Outage | None:
        return self._outages.current

    @property
    def done(self) -> int:
        return len(self.rows) - self._first_row

    def ping(self, duration_ms: float, *, line: int = 0, warmup: bool = False, times: int = 1, **outcome: Any) -> None:
        exchange = Exchange(
            started_ns=round(self.elapsed_s * 1e9),
            timestamp_ns=0,
            duration_ms=duration_ms,
            phases=Phases(0.0, 0.0, 0.0, 0.0, duration_ms, 0.0),
            reused=True,
            retried=False,
            http_version="1.1",
            peer="127.0.0.1",
            tls_version=None,
            tcp_rtt_ms=0.1,
            tcp_retransmits=0,
        )
        slot, label = Slot(self.done, None), self.course.plans[line].label
        row = row_of(Sample(exchange, **outcome), slot, origin_ns=0, label=label, block=0, warmup=warmup)
        self.rows.extend([row] * times)
        pinged = Pinged(slot.seq, "", time.time_ns(), self.elapsed_s * 1e3, duration_ms, outcome.get("error"))
        self._outages.add(pinged)
        self.elapsed_s += 0.1


@pytest.mark.parametrize(
    ("content", "metadata", "takes"),
    [
        ({"allow_stdin": True}, {"cellId": "c1"}, True),
        ({"allow_stdin": False}, {}, True),
        ({}, {}, True),
        ({"allow_stdin": True}, {}, False),
    ],
    ids=["notebook", "without anybody there", "no message", "console"],
)
def test_widgets_go_where_they_are_taken(content: dict[str, object], metadata: dict[str, str], takes: bool) -> None:
    class Shell:
        kernel = object()

        def get_parent(self) -> dict[str, object]:
            return {"content": content, "metadata": metadata}

    assert takes_widgets(Shell()) == takes
    assert not takes_widgets(object())


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("COLUMNS", "100")
    return Screen()


@contextlib.contextmanager
def showing_on(stream: io.StringIO, *, quiet: bool = False) -> Iterator[LiveView]:
    with contextlib.redirect_stdout(stream), live_view(object(), quiet=quiet) as live:
        yield live


def last_line(screen: Screen) -> str:
    """The line as it is now, without its bar."""
    return re.sub(r"\|.*\|", "", screen.getvalue().removesuffix("\r").rpartition("\r")[2].rstrip())


def test_a_terminal_has_a_line_before_the_first_ping(screen: Screen) -> None:
    with showing_on(screen) as live:
        live.begin(course(Plan(count=50, label="cold"), Plan(count=30, label="warm")))
        assert last_line(screen) == "cold (1 of 2)   0% 0/80, 0 errors"


def test_the_line_tells_rate_time_left_errors_and_percentiles(screen: Screen) -> None:
    series = Series(Plan(count=100, warmup=2, rate_hz=10.0))
    with showing_on(screen) as live:
        live.begin(series.course, ("sandbox",))
        series.ping(500.0, warmup=True)
        live.observe(series)
        assert last_line(screen) == "ping   1% warm-up 1/2, 10 s left, 0 errors"
        series.ping(500.0, warmup=True)
        for duration_ms in range(1, 5):
            series.ping(duration_ms)
            live.observe(series)
        assert last_line(screen) == "ping   6% 4/100, 10.0/s, 10 s left, 0 errors"
        series.ping(900.0, error="timeout")
        series.ping(5.0)
        live.observe(series)
        assert last_line(screen) == "ping   8% 6/100, 10.0/s, 10 s left, 1 error, p50 3.00 ms"
        for duration_ms in range(6, 60):
            series.ping(duration_ms)
        live.observe(series)
        assert last_line(screen).endswith("60/100, 10.0/s, 4 s left, 1 error, p50 30.0 ms, p95 57.0 ms")


def test_the_line_says_since_when_the_service_is_down_until_it_is_up_again(screen: Screen) -> None:
    series = Series(Plan(count=100, rate_hz=10.0))
    with showing_on(screen) as live:
        live.begin(series.course)
        for _ in range(3):
            assert "down" not in last_line(screen)
            series.ping(1.0, error="connect")
            live.observe(series)
        assert re.search(r"3/100, down since \d\d:\d\d:\d\d UTC \(\d+ s\): connect, 10.0/s", last_line(screen))
        series.ping(1.0)
        live.observe(series)
        assert "down" not in last_line(screen)


def test_of_several_series_the_line_names_the_one_that_pings_and_counts_all(screen: Screen) -> None:
    series = Series(*(Plan(count=2, label=label) for label in "ab"))
    titles = []
    with showing_on(screen) as live:
        live.begin(series.course)
        for line in (0, 1, 1, 0):
            series.ping(1.0, line=line, error=None if line else "dns")
            live.observe(series)
            titles.append(last_line(screen)[:10])
        assert re.search(r" 100% 4/4, .*, 2 errors", last_line(screen))
    assert titles == ["a (1 of 2)", "b (2 of 2)", "b (2 of 2)", "a (1 of 2)"]


def test_percentiles_are_of_the_line_that_pings(screen: Screen) -> None:
    series = Series(*(Plan(count=20, label=label) for label in "ab"))
    with showing_on(screen) as live:
        live.begin(series.course)
        for line, duration_ms, shown in ((0, 2.0, "p50 2.00 ms"), (1, 9.0, "p50 9.00 ms"), (0, 2.0, "p50 2.00 ms")):
            for _ping in range(5):
                series.ping(duration_ms, line=line)
            live.observe(series)
            assert last_line(screen).endswith(shown)


def test_each_run_counts_its_own_errors(screen: Screen) -> None:
    first = Series(Plan(count=2, label="a"))
    with showing_on(screen) as live:
        live.begin(first.course)
        first.ping(1.0, error="dns")
        live.observe(first)
        second = Series(Plan(count=2, label="b"), rows=first.rows)
        live.begin(second.course)
        second.ping(3.0)
        live.observe(second)
        assert "1/2, " in last_line(screen)
        assert "0 errors" in last_line(screen)


def test_running_percentiles_are_those_of_the_latest_rows(screen: Screen) -> None:
    series = Series(Plan(duration_s=1e6))
    series.ping(1.0, times=2000)
    series.ping(7.0, times=1000)
    with showing_on(screen) as live:
        live.begin(series.course)
        live.observe(series)
        assert "p50 7.00 ms, p95 7.00 ms" in last_line(screen)


def test_the_bar_grows_with_what_is_done(screen: Screen) -> None:
    series = Series(Plan(count=4))
    bars = []
    with showing_on(screen) as live:
        live.begin(series.course)
        for _ping in range(4):
            series.ping(1.0)
            live.observe(series)
            bars.append(screen.getvalue().rpartition("|")[0].rpartition("|")[2])
    assert [bar.count("█") / len(bar) for bar in bars] == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.03)


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        ("80", "cold (2 of 2)  50%|| 50/100, 10.0/s, 5 s left, 0 errors, p50 30.0 ms"),
        ("72", "cold (2 of 2)  50%|| 50/100, 10.0/s, 5 s left, 0 errors"),
        ("42", "cold (2 of 2)  50%|| 50/100, 10.0/s"),
        ("22", "cold (…  50%||"),
    ],
)
def test_the_line_leaves_out_what_does_not_fit_and_is_cleared_at_the_end(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, columns: str, shown: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    series = Series(*(Plan(count=50, label=label, rate_hz=10.0) for label in ("warm", "cold")))
    with showing_on(screen) as live:
        live.begin(series.course)
        for _ping in range(50):
            series.ping(30.0, line=1)
        live.observe(series)
        line = screen.getvalue().split("\r")[-2]
        bar = line.split("|")[1]
        assert line.replace(bar, "").rstrip() == shown
        assert len(line) == int(columns) - 1
        assert len(bar) >= 4
    assert re.search(r"\r *\r$", screen.getvalue())
    assert last_line(screen) == ""


def test_a_terminal_of_an_old_code_page_has_no_unit_that_it_cannot_show(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Screen, "encoding", "ascii")
    series = Series(Plan(count=10, label="é"))
    with showing_on(screen) as live:
        live.begin(series.course)
        for _ping in range(5):
            series.ping(0.5)
        live.observe(series)
        assert re.fullmatch(r"\?  50%\|#+ +\| 5/10, .*, p50 500 us", screen.getvalue().split("\r")[-2].rstrip())
        assert screen.getvalue().isascii()


def test_the_card_follows_as_text(screen: Screen) -> None:
    with showing_on(screen) as live:
        live.begin(course(Plan(count=5)))
        live.finish(run())
    assert "\r⚠ Pings: 70 pings, 2 errors" in screen.getvalue()


def test_without_a_terminal_there_is_the_card_only() -> None:
    pipe = io.StringIO()
    with showing_on(pipe) as live:
        live.begin(course(Plan(count=5)))
        live.finish(run())
    assert pipe.getvalue().startswith("⚠ Pings: 70 pings, 2 errors")


def test_quiet_shows_neither_progress_nor_card(screen: Screen) -> None:
    series = Series(Plan(count=1))
    with showing_on(screen, quiet=True) as live:
        live.begin(series.course)
        series.ping(1.0)
        live.observe(series)
        live.finish(run())
    assert screen.getvalue() == ""


@pytest.mark.parametrize(
    ("plans", "done", "elapsed_s", "left_s"),
    [
        ([Plan(count=100, rate_hz=None)], 20, 4.0, 16.0),
        # As planned: the last of them is due 19.8 s after the first.
        ([Plan(count=100)], 20, 4.0, 15.8),
        # Behind the plan.
        ([Plan(count=100)], 20, 8.0, 32.0),
        ([Plan(count=10, rate_hz=0.1)], 1, 0.1, 89.9),
        ([Plan(count=10, rate_hz=0.1)], 1, 9.9, 80.1),
        ([Plan(count=10, rate_hz=0.1)], 9, 80.1, 9.9),
        ([Plan(duration_s=30)], 20, 4.0, 26.0),
        ([Plan(count=100, duration_s=10)], 20, 4.0, 6.0),
        ([Plan(duration_s=30)], 20, 31.0, 0.0),
        ([Plan(count=50), Plan(count=50)], 20, 4.0, 15.8),
        ([Plan(count=50), Plan(count=50, rate_hz=10.0)], 60, 11.0, 3.9),
        ([Plan(duration_s=30), Plan(duration_s=30, label="b")], 20, 4.0, 56.0),
    ],
)
def test_time_left_is_that_of_whichever_ends_first(
    plans: list[Plan], done: int, elapsed_s: float, left_s: float
) -> None:
    assert Readout(course(*plans), "ping", done=done, elapsed_s=elapsed_s).left_s == pytest.approx(left_s)


def test_time_left_is_unknown_before_the_first_ping() -> None:
    assert math.isnan(Readout(course(Plan(count=100)), "ping").left_s)


FACTS = ("5/10", "10.0/s", "1 s left", "0 errors", "p50 30.0 ms")


# The line among what a user, the environment and a broken stream may do to it.


def drawn(screen: Screen) -> str:
    return screen.getvalue().removesuffix("\r").rpartition("\r")[2]


def rows(text: str) -> list[str]:
    """What is left on a screen that is as wide as it takes."""
    screen = [""]
    row = column = 0
    for part in re.split(r"(\r|\n|\x1b\[A)", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            screen += [""] * (row + 1 - len(screen))
        elif part == "\x1b[A":
            row -= 1
        else:
            line = screen[row].ljust(column)
            screen[row] = line[:column] + part + line[column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in screen]


def test_nothing_is_drawn_before_there_is_something_to_show(screen: Screen) -> None:
    with showing_on(screen):
        pass
    assert screen.getvalue() == ""


def test_a_card_that_stands_is_not_blanked(screen: Screen) -> None:
    with showing_on(screen) as live:
        live.begin(course(Plan(count=5)))
        live.finish(run())
    assert rows(screen.getvalue())[0].startswith("⚠ Pings: 70 pings, 2 errors")


@pytest.mark.parametrize("left", ["bar  10%|#" + "#" * 289, "\ntwo\nbars|||"])
def test_a_bar_that_the_user_left_there_is_in_neither_the_line_nor_the_card(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    screen.write(left)
    series = Series(Plan(count=2))
    with showing_on(screen) as live:
        live.begin(series.course)
        series.ping(1.0)
        live.observe(series)
        assert not {"\n", "\x1b"} & set(screen.getvalue().removeprefix(left))
        assert re.fullmatch(r"ping  50%\|█+ +\| 1/2, 1 s left, 0 errors", rows(screen.getvalue())[left.count("\n")])
        live.finish(run())
    first = rows(screen.getvalue())[left.count("\n")]
    assert first.startswith("⚠ Pings: 70 pings, 2 errors")
    assert "|" not in first


class Broken(Screen):
    """A terminal that is gone after some writes."""

    def __init__(self, error: Exception, method: str, after: int) -> None:
        super().__init__()
        self._error, self._method, self._left = error, method, after
        self.failures = 0

    def write(self, text: str) -> int:
        self._count("write")
        return super().write(text)

    def flush(self) -> None:
        self._count("flush")

    def _count(self, method: str) -> None:
        if method == self._method:
            self._left -= 1
            if self._left < 0:
                self.failures += 1
                raise self._error


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "gone"), ValueError("closed")])
@pytest.mark.parametrize("method", ["write", "flush"])
@pytest.mark.parametrize("after", [0, 2, 3])
def test_a_broken_stream_does_not_reach_the_series(screen: Screen, error: Exception, method: str, after: int) -> None:
    del screen
    broken = Broken(error, method, after)
    series = Series(Plan(count=2))
    with showing_on(broken) as live:
        live.begin(series.course)
        series.ping(1.0)
        live.observe(series)
        live.finish(None)
    # The first failure is enough to know.
    assert broken.failures == 1


def test_a_stream_that_is_closed_meanwhile_does_not_reach_the_series(screen: Screen) -> None:
    series = Series(Plan(count=2))
    with showing_on(screen) as live:
        live.begin(series.course)
        screen.close()
        series.ping(1.0)
        live.observe(series)
        live.finish(None)


@pytest.mark.parametrize(
    ("columns", "wide"), [("300", 119), ("121", 119), ("120", 119), ("119", 118), ("4", 3), ("1", 1)]
)
def test_the_line_keeps_away_from_the_edge_and_is_not_endless(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, columns: str, wide: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    ProgressLine(screen).show("ping", 0.5, FACTS)
    assert width(drawn(screen)) == wide


def test_without_a_terminal_of_its_own_it_is_rather_too_short(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(sys, "__stdout__", None)
    ProgressLine(screen).show("ping", 0.5, ["5/10"])
    assert width(drawn(screen)) == 59


@pytest.mark.parametrize(
    ("label", "title"),
    [
        ("two\nlines", "two lines"),
        ("back\rto\tthe start", "back to the start"),
        ("\x1b[2Jred\x07", "[2Jred"),
        ("{bar} {n} %", "{bar} {n} %"),
        ("測" * 30, "測" * 11 + "…"),
        ("a" * 30, "a" * 23 + "…"),
    ],
    ids=["newline", "controls", "escape", "braces", "wide", "long"],
)
def test_a_label_stays_in_its_place(screen: Screen, label: str, title: str) -> None:
    # A plan refuses the first three; the line does not rely on that.
    ProgressLine(screen).show(label, 0.0, ["0/2", "0 errors"])
    assert last_line(screen) == f"{title}   0% 0/2, 0 errors"
    assert width(drawn(screen)) == 99
    assert not {"\n", "\x1b", "\x07"} & set(screen.getvalue())


def test_wide_facts_are_left_out_by_the_columns_they_take(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    ProgressLine(screen).show("測" * 4, 0.5, ["測" * 12, "測" * 7])
    # Of 59 columns the title takes 8, the frame 8 and the least bar 4: 39, enough for 24 but not for 24 + 2 + 14.
    assert last_line(screen) == f"{'測' * 4}  50% {'測' * 12}"
    assert width(drawn(screen)) == 59


@pytest.mark.parametrize("said", ["^C", "tick number 1\n", "x" * 90 + "\n"])
def test_what_is_said_beside_the_line_is_not_torn(screen: Screen, said: str) -> None:
    line = ProgressLine(screen)
    line.show("ping", 0.5, FACTS)
    screen.write(said)
    assert rows(screen.getvalue())[0].startswith(said.strip())
    line.close()
    assert rows(screen.getvalue())[-1] == ""


# What follows runs in a real kernel.

PREPARE = """
from donutwork_magics.display.live import live_view
from donutwork_magics.sampling.plan import Plan
from tests.display.test_live import Series
from tests.display.values import run
"""
OBSERVED = """
series = Series(Plan(count=3, label="cold"))
with live_view(get_ipython(), quiet=False) as live:
    live.begin(series.course, ("sandbox",))
    series.ping(2.0)
    live.observe(series)
    {end}
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[BlockingKernelClient]:
    manager: KernelManager
    manager, client = start_new_kernel()
    try:
        execute(client, PREPARE)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def execute(kernel: BlockingKernelClient, code: str) -> list[dict[str, Any]]:
    """Run a cell, and return what it published."""
    messages: list[dict[str, Any]] = []
    kernel.execute_interactive(code, timeout=60, output_hook=messages.append, allow_stdin=False)
    return messages


def of_type(messages: list[dict[str, Any]], *types: str) -> list[dict[str, Any]]:
    return [message["content"] for message in messages if message["msg_type"] in types]


def open_models(messages: list[dict[str, Any]]) -> set[str]:
    opened = {content["comm_id"] for content in of_type(messages, "comm_open")}
    return opened - {content["comm_id"] for content in of_type(messages, "comm_close")}


def test_no_widget_library_is_imported_before_a_kernel_view_is_made(kernel: BlockingKernelClient) -> None:
    messages = execute(kernel, "import sys; print('ipywidgets' in sys.modules)")
    assert of_type(messages, "stream")[0]["text"].strip() == "False"


def test_the_widget_is_replaced_by_the_card_in_the_same_output(kernel: BlockingKernelClient) -> None:
    messages = execute(kernel, OBSERVED.format(end="live.finish(run())"))
    [shown] = of_type(messages, "display_data")
    assert VIEW in shown["data"]
    assert shown["data"]["text/plain"] == "cold: 0%, 0/3 pings, 0 errors"
    [card] = of_type(messages, "update_display_data")
    assert card["transient"]["display_id"] == shown["transient"]["display_id"]
    assert set(card["data"]) == {"text/plain", "text/html"}
    assert "70 pings, 2 errors" in card["data"]["text/html"]
    kinds = [message["msg_type"] for message in messages]
    assert kinds.index("update_display_data") < kinds.index("comm_close")


def test_the_widget_shows_how_the_series_comes_on(kernel: BlockingKernelClient) -> None:
    messages = execute(kernel, OBSERVED.format(end="live.finish(run())"))
    states = [content["data"]["state"]["value"] for content in of_type(messages, "comm_msg")]
    assert "0/3" in states[0]
    assert "1/3" in states[-1]
    assert [">sandbox<" in state for state in (states[0], states[-1])] == [True, True]
    assert 'aria-valuenow="33.3"' in states[-1]
    assert "<svg" not in states[0]
    assert 'role="img" aria-label="Durations of the last 1 s: 1 ping from 2.00 ms' in states[-1]


def test_no_widget_is_left_behind(kernel: BlockingKernelClient) -> None:
    messages = execute(kernel, OBSERVED.format(end="live.finish(run())"))
    assert of_type(messages, "comm_open")
    assert open_models(messages) == set()


@pytest.mark.parametrize("end", ["raise KeyboardInterrupt", "1 / 0", "live.finish(3)", "live.finish(None)"])
def test_whatever_goes_wrong_the_widget_is_taken_away(kernel: BlockingKernelClient, end: str) -> None:
    messages = execute(kernel, OBSERVED.format(end=end))
    assert VIEW in of_type(messages, "display_data")[0]["data"]
    assert VIEW not in of_type(messages, "update_display_data")[-1]["data"]
    assert open_models(messages) == set()


def test_quiet_publishes_nothing_in_a_kernel_either(kernel: BlockingKernelClient) -> None:
    messages = execute(kernel, OBSERVED.format(end="live.finish(run())").replace("quiet=False", "quiet=True"))
    assert {message["msg_type"] for message in messages} <= {"status", "execute_input"}
