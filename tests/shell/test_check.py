"""Given ``%donutwork check``, the cell shows the report, and fails only where it is to be strict."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Server, answer, answer_api, hang, reply
from tests.shell.conftest import KEY
from tests.shell.watching import kill_sandbox
from tests.support.kernel import Kernel


def text(bundle: dict[str, object]) -> str:
    return str(bundle["text/plain"])


class TestResult:
    def test_it_is_the_out_and_a_card(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%donutwork check")
        assert cell.ok
        assert text(cell.result).startswith("✓ Check: ready [sandbox] [staging]")
        assert set(cell.result) == {"text/plain", "text/html"}
        assert not cell.displays

    def test_it_is_a_value(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("report = %donutwork check --env production -t 3s --http 1.1 --ipv4")
        assert cell.ok
        assert not cell.result
        assert sandboxed.value("(report.ok, report.env, _donutwork is report)") == "(True, 'production', True)"

    def test_a_semicolon_hides_it(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%donutwork check;")
        assert cell.ok
        assert not cell.result
        assert not cell.displays

    def test_out_stores_it_and_shows_it(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%donutwork check -o seen")
        assert not cell.result
        assert text(cell.displays[0]).startswith("✓ Check")
        assert sandboxed.value("seen.ok") == "True"

    def test_strict_makes_no_difference_where_all_is_right(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%donutwork check --strict")
        assert cell.ok
        assert text(cell.result).startswith("✓ Check: ready")

    def test_a_live_card_by_default_is_not_for_it(self, sandboxed: Kernel) -> None:
        sandboxed.run("%config DonutworkMagics.widget = True\n%config DonutworkMagics.env = 'production'")
        cell = sandboxed.run("%donutwork check")
        sandboxed.run("%config DonutworkMagics.widget = None\n%config DonutworkMagics.env = None")
        assert text(cell.result).startswith("✓ Check: ready [sandbox] [production]")

    def test_http2_is_refused_by_the_sandbox_as_for_a_ping(self, sandboxed: Kernel) -> None:
        cell = sandboxed.run("%donutwork check --http 2")
        assert cell.ename == "SettingsError"

    def test_from_a_script(self, sandboxed: Kernel) -> None:
        sandboxed.run("from donutwork_magics import check, CheckReport")
        assert sandboxed.value("isinstance(check(), CheckReport)") == "True"


class TestFailure:
    @pytest.fixture
    def refusing(self, keyed: Kernel) -> Iterator[Kernel]:
        refusal = reply(b'{"error": "Invalid token", "was": "%s"}' % KEY.encode(), f"401 {KEY}")
        with Server(answer(refusal)) as server:
            keyed.run(f"os.environ['DONUTWORK_BASE_URL'] = {server.url!r}")
            yield keyed

    def test_it_does_not_fail_the_cell(self, refusing: Kernel) -> None:
        cell = refusing.run("%donutwork check")
        assert cell.ok
        assert text(cell.result).startswith("✗ Check: failed at Key accepted")

    @pytest.mark.parametrize("mode", ["Context", "Verbose", "Minimal"])
    def test_strict_shows_and_keeps_it_and_fails_in_one_line(self, refusing: Kernel, mode: str) -> None:
        refusing.run(f"%xmode {mode}")
        cell = refusing.run("%donutwork check --strict")
        refusing.run("%xmode Context")
        assert cell.ename == "DonutworkError"
        assert cell.traceback == f"DonutworkError: {cell.evalue}"
        assert cell.evalue.startswith("The check failed at Key accepted: Invalid token")
        assert "DONUTWORK_API_KEY" in cell.evalue
        assert "\n" not in cell.evalue
        assert len(cell.displays) == 1
        assert text(cell.displays[0]).startswith("✗ Check")
        assert refusing.value("_donutwork.ok") == "False"
        assert KEY not in cell.text

    def test_strict_stores_it_too(self, refusing: Kernel) -> None:
        cell = refusing.run("kept = None\n%donutwork check --strict -o kept")
        assert cell.ename == "DonutworkError"
        assert len(cell.displays) == 1
        assert refusing.value("(kept.ok, _donutwork is kept)") == "(False, True)"

    def test_strict_names_the_outcome(self, refusing: Kernel) -> None:
        cell = refusing.run(
            "try:\n    %donutwork check --strict\nexcept Exception as e:\n    print(e.kind, e.__context__)"
        )
        assert cell.stdout.split() == ["unauthorized", "None"]

    def test_without_a_key_it_says_how_to_set_one(self, keyed: Kernel) -> None:
        keyed.run("os.environ['DONUTWORK_BASE_URL'] = 'http://127.0.0.1:9'; key = os.environ.pop('DONUTWORK_API_KEY')")
        cell = keyed.run("%donutwork check")
        strict = keyed.run("%donutwork check --strict")
        keyed.run("os.environ['DONUTWORK_API_KEY'] = key")
        assert cell.ok
        assert "getpass" in text(cell.result)
        assert strict.ename == "DonutworkError"
        assert "1 more in the report." in strict.evalue

    def test_an_interrupt_is_one_line(self, keyed: Kernel) -> None:
        with Server(hang) as server:
            keyed.run(f"os.environ['DONUTWORK_BASE_URL'] = {server.url!r}")
            cell = keyed.run("%donutwork check", interrupt_after_s=0.5)
        assert cell.ename == "Interrupted"
        assert len(cell.traceback.splitlines()) == 1

    def test_a_sandbox_that_died_is_named_and_nothing_goes_to_the_api(self, keyed: Kernel) -> None:
        asked: list[str] = []
        with Server(answer_api(reply(), reply(), asked)) as server:
            keyed.run(f"os.environ['DONUTWORK_BASE_URL'] = {server.url!r}\n%donutwork sandbox start;")
            kill_sandbox(keyed)
            cell = keyed.run("%donutwork check")
            keyed.run("%donutwork sandbox stop;")
        assert cell.ename == "SettingsError"
        assert "sandbox has ended" in cell.evalue
        assert (asked, server.connections) == ([], 0)


def test_a_sandbox_with_faults(sandboxed: Kernel) -> None:
    sandboxed.run("%donutwork sandbox start --fault forbidden:1;")
    cell = sandboxed.run("%donutwork check")
    assert sandboxed.run("%donutwork sandbox start --seed 1;").ok
    assert text(cell.result).startswith("✗ Check: failed at ping:read, connection:read [sandbox]")
    assert "Ask for it in the Donutwork dashboard" in " ".join(text(cell.result).split())
