"""IPython in a terminal, and `jupyter console`: typed lines under a pseudo-terminal of 80 columns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from donutwork_magics.units import width

if sys.platform == "win32":
    pytest.skip("there is no pseudo-terminal on Windows", allow_module_level=True)

import pexpect  # type: ignore[import-untyped]

COLUMNS = 80
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = r"(?:\x1b\[[0-9;]*m)*"
IPYTHON = ("IPython", "--no-banner", "--colors=nocolor", "--HistoryManager.enabled=0")
CONSOLE = ("jupyter_console", "--kernel=python3", "--simple-prompt")


class Terminal:
    """A shell in a pseudo-terminal."""

    def __init__(self, process: pexpect.spawn) -> None:
        self.process = process
        self._number = 0

    def wait_for_prompt(self) -> str:
        """Return what was written up to the next prompt, without escapes."""
        self._number += 1
        self.process.expect(rf"In \[{COLOURS}{self._number}{COLOURS}\]:")
        return ESCAPES.sub("", self.process.before)

    def run(self, line: str) -> str:
        """Type a line, and return what came of it."""
        self.process.send(f"{line}\r")
        return self.wait_for_prompt()


@pytest.fixture(
    scope="module",
    params=[(IPYTHON, "xterm"), (IPYTHON, "dumb"), (CONSOLE, "xterm")],
    ids=["xterm", "dumb", "console"],
)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A shell that has a sandbox."""
    module, term = request.param
    home = str(tmp_path_factory.mktemp("ipython"))
    environ = {**os.environ, "IPYTHONDIR": home, "TERM": term, "PROMPT_TOOLKIT_NO_CPR": "1"}
    environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    # With it a kernel leaves the terminal as its own output, and knows a width that it does not know otherwise.
    environ.pop("PYTEST_CURRENT_TEST", None)
    environ.pop("COLUMNS", None)
    process = pexpect.spawn(
        sys.executable, ["-m", *module], env=environ, encoding="utf-8", timeout=60, dimensions=(50, COLUMNS)
    )
    try:
        shell = Terminal(process)
        shell.wait_for_prompt()
        shell.run("%load_ext donutwork_magics")
        shell.run("%donutwork sandbox start --seed 1;")
        yield shell
        process.send("exit\r")
        process.expect(pexpect.EOF)
    finally:
        process.close(force=True)


def lines(text: str, columns: int = sys.maxsize) -> list[str]:
    """What is left of the lines of a terminal once their parts were written over, and the too long ones wrapped."""
    shown = []
    for line in text.replace("\r\r\n", "\n").replace("\r\n", "\n").split("\n"):
        kept = ""
        for part in line.split("\r"):
            rest = part
            while len(rest) > columns:
                shown.append(rest[:columns])
                kept, rest = "", rest[columns:]
            kept = rest + kept[len(rest) :]
        shown.append(kept.rstrip())
    return shown


def test_a_terminal_gets_a_line_of_progress_and_cards_as_text(shell: Terminal) -> None:
    card = shell.run("%donutwork ping")
    assert "✓ Ping: success [sandbox]" in card
    assert "VBox" not in (widget := shell.run("%donutwork ping --widget"))
    assert "✓ Ping: success [sandbox]" in widget

    series = shell.run("df = %donutwork ping -n 20 -r 20")
    done = re.findall(r"\rping +\d+%\|[ #█▉▊▋▌▍▎▏]+\| (\d+)/20, ", series)
    assert done[:1] == ["0"]
    assert len(set(done)) > 3
    left = lines(series)
    assert [line for line in left if line[1:].startswith(" Pings: 20 pings, no errors [sandbox]")]
    assert not [line for line in left if "%|" in line]
    assert max(map(width, lines(card)[1:] + left[1:])) <= COLUMNS

    assert "✓ Check: ready [sandbox]" in shell.run("%donutwork check")
    assert "Commands\r\n" in shell.run("%donutwork help")
    shell.run("w = %donutwork watch -r 20")
    line = r"<Watch running: \S+ \(sandbox\), 20.0/s planned, \d+ pings?, 0 errors, as of [0-9:]+ UTC>"
    assert re.search(line, shell.run("w"))
    shell.run("w.stop()")
    assert "<Watch stopped: " in shell.run("w")


def test_control_c_keeps_the_rows_and_returns_to_the_prompt(shell: Terminal) -> None:
    shell.process.send("df = %donutwork ping -n 2000 -r 20\r")
    shell.process.expect(r"\d+/2000, [\d.]+/s")
    begun = shell.process.before.rpartition("\r")[2] + shell.process.after
    shell.process.sendintr()
    text = begun + shell.wait_for_prompt()
    [kept] = re.findall(r"Interrupted: (\d+) rows? (?:is|are) kept", text)
    assert "^C" in text
    left = lines(text, COLUMNS)
    assert left[0].startswith("⚠ Pings: interrupted: ")
    assert not [line for line in left if "%|" in line or "^C" in line]
    assert "Traceback" not in text
    assert re.search(rf"\b{kept}\r\n", shell.run("len(_donutwork)"))


def test_in_a_narrow_terminal_the_line_does_not_wrap(shell: Terminal) -> None:
    shell.process.setwinsize(50, 60)
    frames = re.findall(r"\r(ping +\d+%\|[^\r\n]*)", shell.run("df = %donutwork ping -n 5 -r 20"))
    shell.process.setwinsize(50, COLUMNS)
    assert frames
    assert max(map(width, frames)) < 60


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_pipe_of_an_old_code_page_takes_the_cards_of_all_lines(encoding: str, tmp_path: Path) -> None:
    """`ipython x.ipy > out.txt` on Windows; there a page that lacks a character fails the whole print."""
    script = tmp_path / "x.ipy"
    script.write_text(
        "%load_ext donutwork_magics\n"
        "%donutwork sandbox start --seed 1 --latency 5ms;\n"
        'cell = "a: ping -n 5 -r 50\\nb: connection\\nc: ping -n 5 -r 50"\n'
        'get_ipython().run_cell_magic("donutwork", "-o kept", cell)\n'
        "print(sorted(kept), kept['a'].donutwork)\n"
        "%donutwork ping -n 5 -r 50 --expect max<1us\n",
        encoding="utf-8",
    )
    environ = {**os.environ, "IPYTHONDIR": str(tmp_path), "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-m", *IPYTHON, str(script)], env=environ, capture_output=True, timeout=120, check=False
    )
    text = done.stdout.decode(encoding)
    assert (done.returncode, done.stderr) == (1, b""), text
    # On a machine under load a card has a doubt.
    assert [line[2:13] for line in text.splitlines() if line.startswith(("+ ", "! "))] == [
        "Pings: a: 5",
        "Connection:",
        "Pings: c: 5",
    ]
    assert re.search(r"^SeriesError: Not as expected: max<1[uµ]s fails: ", text, re.MULTILINE)
    assert re.search(r"^\['a', 'b', 'c'\] [+!] Pings: a: 5 pings", text, re.MULTILINE)
    assert re.search(r"send +[0-9.]+ [uµ]s +0\.[0-9] %", text)
