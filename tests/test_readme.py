"""What the README says is so: its commands, its links, its examples, and the output that it shows."""

from __future__ import annotations

import re
import tomllib

import pytest

from donutwork_magics.grammar import parse_cell, parse_line
from tests.support.notebooks import NOTEBOOKS, ROOT, Runs

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [text.strip() for language, text in BLOCKS if language == "sh"]
PRINTED = [text for language, text in BLOCKS if language == "text" and text.startswith("In [")]
EXAMPLES = [text for language, text in BLOCKS if language == "text" and "%donutwork" in text and text not in PRINTED]


def shape(line: str) -> str:
    """Return a line without what differs from run to run: numbers and their units, bars, and the width of columns."""
    line = re.sub(r"<?\d[\d.,]*( (ns|µs|ms|s)\b)?", "0", line.replace("█", ""))
    return " ".join(line.split())


def test_there_are_two_commands_of_one_line_each() -> None:
    first, second = COMMANDS

    assert "\n" not in first + second
    assert first.endswith("python notebooks/run.py notebooks/01_first_ping.ipynb")
    assert second.endswith(" pytest -n auto")


@pytest.mark.parametrize("command", COMMANDS, ids=["first", "second"])
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
    assert re.findall(pattern[1], README, re.MULTILINE) == [COMMANDS[1]]


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


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_accepted(example: str) -> None:
    first, *body = example.splitlines()
    if first.startswith("%%donutwork"):
        assert parse_cell(first.removeprefix("%%donutwork"), "\n".join(body)).lines
        return
    # What the line does stands behind it, two blanks apart.
    lines = [re.split(r"\s{2,}", line)[0] for line in example.splitlines()]
    commands = [line.partition("%donutwork")[2] for line in lines if "%donutwork" in line]
    for command in commands:
        parse_line(command)
    assert len(commands) > 1
