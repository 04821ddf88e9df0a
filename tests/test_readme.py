"""What the README says is so: its commands, its links, its examples, and the output that it shows."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import donutwork_magics
from donutwork_magics.analysis.intervals import pings_needed
from donutwork_magics.client.key import KEY_VARIABLES
from donutwork_magics.client.settings import CA_BUNDLE_VARIABLE, DEFAULT_BASE_URL, variables_for
from donutwork_magics.columns import COLUMNS
from donutwork_magics.errors import KINDS, OUTCOMES
from donutwork_magics.grammar.cell import parse_cell
from donutwork_magics.grammar.help import SUBJECTS, help_text
from tests.support.kernel import Kernel
from tests.support.notebooks import NOTEBOOKS, ROOT, Runs
from tests.support.reference import reference, written

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [text.strip() for language, text in BLOCKS if language == "sh"]
PRINTED = [text for language, text in BLOCKS if language == "text" and text.startswith("In [")]
CELLS = [text for language, text in BLOCKS if language == "text" and text.startswith("%%donutwork")]
PASTED, *SCRIPTS = [text for language, text in BLOCKS if language == "python"]


def shape(line: str) -> str:
    """Return a line without what differs from run to run: numbers and their units, bars, and the width of columns."""
    line = re.sub(r"<?\d[\d.,]*( (ns|µs|ms|s)\b)?", "0", line.replace("█", ""))
    return " ".join(line.split())


def test_there_are_two_commands_of_one_line_each() -> None:
    install, first, second = COMMANDS

    assert install == "python3 -m pip install ."
    assert "\n" not in first + second
    assert first.endswith("python notebooks/run.py notebooks/01_first_ping.ipynb")
    assert second.endswith(" pytest -n auto")


@pytest.mark.parametrize("command", COMMANDS[1:], ids=["first", "second"])
def test_a_command_names_files_and_groups_that_exist(command: str) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    files = [word for word in command.split() if word.endswith((".txt", ".py", ".ipynb"))]

    assert "constraints.txt" in files
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert set(re.findall(r"--group (\w+)", command)) <= groups.keys()


def test_ci_runs_the_second_command_itself() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    pattern = re.search(r"grep -E '(.*)' README\.md", script)

    assert pattern
    assert re.findall(pattern[1], README, re.MULTILINE) == COMMANDS[2:]


def test_the_output_that_is_shown_is_what_the_first_command_prints(
    notebook_runs: Runs,
) -> None:
    printed = "\n".join(map(shape, notebook_runs(NOTEBOOKS[0]).stdout.splitlines()))

    assert PRINTED
    for block in PRINTED:
        assert "\n".join(map(shape, block.splitlines())) in printed


def test_links_lead_to_files_that_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)", README) + re.findall(r'(?:src|srcset)="([^"]+)"', README)
    local = [target for target in targets if not target.startswith("https://")]

    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("example", CELLS)
def test_every_cell_is_accepted(example: str) -> None:
    header, _, body = example.removeprefix("%%donutwork").partition("\n")
    assert len(parse_cell(header, body).lines) > 1


@pytest.mark.slow
def test_the_block_of_commands_can_be_pasted_as_it_is(tmp_path: Path) -> None:
    with Kernel(tmp_path) as kernel:
        cell = kernel.run(PASTED)
        assert cell.ok, cell.text
        assert kernel.value("(len(df), w.state)") == "(50, 'stopped')"
        assert kernel.run("%donutwork sandbox stop;").ok


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.slow
def test_a_script_runs(script: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


class TestReference:
    def test_the_readme_has_what_help_shows(self) -> None:
        assert written() == reference(), "run python -m tests.support.reference"

    @pytest.mark.parametrize("subject", list(SUBJECTS))
    def test_help_and_readme_say_the_same(self, subject: str) -> None:
        shown, readme = " ".join(help_text(subject).split()), re.sub(r"`", "", " ".join(README.split()))
        for table in SUBJECTS[subject].tables:
            for name, *cells in table.rows:
                assert name in readme
                assert all(cell in readme and cell in shown for cell in cells)

    def test_every_column_and_outcome_is_explained(self) -> None:
        assert [row[0] for row in SUBJECTS["columns"].tables[0].rows] == [column.name for column in COLUMNS]
        assert [row[0] for row in SUBJECTS["errors"].tables[0].rows] == list(OUTCOMES) == list(KINDS)

    def test_the_variables_are_those_that_are_read(self) -> None:
        environ = dict.fromkeys(KEY_VARIABLES, "x")
        pairs = [variables_for(environ, env) for env in (None, "staging", "production")]
        read = {CA_BUNDLE_VARIABLE, *(pair.key for pair in pairs), *(pair.base_url for pair in pairs)}
        assert {row[0] for row in SUBJECTS["settings"].tables[0].rows} == read
        assert DEFAULT_BASE_URL in help_text("settings")

    def test_the_percentiles_need_what_is_said(self) -> None:
        needs = f"{pings_needed(0.95)} for p95, {pings_needed(0.99)} for p99, {pings_needed(0.999)} for p99.9"
        assert needs in " ".join(help_text("card").split())
        assert f"p95 needs {pings_needed(0.95)} successes, p99 {pings_needed(0.99)}, p99.9 {pings_needed(0.999)}" in (
            " ".join(README.split())
        )


def test_dir_shows_the_public_names() -> None:
    assert dir(donutwork_magics) == sorted(donutwork_magics.__all__)
    for name in donutwork_magics.__all__:
        assert getattr(donutwork_magics, name) is not None
