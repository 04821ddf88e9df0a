"""Given a Tab in a cell, the front end is offered what the grammar has there, and nothing else."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import IPython.core.completer
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from IPython.terminal.ptutils import IPythonPTCompleter
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from traitlets.config import Config

from donutwork_magics.grammar import options as o
from donutwork_magics.shell import completer
from tests.shell.conftest import KEY
from tests.support.kernel import Kernel

COMMANDS = list(o.SPECS)


@pytest.fixture(scope="module")
def typing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with a key and three variables of the user's."""
    with Kernel(tmp_path_factory.mktemp("kernel"), {"DONUTWORK_API_KEY": KEY}) as kernel:
        assert kernel.run("import os\n%load_ext donutwork_magics\ndf = 1; data = 2; _own = 3").ok
        yield kernel


class TestThroughTheKernel:
    @pytest.mark.parametrize(
        ("code", "replaced", "matches"),
        [
            ("%donutwork ", "", COMMANDS),
            ("%donutwork pi", "pi", ["ping"]),
            ("x = %donutwork pi", "pi", ["ping"]),
            ("x = 1\nd['k'] = %donutwork pi", "pi", ["ping"]),
            ("for _ in range(3):\n    a, b = %donutwork check --str", "--str", ["--strict"]),
            ("%donutwork ping --co", "--co", ["--count", "--concurrency", "--cold"]),
            ("%donutwork ping --http ", "", ["auto", "1.1", "2", "3"]),
            ("%donutwork ping --http=a", "a", ["auto"]),
            ("%donutwork ping --env p", "p", ["production"]),
            ("%donutwork ping -r ", "", ["max"]),
            ("%donutwork sandbox sta", "sta", ["start", "status"]),
            ("%donutwork sandbox --fault ra", "ra", ["rate_limited:"]),
            ("%donutwork help c", "c", ["connection", "check", "columns", "card"]),
            ("%donutwork check -o d", "d", ["data", "df"]),
            ("%donutwork check -o ", "", ["data", "df"]),
            ("%donutwork check -o _o", "_o", ["_own"]),
            ("%%donutwork --http ", "", ["auto", "1.1", "2", "3"]),
            ("\n  \n%%donutwork --ipv", "--ipv", ["--ipv4", "--ipv6"]),
            ("%%donutwork -n 5\nco", "co", ["connection"]),
            ("%%donutwork -n 5\n# a comment\ncold: pi", "pi", ["ping"]),
            ("%%donutwork -n 5\ncold: ping --col", "--col", ["--cold"]),
            ("%%donutwork\nping -o d", "d", ["data", "df"]),
        ],
    )
    def test_what_may_come_next_is_offered(self, typing: Kernel, code: str, replaced: str, matches: list[str]) -> None:
        assert typing.complete(code) == matches
        assert typing.completed == replaced

    def test_within_a_cell(self, typing: Kernel) -> None:
        code = "%%donutwork -n 5\ncold: pi\nwarm: ping"
        assert typing.complete(code, code.index("pi\n") + 2) == ["ping"]
        assert typing.completed == "pi"

    @pytest.mark.parametrize(
        "code",
        ["%donutwork ping -n ", "%donutwork ping -t 1", "%donutwork zzz d", "%donutwork check d", "%%donutwork\n# d"],
    )
    def test_where_nothing_may_come_nothing_is_offered(self, typing: Kernel, code: str) -> None:
        assert typing.complete(code) == []

    def test_nothing_of_python_is_offered_beside_it(self, typing: Kernel) -> None:
        typing.run("ping_me = 1; starter = 2")
        assert typing.complete("%donutwork pi") == ["ping"]
        assert typing.complete("%donutwork sandbox star") == ["start"]

    @pytest.mark.parametrize(
        ("code", "among"), [("dat", "data"), ("x = dat", "data"), ("%donut", "%donutwork"), ("%%tim", "%%timeit")]
    )
    def test_elsewhere_everything_is_as_ever(self, typing: Kernel, code: str, among: str) -> None:
        assert among in typing.complete(code)

    def test_config_is_ipythons_own(self, typing: Kernel) -> None:
        assert "DonutworkMagics.timeout" in " ".join(typing.complete("%config DonutworkMagics.t"))

    def test_a_key_is_never_offered(self, typing: Kernel) -> None:
        typing.run("secret = os.environ['DONUTWORK_API_KEY']")
        for code in (f"%donutwork ping -o {KEY[:4]}", f"%donutwork {KEY[:4]}", "%donutwork ping -o ", "%donutwork "):
            assert not [match for match in typing.complete(code) if KEY in match]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pseudo-terminal on Windows")
