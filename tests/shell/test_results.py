"""Given a command, the cell has this value, this display, and these variables."""

from __future__ import annotations

import pytest

from donutwork_magics.columns import COLUMNS
from tests.support.kernel import ABOUT, Cell, Kernel

HTML = "text/html"


def shows_a_card(bundle: dict[str, object]) -> bool:
    return "Ping" in str(bundle.get("text/plain")) and HTML in bundle


class TestSingleCall:
    def test_its_value_is_the_out_and_looks_like_a_card(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%donutwork ping")
        assert shows_a_card(cell.result)
        assert set(cell.result) == {"text/plain", HTML}
        assert not cell.displays

    @pytest.mark.parametrize(
        "code",
        ["x = %donutwork ping", "x = %donutwork ping;", "d = {}\nd['k'] = %donutwork ping", "%donutwork ping;"],
    )
    def test_assignment_and_semicolon_hide_it(self, sandboxed: Kernel, code: str) -> None:
        cell = sandboxed.run(code)
        assert cell.ok
        assert not cell.result
        assert not cell.displays

    def test_a_semicolon_does_not_take_the_value_from_an_assignment(self, sandboxed: Kernel) -> None:
        sandboxed.run("x = None\nx = %donutwork ping;")
        assert sandboxed.value("type(x).__name__") == "'Ping'"

    def test_a_semicolon_hides_only_its_own_value(self, sandboxed: Kernel) -> None:
        assert sandboxed.run("%donutwork ping;\n1 + 1").result["text/plain"] == "2"

    def test_out_stores_it_and_shows_the_card_without_an_out(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%donutwork connection -o seen")
        assert not cell.result
        assert len(cell.displays) == 1
        assert sandboxed.value("seen.api_version") == "'2026-02-01'"

    @pytest.mark.parametrize("command", ["ping", "connection", "ping -n 2 -r 100", "check", "watch"])
    def test_out_and_an_assignment_give_both(self, sandboxed: Kernel, command: str) -> None:
        cell = sandboxed.run(f"a = %donutwork {command} -o b")
        assert cell.ok, cell.text
        assert not cell.result
        assert sandboxed.value("a is b and a is not None") == "True"
        sandboxed.run("%donutwork watch stop")

    def test_a_comment_may_follow_a_command(self, sandboxed: Kernel) -> None:
        assert sandboxed.run("commented = %donutwork ping -n 2 -r 100   # it's two; not more").ok
        assert sandboxed.value("len(commented)") == "2"
        assert sandboxed.run("%%donutwork -n 2 -r 100 -o two  # of each\na: ping  # one: more\nb: ping").ok
        assert sandboxed.value("list(two['label'].unique())") == "['a', 'b']"

    def test_the_last_one_is_in_donutwork(self, sandboxed: Kernel) -> None:
        sandboxed.run("y = %donutwork ping")
        assert sandboxed.value("_donutwork is y") == "True"

    def test_its_fields_are_the_documented_ones(self, sandboxed: Kernel) -> None:
        sandboxed.run("p = %donutwork ping\nc = %donutwork connection")
        assert sandboxed.value("(p.status, p.env, p.rrt.endswith(' ms'), p.rrt_ms >= 0)") == (
            "('success', 'staging', True, True)"
        )
        assert sandboxed.value("(c.ipv4, c.ipv6, c.env, c.protocol)") == "('127.0.0.1', None, 'staging', 'HTTP1.1')"
        assert sandboxed.value("c.user_agent.startswith('donutwork_magics/')") == "True"
        assert sandboxed.value("p.raw['RRT'] == p.rrt and p.timing['duration_ms'] > 0") == "True"

    def test_the_environment_that_is_asked_for_answers(self, sandboxed: Kernel) -> None:
        sandboxed.run("p = %donutwork ping --env production")
        assert sandboxed.value("p.env") == "'production'"

    def test_a_variable_and_an_expression_stand_for_their_values(self, sandboxed: Kernel) -> None:
        sandboxed.run("n = 3\nname = 'expanded'")
        assert sandboxed.run("%donutwork ping -n $n -r {20 * 5} -q -o {name}").ok
        assert sandboxed.value("len(expanded)") == "3"


class TestSeries:
    def test_the_dataframe_is_the_out_and_the_card_is_displayed(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%donutwork ping -n 5 -r 100")
        assert f"{len(COLUMNS)} columns" in cell.result[HTML]
        assert [shows_a_card(bundle) for bundle in cell.displays] == [True]
        assert "widget" not in str(cell.displays[0].keys())

    def test_one_is_a_series_too(self, sandboxed: Kernel) -> None:
        sandboxed.run("one = %donutwork ping -n 1")
        assert sandboxed.value("len(one)") == "1"

    def test_quiet_shows_nothing_and_still_returns(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("quiet = %donutwork ping -n 5 -r 100 -q")
        assert not cell.displays
        assert not cell.stdout
        assert sandboxed.value("len(quiet)") == "5"

    def test_out_stores_it_without_an_out(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%donutwork ping -n 5 -r 100 -o stored")
        assert not cell.result
        assert len(cell.displays) == 1
        assert sandboxed.value("len(stored)") == "5"

    def test_a_duration_ends_it(self, sandboxed: Kernel) -> None:
        sandboxed.run("d = %donutwork ping -d 300ms -r 20 -q")
        assert sandboxed.value("len(d)") == "6"

    def test_warm_up_rows_are_more_rows(self, sandboxed: Kernel) -> None:
        sandboxed.run("w = %donutwork ping -n 5 -w 2 -r 100 -q")
        assert sandboxed.value("w.warmup.tolist()") == "[True, True, False, False, False, False, False]"

    def test_cold_and_warm(self, sandboxed: Kernel) -> None:
        sandboxed.run("c = %donutwork ping -n 4 -r 100 -q --cold\nw = %donutwork ping -n 4 -r 100 -q")
        assert sandboxed.value("(c.reused.sum(), w.reused.sum())") in {"(0, 3)", "(np.int64(0), np.int64(3))"}

    def test_workers_have_a_connection_each(self, sandboxed: Kernel) -> None:
        sandboxed.run("many = %donutwork ping -n 40 -c 4 -r max -q")
        assert sandboxed.value("(len(many), many.seq.tolist() == list(range(40)), int((~many.reused).sum()) <= 4)") == (
            "(40, True, True)"
        )
        assert sandboxed.value("bool(many.lag_ms.isna().all())") == "True"

    def test_the_accessor_shows_the_card_again(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("df = %donutwork ping -n 5 -r 100 -q\ndf.donutwork")
        assert shows_a_card(cell.result)


class TestCell:
    def test_several_pings_become_one_long_dataframe(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%%donutwork -n 4 -r 100 -o both\n# an experiment\nwarm: ping\n\ncold: ping --cold -n 2")
        assert cell.ok
        assert not cell.result
        assert sandboxed.value("both.label.tolist()") == "['warm', 'warm', 'warm', 'warm', 'cold', 'cold']"
        assert sandboxed.value("both.seq.tolist()") == "[0, 1, 2, 3, 4, 5]"
        (card,) = cell.displays
        assert "warm" in card["text/plain"]
        assert "cold" in card["text/plain"]

    def test_one_command_has_its_own_value(self, sandboxed: Kernel) -> None:
        assert "Connection" in sandboxed.run("%%donutwork\nconnection").result["text/plain"]

    def test_a_mixture_is_a_dict_by_label(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%%donutwork -o mixed\nwho: connection\nfast: ping -n 3 -r 100")
        assert cell.ok
        assert sandboxed.value("{k: type(v).__name__ for k, v in mixed.items()}") == (
            "{'who': 'Connection', 'fast': 'DataFrame'}"
        )

    def test_lines_store_their_own_too(self, sandboxed: Kernel) -> None:
        sandboxed.run("%%donutwork -n 3 -r 100\na: ping -o first\nb: ping;")
        assert sandboxed.value("(len(first), list(first.label.unique()), len(_donutwork))") == "(3, ['a'], 6)"

    def test_variables_are_expanded_in_the_body(self, sandboxed: Kernel) -> None:
        sandboxed.run("many = 2")
        sandboxed.run("%%donutwork -o expanded\nping -n $many -r {50 * 2} -q")
        assert sandboxed.value("len(expanded)") == "2"


class TestConfig:
    @pytest.fixture(autouse=True)
    def _reset(self, sandboxed: Kernel) -> None:
        sandboxed.run("%config DonutworkMagics.rate = None\n%config DonutworkMagics.warmup = None")

    def test_a_default_is_used(self, sandboxed: Kernel) -> None:
        sandboxed.run("%config DonutworkMagics.rate = 200\n%config DonutworkMagics.warmup = 2")
        sandboxed.run("df = %donutwork ping -n 3 -q")
        plan = f"{ABOUT}(df)['plan'][0]"
        assert sandboxed.value(f"({plan}['rate_hz'], len(df))") in {"(200, 5)", "(200.0, 5)"}

    def test_a_bad_one_is_an_error_at_the_next_command(self, sandboxed: Kernel) -> None:
        sandboxed.run("%config DonutworkMagics.rate = 'quickly'")
        cell = sandboxed.run("%donutwork ping -n 2")
        sandboxed.run("%config DonutworkMagics.rate = None")
        assert "DonutworkMagics.rate" in cell.stderr
        assert "quickly" not in cell.stderr


def test_widget_shows_a_live_card(sandboxed: Kernel) -> None:
    cell: Cell = sandboxed.run("%donutwork ping --widget")
    assert "application/vnd.jupyter.widget-view+json" in cell.displays[0]
    assert not cell.result
    sandboxed.run("p = %donutwork ping --widget")
    assert sandboxed.value("p.status") == "'success'"


def test_help_is_the_text_of_the_question_mark(sandboxed: Kernel) -> None:
    shown = sandboxed.run("%donutwork help")
    assert "%donutwork ping" in shown.stdout
    assert not shown.result
    assert shown.stdout.splitlines()[0] in sandboxed.value("get_ipython().find_line_magic('donutwork').__doc__")
    assert "--count" in sandboxed.run("%donutwork help ping").stdout


def test_the_buttons_of_a_live_card_leave_the_variable_of_the_call_alone(sandboxed: Kernel) -> None:
    sandboxed.run("from donutwork_magics.display import widgets as module; made, _made = [], module.CallWidget")
    sandboxed.run("module.CallWidget = lambda *a, **k: made.append(k) or _made(*a, **k)")
    sandboxed.run("%donutwork ping --widget -o kept")
    sandboxed.run("module.CallWidget = _made; made[0]['measure']()")
    assert sandboxed.value("(type(kept).__name__, len(_donutwork))") == "('Ping', 50)"


class TestHelp:
    @pytest.mark.parametrize("line", ["help ping", "ping -h", "ping -n 5 --help  # how?"])
    def test_a_command_explains_itself(self, sandboxed: Kernel, line: str) -> None:
        cell = sandboxed.run(f"%donutwork {line}")
        assert cell.ok
        assert cell.stdout.startswith("%donutwork ping [options]\n")
        assert not cell.result

    def test_the_version_is_what_a_report_needs(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%donutwork version")
        assert cell.stdout.startswith("donutwork_magics ")
        assert "pandas " in cell.stdout
        assert not cell.result

    def test_config_shows_what_may_be_set_and_what_is(self, sandboxed: Kernel) -> None:
        sandboxed.run("%config DonutworkMagics.rate = 10\n%config DonutworkMagics.env = 'sk_live_4f9aZ7Qp21xW'")
        cell = sandboxed.run("%config DonutworkMagics")
        sandboxed.run("%config DonutworkMagics.rate = None\n%config DonutworkMagics.env = None")
        assert "  rate = 10  " in cell.stdout
        assert "  env = (not valid)  " in cell.stdout
        assert "  timeout  " in cell.stdout
        assert "built in: 10s" in cell.stdout
        assert "sk_live" not in cell.stdout
