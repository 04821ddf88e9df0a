"""A watch pings in the background: the kernel stays free, and it ends when it is told to, or when it has to."""

from __future__ import annotations

import ast
import re
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.servers import Server, answer, reply
from tests.shell.conftest import KEY
from tests.shell.watching import HTML, PATIENCE_S, THREADS, VIEW, card, number, seen, until
from tests.support.kernel import ABOUT, Kernel

MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"

pytestmark = pytest.mark.usefixtures("no_watch_left")


class TestCommand:
    def test_it_returns_at_once_and_the_kernel_is_free_while_the_rows_grow(self, sandboxed: Kernel) -> None:
        sandboxed.run("import pandas, ipywidgets")
        began_s = time.monotonic()
        assert sandboxed.run("w = %donutwork watch -r 50").ok
        assert time.monotonic() - began_s < PATIENCE_S / 2
        assert sandboxed.value("(type(w).__name__, w.running, _donutwork is w)") == "('Watch', True, True)"
        before = number(sandboxed, "len(w.df)")
        assert sandboxed.run("sum(range(10))").result["text/plain"] == "45"
        until(sandboxed, f"len(w.df) > {before + 20}")
        sandboxed.run("df = w.df")
        assert sandboxed.value("(df.donutwork.summary().errors.item(), df.seq.tolist() == list(range(len(df))))") == (
            "(0, True)"
        )

    def test_its_table_is_of_schema_1_from_the_first_moment(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("w = %donutwork watch -r 50 --label night --cold -t 3s\nfirst = w.df")
        assert cell.ok, cell.traceback
        until(sandboxed, "len(w.df) > 3")
        assert (
            sandboxed.value("list(first.dtypes.astype(str).items()) == list(w.df.dtypes.astype(str).items())") == "True"
        )
        plan = f"{ABOUT}(w.df)['plan'][0]"
        assert sandboxed.value(f"({plan}['label'], {plan}['cold'], {plan}['timeout_s'], {plan}['count'])") == (
            "('night', True, 3.0, None)"
        )
        assert sandboxed.value("(w.df.label.unique().tolist(), bool(w.df.reused.any()))") == "(['night'], False)"

    def test_it_shows_a_panel_and_its_value_is_a_line(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%donutwork watch -r 50 --label night")
        assert [VIEW in bundle for bundle in cell.displays] == [True, False]
        assert cell.result["text/plain"].startswith("<Watch running: 127.0.0.1:")
        assert VIEW not in cell.result

    def test_what_the_notebook_keeps_of_its_value_stays_true(self, sandboxed: Kernel) -> None:
        """The Out of the cell that started it is never updated."""
        cell = sandboxed.run("%donutwork watch -r 50 --label night")
        for state in ("running", "paused", "stopped", " pings"):
            assert state not in cell.result[HTML]
        assert re.search(f"night: started {MOMENT}, 50.0/s planned", cell.result[HTML])
        assert "Its panel shows how it goes." in cell.result[HTML]
        assert re.search(r", as of \d\d:\d\d:\d\d UTC>$", cell.result["text/plain"])
        sandboxed.run("w = _donutwork\nw.stop()")
        assert re.search(r"night: stopped, \d+ ping", sandboxed.run("w").result[HTML])

    def test_out_stores_it_and_a_semicolon_hides_it(self, sandboxed: Kernel) -> None:
        assert not sandboxed.run("%donutwork watch -o stored").result
        assert sandboxed.value("stored.running") == "True"
        assert not sandboxed.run("%donutwork watch;").result

    def test_a_default_is_used(self, sandboxed: Kernel) -> None:
        sandboxed.run("%config DonutworkMagics.rate = 40\nw = %donutwork watch\n%config DonutworkMagics.rate = None")
        assert sandboxed.value("w.series.plan.rate_hz") == "40.0"

    def test_it_is_not_for_a_cell(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%%donutwork\nwatch -r 5")
        assert cell.stderr.strip() == (
            "UsageError: line 2: watch is not allowed in a cell: run it as a line, %donutwork watch."
        )

    def test_it_is_polite(self, kernel: Kernel) -> None:
        kernel.run(f"import os\nos.environ.update(DONUTWORK_API_KEY={KEY!r}, DONUTWORK_BASE_URL='https://api.invalid')")
        for rate in ("21", "max"):
            assert "--allow-load" in kernel.run(f"%donutwork watch -r {rate}").stderr
        assert kernel.value(THREADS) == "[]"
        kernel.run("del os.environ['DONUTWORK_API_KEY'], os.environ['DONUTWORK_BASE_URL']")

    def test_without_a_key_nothing_begins(self, kernel: Kernel) -> None:
        cell = kernel.run("%donutwork watch")
        assert cell.ename == "SettingsError"
        assert not cell.displays
        assert kernel.value(THREADS) == "[]"


class TestEnd:
    def test_stop_leaves_the_card_in_the_place_of_the_panel(self, sandboxed: Kernel) -> None:
        started = sandboxed.run("w = %donutwork watch -r 50")
        until(sandboxed, "len(w.df) > 10")
        assert sandboxed.run("w.stop()").ok
        assert VIEW not in started.displays[0]
        assert f"{number(sandboxed, 'len(w.df)')} pings, no errors" in started.displays[0][HTML]
        assert "data:image/svg+xml;base64," in started.displays[0][HTML]
        assert sandboxed.value(f"(w.running, w.state, {ABOUT}(w.df)['ended'])") == "(False, 'stopped', None)"

    def test_it_sends_nothing_any_more_and_its_threads_are_gone(self, sandboxed: Kernel) -> None:
        sandboxed.run("w = %donutwork watch -r 50")
        until(sandboxed, "len(w.df) > 3")
        sandboxed.run("w.stop()\nn = len(w.df)")
        assert sandboxed.value(THREADS) == "[]"
        assert sandboxed.value("__import__('time').sleep(0.3) or len(w.df) == n") == "True"

    def test_the_line_below_the_panel_says_when_it_was(self, sandboxed: Kernel) -> None:
        started = sandboxed.run("w = %donutwork watch -r 50")
        began = f"Watch of the sandbox, started {MOMENT}"
        assert re.search(
            f"{began}; running, [01] pings? by {MOMENT}; it stops when its kernel", started.displays[1][HTML]
        )
        assert re.search(f"^{began}; it stops when its kernel stops[.]$", started.displays[0]["text/plain"])
        until(sandboxed, "len(w.df) > 3")
        sandboxed.run("w.pause()")
        until(sandboxed, "w._recording is None")
        paused = rf"{began}; paused, (\d+) pings by {MOMENT}; it stops when its kernel stops"
        [count] = re.findall(paused, started.displays[1][HTML])
        assert 0 < int(count) <= number(sandboxed, "len(w.df)")
        sandboxed.run("w.stop()")
        stopped = started.displays[1][HTML]
        assert re.search(f"Watch of the sandbox, {MOMENT} to {MOMENT}[.]", stopped)
        sandboxed.run("import time; time.sleep(1.1); w.stop()")
        assert started.displays[1][HTML] == stopped
        sandboxed.run("w.start()")
        until(sandboxed, "w.running")
        assert "; running, " in started.displays[1][HTML]

    def test_the_line_below_the_panel_is_brought_up_to_date_now_and_then(self, sandboxed: Kernel) -> None:
        # An output that changes twice a second would have the notebook saved all the time.
        sandboxed.run("from donutwork_magics.display import widgets\nwidgets._NOTED_EVERY_S = 0.2")
        started = sandboxed.run("w = %donutwork watch -r 50")
        until(sandboxed, "len(w.df) > 60")
        [count] = re.findall(r"running, (\d+) pings by", started.displays[1][HTML])
        assert int(count) > 10
        sandboxed.run("widgets._NOTED_EVERY_S = 30.0")

    def test_after_a_page_was_loaded_anew_the_cell_that_stops_it_has_the_card_too(self, panelled: Kernel) -> None:
        started = panelled.run("w = %donutwork watch -r 50")
        until(panelled, "len(w.df) > 3")
        panelled.load_anew()
        stopped = panelled.run("w.stop()")
        assert [" pings, no errors" in bundle[HTML] for bundle in stopped.displays] == [True]
        assert " pings, no errors" in started.displays[0][HTML]
        assert panelled.run("w.stop()").displays == []

    def test_start_goes_on_with_the_rows_and_brings_the_panel_back(self, sandboxed: Kernel) -> None:
        started = sandboxed.run("w = %donutwork watch -r 50")
        until(sandboxed, "len(w.df) > 3")
        sandboxed.run("w.stop()\nn = len(w.df)\nw.start()")
        until(sandboxed, "len(w.df) > n + 3")
        assert VIEW in started.displays[0]
        sandboxed.run("df = w.df; runs = [list(seq) for _, seq in df.groupby('run', sort=False).seq]")
        assert sandboxed.value("([seq == list(range(len(seq))) for seq in runs], len(runs[0]))") == (
            f"([True, True], {number(sandboxed, 'n')})"
        )
        assert sandboxed.value("(len(df.attrs['donutwork']['runs']), df.timestamp.is_monotonic_increasing)") == (
            "(2, True)"
        )
        sandboxed.run("w.stop()\nw.stop()")
        assert VIEW not in started.displays[0]

    def test_its_card_has_a_row_and_no_warning_of_its_runs(self, sandboxed: Kernel) -> None:
        started = sandboxed.run("w = %donutwork watch -r 50")
        until(sandboxed, "len(w.df) > 3")
        sandboxed.run("w.pause()")
        until(sandboxed, "w._recording is None")
        sandboxed.run("w.start(); n = len(w.df)")
        until(sandboxed, "len(w.df) > n + 3")
        sandboxed.run("w.stop()\n%donutwork ping;")
        shown = started.displays[0]
        assert "joined" not in shown[HTML]
        assert re.search(r"Runs +2, as the watch was started again or changed\n", shown["text/plain"])

    def test_the_time_of_a_pause_is_not_of_the_rate(self, sandboxed: Kernel) -> None:
        sandboxed.run("w = %donutwork watch -r 50")
        until(sandboxed, "len(w.df) > 9")
        sandboxed.run("import time\nw.pause()\ntime.sleep(2)\nn = len(w.df)\nw.start()")
        until(sandboxed, "len(w.df) > n + 9")
        sandboxed.run("w.stop()\ndf = w.df")
        assert sandboxed.value("(df.timestamp.iloc[-1] - df.timestamp.iloc[0]).total_seconds() > 2") == "True"
        assert sandboxed.value("bool(df.donutwork.summary()['rate_hz'].item() > 25)") == "True"
        assert "/s, 50.0/s planned" in sandboxed.run("df.donutwork").result["text/plain"]

    def test_start_of_one_that_runs_disturbs_nothing(self, sandboxed: Kernel) -> None:
        sandboxed.run("w = %donutwork watch -r 50")
        until(sandboxed, "len(w.df) > 3")
        sandboxed.run("w.start(); w.change(rate_hz=50.0, http='auto')\nn = len(w.df)")
        until(sandboxed, "len(w.df) > n + 5")
        assert sandboxed.value(f"(len({ABOUT}(w.df)['plan']), int((~w.df.reused).sum()))") == "(1, 1)"

    def test_wait_waits_no_longer_than_it_is_told(self, sandboxed: Kernel) -> None:
        sandboxed.run("w = %donutwork watch -r 50\nended = w.wait(0.3)")
        assert sandboxed.value("(ended, w.running)") == "(False, True)"
        sandboxed.run("w.stop()")
        assert sandboxed.value("w.wait()") == "True"

    def test_an_interrupt_ends_the_waiting_and_not_the_watch(self, sandboxed: Kernel) -> None:
        sandboxed.run("w = %donutwork watch -r 50")
        assert sandboxed.run("w.wait()", interrupt_after_s=1.0).ename == "KeyboardInterrupt"
        assert sandboxed.value("w.running") == "True"

    def test_two_at_once_have_rows_of_their_own(self, sandboxed: Kernel) -> None:
        sandboxed.run("w = %donutwork watch -r 40 --label a\nv = %donutwork watch -r 20 --label b --cold")
        until(sandboxed, "len(w.df) > 20 and len(v.df) > 10")
        sandboxed.run("w.stop()")
        before = number(sandboxed, "len(v.df)")
        until(sandboxed, f"len(v.df) > {before + 5}")
        assert sandboxed.value("[set(t.df.label) for t in (w, v)]") == "[{'a'}, {'b'}]"

    def test_a_cell_that_is_run_again_ends_the_one_that_it_began_before(self, sandboxed: Kernel) -> None:
        code = "w = %donutwork watch -r 50"
        sandboxed.run(f"{code}\nv = %donutwork watch -r 50", cell_id="one")
        sandboxed.run("first, second = w, v")
        other = sandboxed.run(code, cell_id="another")
        assert sandboxed.value("(first.state, second.state)") == "('running', 'running')"
        again = sandboxed.run(f"{code}\nv = %donutwork watch -r 50", cell_id="one")
        assert (other.stdout, again.stdout) == ("", "Stopped 2 watches this cell started earlier.\n")
        assert sandboxed.value("(first.state, second.state, w.state, v.state)") == (
            "('stopped', 'stopped', 'running', 'running')"
        )
        assert sandboxed.value(f"{THREADS}.count('donutwork-watch')") == "3"
        assert sandboxed.run(code, cell_id="another").stdout == "Stopped the watch this cell started earlier.\n"

    def test_stop_ends_also_those_that_nobody_has_any_more(self, sandboxed: Kernel) -> None:
        for _ in range(3):
            sandboxed.run("w = %donutwork watch -r 50")
        assert "3 watches: %donutwork watch stop ends them" in sandboxed.run("%donutwork").result["text/plain"]
        sandboxed.run("del w")
        assert sandboxed.run("%donutwork watch stop").stdout == "Stopped 3 watches.\n"
        until(sandboxed, f"{THREADS} == []")
        assert sandboxed.run("%donutwork watch stop").stdout == "No watch is running.\n"
        assert "In the background" not in sandboxed.run("%donutwork").result["text/plain"]

    def test_pings_of_a_cell_may_run_beside_it(self, sandboxed: Kernel) -> None:
        sandboxed.run("w = %donutwork watch -r 50\ndf = %donutwork ping -n 20 -r 40 -q")
        assert sandboxed.value("(len(df), w.running)") == "(20, True)"

    def test_keep_bounds_the_rows_and_the_latest_stay(self, sandboxed: Kernel) -> None:
        sandboxed.run("w = %donutwork watch -r max --keep 50")
        until(sandboxed, "w.rows.total > 300")
        sandboxed.run("w.stop()\ndf = w.df")
        assert sandboxed.value("(len(df), len(w.rows) <= 55, int(df.seq.iloc[-1]) + 1 == w.rows.total)") == (
            "(50, True, True)"
        )
        assert sandboxed.value("bool((df.seq.diff().dropna() == 1).all() and (df.env == 'staging').all())") == "True"

    @pytest.mark.parametrize("fault", ["unauthorized", "forbidden"])
    def test_a_fatal_answer_ends_it_and_the_panel_says_so(self, sandboxed: Kernel, fault: str) -> None:
        sandboxed.run(f"%donutwork sandbox start --fault {fault}:1;")
        started = sandboxed.run("w = %donutwork watch -r 50")
        sandboxed.run(f"assert w.wait({PATIENCE_S})")
        assert sandboxed.value(f"(w.running, len(w.df), {ABOUT}(w.df)['ended'])") == f"(False, 1, '{fault}')"
        assert f"ended early by {fault}" in started.displays[0][HTML]
        assert "The watch ended: " in started.displays[0][HTML]
        assert sandboxed.value("(w.problem.startswith('The watch ended: '), w.problem in repr(w))") == "(True, True)"
        assert "The watch ended: " in sandboxed.run("w").result[HTML]

    def test_a_long_retry_after_ends_it(self, sandboxed: Kernel) -> None:
        sandboxed.run("%donutwork sandbox start --fault rate_limited:1 --retry-after 200s;\nw = %donutwork watch -r 50")
        sandboxed.run(f"assert w.wait({PATIENCE_S})")
        assert sandboxed.value(f"(len(w.df), {ABOUT}(w.df)['ended'])") == "(1, 'rate_limited')"

    def test_other_failures_are_rows(self, sandboxed: Kernel) -> None:
        sandboxed.run("%donutwork sandbox start --fault server_error:1;\nw = %donutwork watch -r 50")
        until(sandboxed, "len(w.df) >= 2")
        assert sandboxed.value("(w.running, set(w.df.error))") == "(True, {'server_error'})"

    def test_without_its_sandbox_it_waits_for_it_and_goes_nowhere_else(self, sandboxed: Kernel) -> None:
        sandboxed.run("w = %donutwork watch -r 50")
        until(sandboxed, "len(w.df) > 3")
        sandboxed.run("%donutwork sandbox stop;\n%donutwork sandbox start --seed 2;")
        until(sandboxed, "w.outage is not None and w.outage.pings >= 7")
        assert sandboxed.value("(w.running, set(w.df.error.dropna()) <= {'connect', 'connection_lost'})") == (
            "(True, True)"
        )
        assert "down since" in sandboxed.value("w")

    def test_it_keeps_the_key_that_it_began_with(self, sandboxed: Kernel) -> None:
        sandboxed.run(
            "import os\nfrom donutwork_magics.client.target import SWITCH\nkept = SWITCH.put_started(None)\n"
            "os.environ.update(DONUTWORK_API_KEY=kept.key_for(), DONUTWORK_BASE_URL=kept.url)\n"
            "w = %donutwork watch -r 50"
        )
        sandboxed.run(f"os.environ['DONUTWORK_API_KEY'] = {KEY!r}\nn = len(w.df)")
        until(sandboxed, "len(w.df) > n + 5")
        assert sandboxed.value("(w.running, int(w.df.error.notna().sum()))") == "(True, 0)"
        sandboxed.run(
            "w.stop(); SWITCH.put_started(kept)\ndel os.environ['DONUTWORK_API_KEY'], os.environ['DONUTWORK_BASE_URL']"
        )

    def test_a_panel_that_cannot_be_drawn_ends_it_by_name(self, sandboxed: Kernel) -> None:
        sandboxed.run(
            "class Broken:\n    def draw(self): raise ValueError('secret')\n    def freeze(self, *, in_cell): pass\n"
            "w = %donutwork watch -r 50\nw.show_in(Broken())"
        )
        cell = sandboxed.run(f"assert w.wait({PATIENCE_S})")
        assert sandboxed.value("(w.running, w.problem)") == (
            "(False, 'The watch ended: Unexpected: ValueError, a fault of this extension. "
            "Try again, and report it if it comes back.')"
        )
        assert "secret" not in cell.text

    def test_one_that_cannot_be_left_as_a_card_costs_nothing_either(self, sandboxed: Kernel) -> None:
        sandboxed.run(
            "class Broken:\n    def draw(self): pass\n    def freeze(self, *, in_cell): raise ValueError('secret')\n"
            "w = %donutwork watch -r 50\nw.show_in(Broken())"
        )
        until(sandboxed, "len(w.df) > 3")
        cell = sandboxed.run("w.stop()")
        assert cell.ok, cell.text
        assert sandboxed.value("(w.state, 'ValueError' in w.problem, len(w.df) > 3)") == "('stopped', True, True)"
        assert sandboxed.value(THREADS) == "[]"

    def test_a_change_does_not_hide_why_it_has_ended(self, sandboxed: Kernel) -> None:
        sandboxed.run("%donutwork sandbox start --seed 1 --fault unauthorized:1;\nw = %donutwork watch -r 50")
        sandboxed.run(f"assert w.wait({PATIENCE_S})\nwhy = w.problem\nw.change(rate_hz=5.0, http='auto')")
        assert sandboxed.value("(w.problem == why != '', w.series.plan.rate_hz)") == "(True, 5.0)"

    def test_unloading_ends_it(self, tmp_path: Path) -> None:
        with Kernel(tmp_path) as kernel:
            assert kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;").ok
            started = kernel.run("w = %donutwork watch -r 50\nv = %donutwork watch -r 50")
            until(kernel, "len(v.df) > 3")
            began_s = time.monotonic()
            assert kernel.run("%unload_ext donutwork_magics").ok
            assert time.monotonic() - began_s < PATIENCE_S / 2
            assert kernel.value(THREADS) == "[]"
            assert kernel.value("(w.running, v.running, int(v.df.error.notna().sum()))") == "(False, False, 0)"
            assert VIEW not in started.displays[0]

    def test_the_kernel_ends_while_it_runs(self, tmp_path: Path) -> None:
        with Kernel(tmp_path) as kernel:
            kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start;\nw = %donutwork watch -r max")
            until(kernel, "len(w.df) > 3")
            began_s = time.monotonic()
        assert time.monotonic() - began_s < PATIENCE_S / 2


class TestPanel:
    def test_it_shows_how_it_goes(self, panelled: Kernel) -> None:
        panelled.run("%donutwork sandbox start --seed 1 --fault server_error:0.2;\nw = %donutwork watch -r 50")
        seen(panelled, lambda: "<svg" in card(panelled) and "pings" in card(panelled))
        until(panelled, "w.rows.total > 80")
        seen(panelled, lambda: 'aria-label="Durations of the last' in card(panelled) and ">errors<" in card(panelled))
        assert re.search(r"ping: \w+ at \d\d:\d\d:\d\d UTC", card(panelled))
        for words in ("ping: running", "p50 so far", "p95", "errors", "sandbox"):
            assert words in card(panelled)
        assert re.search(r"rate, last [1-9]\ss", card(panelled))
        assert panelled.widget(description="Rate")["_options_labels"][-1] == "max"

    def test_it_says_what_it_has_left_out_after_a_hang(self, changeable: Kernel) -> None:
        changeable.run("import donutwork_magics.sampling.schedule as schedule\nschedule._MOST_BEHIND_NS = 300_000_000")
        changeable.run("%donutwork sandbox start --seed 1 --fault hang:0.05;\nw = %donutwork watch -r 50 -t 1s")
        until(changeable, "w.skipped > 0")
        changeable.run("schedule._MOST_BEHIND_NS = 30_000_000_000")
        seen(changeable, lambda: "planned starts (during outages, or" in card(changeable))
        changeable.run("w.stop()")
        assert changeable.value(f"{ABOUT}(w.df)['skipped'] == w.skipped") == "True"
        assert changeable.value("w.df.seq.tolist() == list(range(w.rows.total))") == "True"

    def test_it_says_since_when_the_service_is_down_until_it_is_up_again(self, panelled: Kernel) -> None:
        panelled.run("w = %donutwork watch -r 50")
        until(panelled, "len(w.df) > 3")
        panelled.run("%donutwork sandbox stop;")
        down = r"ping: running at [0-9:]+ UTC, down since \d\d:\d\d:\d\d UTC \(\d+\ss\): conn"
        seen(panelled, lambda: re.search(down, card(panelled)) is not None)
        assert "✗ " in card(panelled)
        with Server(answer(reply()), port=number(panelled, "w.series.target.base_url.port")):
            seen(panelled, lambda: "down since" not in card(panelled) and "ping: running" in card(panelled))
            stopped = panelled.run("w.stop()\nw.df.donutwork").result
        assert re.search(r"Outages +1 in the whole run, ", stopped["text/plain"])
        assert "Outages: 3 or more pings in a row" in " ".join(stopped["text/plain"].split())
        assert "Outages: 3 or more pings in a row" in stopped[HTML]

    def test_a_percentile_waits_for_enough_pings(self, panelled: Kernel) -> None:
        panelled.run("w = %donutwork watch -r 10")
        seen(panelled, lambda: "<svg" in card(panelled))
        assert "p95 needs 59" in card(panelled)

    def test_pause_and_start_by_its_button(self, panelled: Kernel) -> None:
        started = panelled.run("w = %donutwork watch -r 50")
        until(panelled, "len(w.df) > 3")
        panelled.click("Pause")
        seen(panelled, lambda: "ping: paused" in card(panelled))
        assert VIEW in started.displays[0]
        panelled.run("n = len(w.df)")
        assert panelled.value("__import__('time').sleep(0.3) or len(w.df) == n") == "True"
        panelled.click("Start")
        until(panelled, "w.running and len(w.df) > n + 3")

    def test_stop_by_its_button_leaves_the_card_also_for_a_page_that_was_loaded_anew(self, panelled: Kernel) -> None:
        started = panelled.run("w = %donutwork watch -r 50")
        until(panelled, "len(w.df) > 3")
        panelled.click("Stop")
        until(panelled, "not w.running")
        seen(panelled, lambda: VIEW not in started.displays[0])
        seen(panelled, lambda: "pings, no errors" in card(panelled))
        assert panelled.widget(description="Stop")["disabled"] is True
        panelled.click("Start")
        until(panelled, "w.running")
        seen(panelled, lambda: "ping: running" in card(panelled) and VIEW in started.displays[0])

    def test_another_rate_and_protocol_by_its_menus(self, panelled: Kernel) -> None:
        panelled.run("w = %donutwork watch -r 2")
        until(panelled, "len(w.df) > 0")
        panelled.choose("Rate", "50/s")
        until(panelled, "len(w.df) > 30")
        panelled.choose("Protocol", "HTTP/1.1")
        until(panelled, f"w.series.http == '1.1' and len({ABOUT}(w.df)['plan']) == 3")
        rates = f"[(plan['rate_hz'], plan['http']) for plan in {ABOUT}(w.df)['plan']]"
        assert panelled.value(rates) == "[(2.0, 'auto'), (50.0, 'auto'), (50.0, '1.1')]"
        panelled.choose("Rate", "max")
        until(panelled, "w.series.plan.rate_hz is None and w.series.http == '1.1'")
        assert panelled.widget(description="Rate")["index"] is not None
        # No rate was that of the whole, so none is said to have been planned, or missed.
        text = panelled.run("w.df.donutwork").result["text/plain"]
        assert "/s planned" not in text
        assert "planned rate" not in text

    def test_a_change_in_a_cell_is_in_its_menus_and_no_choice_takes_it_back(self, panelled: Kernel) -> None:
        panelled.run("w = %donutwork watch -r 50")
        until(panelled, "len(w.df) > 3")
        panelled.run("w.change(rate_hz=3.0, http='auto')")
        seen(panelled, lambda: _choice(panelled, "Rate") == "3/s")
        panelled.choose("Protocol", "HTTP/1.1")
        until(panelled, "w.series.http == '1.1'")
        assert panelled.value("w.series.plan.rate_hz") == "3.0"
        panelled.run("w.change(rate_hz=None, http='1.1')")
        seen(panelled, lambda: _choice(panelled, "Rate") == "max")

    def test_start_of_one_that_nobody_has_kept_says_so(self, panelled: Kernel) -> None:
        panelled.run("w = %donutwork watch -r 50")
        until(panelled, "len(w.df) > 3")
        panelled.run("w.stop()\ndel w, _donutwork\n%donutwork ping;")
        panelled.run("_ = __ = ___ = None\n%reset -f out\n__import__('gc').collect()")
        panelled.click("Start")
        seen(panelled, lambda: "No variable holds this watch any more" in card(panelled))
        assert panelled.widget(description="Start")["disabled"] is True

    def test_away_from_this_machine_it_offers_what_is_polite(self, panelled: Kernel) -> None:
        panelled.run(
            "%donutwork sandbox stop\nimport os\n"
            f"os.environ.update(DONUTWORK_API_KEY={KEY!r}, DONUTWORK_BASE_URL='https://api.invalid')"
        )
        panelled.run("w = %donutwork watch -r 3 -t 200ms")
        assert panelled.widget(description="Rate")["_options_labels"] == [
            *("0.2/s", "0.5/s", "1/s", "2/s", "3/s", "5/s", "10/s", "20/s")
        ]
        panelled.run("w.change(rate_hz=None, http='auto')")
        assert panelled.value("(w.series.plan.rate_hz, '--allow-load' in w.problem or not w.running)") == "(3.0, True)"

    def test_no_key_is_in_anything_that_is_shown(self, panelled: Kernel) -> None:
        panelled.run("from donutwork_magics.client.target import SWITCH")
        key = ast.literal_eval(panelled.value("SWITCH.sandbox.key_for()"))
        started = panelled.run("w = %donutwork watch -r 50\nw")
        until(panelled, "len(w.df) > 3")
        panelled.run("w.stop()")
        assert key not in str(panelled.widgets) + started.text + panelled.value("(w, vars(w), w.df.attrs)")


def _choice(kernel: Kernel, menu: str) -> str:
    widget = kernel.widget(description=menu)
    labels, index = widget["_options_labels"], widget["index"]
    assert isinstance(labels, list)
    assert isinstance(index, int)
    return str(labels[index])


def test_a_notebook_that_is_run_without_a_browser_holds_the_card(tmp_path: Path) -> None:
    cells = [
        "%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;",
        "w = %donutwork watch -r 50",
        "assert not w.wait(1)\nw.stop()\nassert len(w.df) > 10",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}, timeout=60).execute()
    output, line = notebook.cells[1].outputs
    assert re.fullmatch(f"Watch of the sandbox, {MOMENT} to {MOMENT}.", line.data["text/plain"])
    assert VIEW not in output.data
    assert "pings, no errors" in output.data[HTML]


def test_a_watch_in_a_terminal_is_a_line(tmp_path: Path) -> None:
    """A plain IPython shell has no panel."""
    with Kernel(tmp_path) as kernel:
        cell = kernel.run(
            "from IPython.core.interactiveshell import InteractiveShell as Shell\n"
            "from IPython.utils.capture import capture_output\n"
            "shell = Shell()\n"
            "shell.run_line_magic('load_ext', 'donutwork_magics')\n"
            "with capture_output() as shown:\n"
            "    shell.run_line_magic('donutwork', 'sandbox start')\n"
            "    w = shell.run_line_magic('donutwork', 'watch -r 50')\n"
            "w.wait(0.3)\n"
            "line = repr(w)\n"
            "with capture_output() as stopped: w.stop(); w.stop()\n"
            "shell.run_line_magic('unload_ext', 'donutwork_magics')\n"
        )
        assert cell.ok, cell.traceback
        assert kernel.value("(shown.outputs, shown.stdout)") == "([], '')"
        [card] = ast.literal_eval(kernel.value("[output.data['text/plain'] for output in stopped.outputs]"))
        assert re.match(r"[✓⚠] Pings: \d+ pings, no errors \[sandbox\]", card)
        assert kernel.value("line.startswith('<Watch running: 127.0.0.1:') and '\\n' not in line") == "True"


RAISING_AS_IT_FREEZES = """
import signal
def handler(number, frame): raise OSError(5, 'mine')
def freeze(*, in_cell):
    if in_cell:
        signal.raise_signal(signal.SIGINT)
    frozen(in_cell=in_cell)
w.start()
frozen, w._panel.freeze = w._panel.freeze, freeze
before = signal.signal(signal.SIGINT, handler)
try:
    {stop}
finally:
    signal.signal(signal.SIGINT, before)
"""


@pytest.mark.parametrize("stop", ["w.stop()", "get_ipython().run_line_magic('donutwork', 'watch stop')"])
def test_what_a_signal_handler_raises_while_it_stops_is_no_fault_of_the_panel(sandboxed: Kernel, stop: str) -> None:
    sandboxed.run("w = %donutwork watch -r 50\nw.stop()")
    cell = sandboxed.run(RAISING_AS_IT_FREEZES.format(stop=stop))
    assert (cell.ename, cell.evalue) == ("OSError", "[Errno 5] mine")
    assert sandboxed.value("(w.state, w.problem)") == "('stopped', '')"


SLOW_TO_STOP = """
wait = type(w).wait
def slowly(watch, *args):
    import time
    time.sleep(3)
    return wait(watch, *args)
type(w).wait = slowly
"""


def test_an_interrupt_while_watches_stop_says_that_they_keep_their_rows(sandboxed: Kernel) -> None:
    sandboxed.run("w = %donutwork watch -r 50")
    until(sandboxed, "len(w.df) > 3")
    sandboxed.run(SLOW_TO_STOP)
    cell = sandboxed.run("%donutwork watch stop", interrupt_after_s=0.5)
    sandboxed.run("type(w).wait = wait")
    assert (cell.ename, cell.evalue) == ("Interrupted", "every watch stops all the same, and keeps its rows.")
    assert sandboxed.value("(w.state, len(w.df) > 3)") == "('stopped', True)"