def test_a_tab_in_a_terminal_completes_the_word(tmp_path: Path) -> None:
    import pexpect  # type: ignore[import-untyped]

    environ = {**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    options = [
        "-m",
        "IPython",
        "--no-banner",
        "--colors=nocolor",
        "--ext=donutwork_magics",
        "--HistoryManager.enabled=0",
    ]
    terminal = pexpect.spawn(sys.executable, options, env=environ, encoding="utf-8", timeout=60)
    try:
        terminal.expect_exact("In [1]:")
        terminal.send("y = %donutwork he\t")
        # What is drawn is what was not there yet.
        terminal.expect_exact("lp")
        terminal.send(" sand\t")
        terminal.expect_exact("box")
        terminal.send("\r")
        terminal.expect_exact("The local stand-in for the API")
    finally:
        terminal.close(force=True)


class TestInATerminal:
    @pytest.fixture
    def shell(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "results").mkdir()
        for name in ("rows.jsonl", "rows two.jsonl", "it's.csv", "both'\".csv", ".hidden", "results/a b.jsonl"):
            (tmp_path / name).touch()
        shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
        shell.run_line_magic("load_ext", "donutwork_magics")
        yield shell
        shell.run_line_magic("unload_ext", "donutwork_magics")
        InteractiveShell.clear_instance()
        atexit.unregister(shell.atexit_operations)
        shell.atexit_operations()

    def test_prompt_toolkit_gets_the_same(self, shell: InteractiveShell) -> None:
        made = IPythonPTCompleter(ipy_completer=shell.Completer)

        def offered(text: str) -> list[tuple[str, int]]:
            event = CompleteEvent(completion_requested=True)
            return [(each.text, each.start_position) for each in made.get_completions(Document(text), event)]

        assert offered("x = %donutwork pi") == [("ping", -2)]
        assert offered("%%donutwork -n 5\ncold: ping --col") == [("--cold", -5)]
        assert offered("%donutwork ping -n ") == []

    def test_the_older_call_of_one_line_gets_the_same(self, shell: InteractiveShell) -> None:
        with pytest.warns(PendingDeprecationWarning):
            assert shell.complete("", "x = %donutwork pi", 17) == ("pi", ["ping"])

    def test_unloading_ends_it_and_loading_twice_does_not_double_it(self, shell: InteractiveShell) -> None:
        for magic in ("load_ext", "reload_ext"):
            shell.run_line_magic(magic, "donutwork_magics")
        assert len(shell.Completer.custom_matchers) == 1
        shell.run_line_magic("unload_ext", "donutwork_magics")
        assert shell.Completer.custom_matchers == []

    @pytest.mark.parametrize("lost", ["context_matcher", "SimpleCompletion", "custom_matchers"])
    def test_without_the_provisional_api_all_else_works(
        self, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, lost: str
    ) -> None:
        shell.run_line_magic("unload_ext", "donutwork_magics")
        matchers = shell.Completer.custom_matchers
        monkeypatch.delattr(shell.Completer if lost == "custom_matchers" else IPython.core.completer, lost)
        shell.run_line_magic("load_ext", "donutwork_magics")
        assert shell.run_cell("%donutwork", silent=True).success
        shell.run_line_magic("unload_ext", "donutwork_magics")
        assert matchers == []

    @pytest.mark.parametrize(
        ("typed", "offered"),
        [
            ("r", ["results/", '"rows two.jsonl"', "rows.jsonl"]),
            ("rows.", ["rows.jsonl"]),
            ('"rows', ['"rows two.jsonl"', '"rows.jsonl"']),
            ("'rows t", ["'rows two.jsonl'"]),
            ("results/", ['"results/a b.jsonl"']),
            ("it", ['"it\'s.csv"']),
            ("both", []),
            (".h", [".hidden"]),
            ("nowhere/", []),
        ],
    )
    def test_file_names_stand_as_the_command_line_wants_them(
        self, shell: InteractiveShell, typed: str, offered: list[str]
    ) -> None:
        with provisionalcompleter():
            code = f"df = %donutwork load {typed}"
            found = list(shell.Completer.completions(code, len(code)))
        assert [each.text for each in found] == offered
        assert {code[each.start : each.end] for each in found} <= {typed}

    def test_what_the_user_set_for_all_matchers_still_holds(self, shell: InteractiveShell) -> None:
        shell.Completer.suppress_competing_matchers = {"donutwork": False}
        with provisionalcompleter():
            found = {each.text for each in shell.Completer.completions("%donutwork pi", 13)}
        assert {"ping", "%pinfo"} <= found

    def test_a_shell_without_a_completer_is_let_be(self, shell: InteractiveShell) -> None:
        class Bare:
            pass

        assert completer.add_matcher(Bare()) is None  # type: ignore[arg-type]
        completer.remove_matcher(Bare(), None)  # type: ignore[arg-type]
