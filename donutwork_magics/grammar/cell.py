"""From a ``%%donutwork`` cell to its commands: header defaults, one command a line, labels; whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ..sampling.plan import LONGEST_LABEL
from . import options as o
from .commands import Cell, CellLine, PingCommand
from .parser import (
    NO_DEFAULTS,
    NO_KEYS,
    Given,
    GrammarError,
    HoldsKey,
    Layer,
    build_call,
    is_series,
    minding_keys,
    read_command,
    read_config,
    read_options,
    split,
    strip_end,
)
from .values import label as read_label


@dataclass(frozen=True, slots=True)
class _Line:
    """A command line of the body, read but without what it inherits; `number` counts the header as line 1."""

    number: int
    silenced: bool
    label: str
    spec: o.Spec
    arguments: list[str]
    own: Layer


def parse_cell(
    header: str, body: str, *, defaults: Mapping[str, object] = NO_DEFAULTS, holds_key: HoldsKey = NO_KEYS
) -> Cell:
    """Read a ``%%donutwork`` cell, whole, before anything of it may be run.

    Parameters
    ----------
    header
        What stands behind ``%%donutwork``: options that are defaults for the lines.
    body
        The lines, with ``$var`` and ``{expr}`` already expanded.
    defaults, holds_key
        As in `parse_line`.

    Raises
    ------
    GrammarError
        Something in the cell is not valid. In the body, the message begins with the line's number as an editor
        shows it: the header is line 1.
    """
    with minding_keys("cell", f"{header}\n{body}", defaults, holds_key):
        return _parse(header, body, defaults)


def _parse(header: str, body: str, defaults: Mapping[str, object]) -> Cell:
    header_text, silenced = strip_end(header)
    arguments, shared = read_options(o.HEADER, split(header_text))
    if arguments:
        raise GrammarError("Only options may follow %%donutwork: write each command on a line below it.")
    lines = list(_read_lines(body))
    if not lines:
        raise GrammarError("The cell has no command: write ping or connection on a line below %%donutwork.")

    config = {setting: given for setting, given in read_config(defaults).items() if setting != "widget"}
    takes_turns = len(lines) > 1 and all(line.spec is o.PING for line in lines)
    inherited = [config | _inherited(line, shared, is_run=takes_turns) for line in lines]
    _refuse_unused(shared, lines, inherited, takes_turns=takes_turns)
    of_cell = {setting: shared[setting].value for setting in ("out", "blocks", "seed") if setting in shared}
    variables, labels = {of_cell.get("out")}, set[str]()
    made = []
    for line, layer in zip(lines, inherited, strict=True):
        with _at(line.number):
            if takes_turns and "until" in line.own:
                raise GrammarError("--until is for the whole cell: write it after %%donutwork.")
            command = build_call(line.spec, line.arguments, line.own, layer)
            count = command.plan.count if isinstance(command, PingCommand) and command.plan else None
            if count is not None and of_cell.get("blocks", 0) > count:
                raise GrammarError("The line has fewer pings than --blocks: lower --blocks, or raise -n.")
            # Two values must not get one name: the later would take the place of the earlier.
            if line.label in labels:
                raise GrammarError("A line above has the same label: give each its own, as in label: ping -n 5.")
            if command.call.out is not None and command.call.out in variables:
                raise GrammarError("-o names a variable that the cell fills already: give each its own.")
        labels.add(line.label)
        variables.add(command.call.out)
        made.append(CellLine(line.label, replace(command, silenced=line.silenced)))
    return Cell(tuple(made), **of_cell, silenced=silenced or lines[-1].silenced)


@contextmanager
def _at(line_number: int) -> Iterator[None]:
    try:
        yield
    except GrammarError as error:
        raise GrammarError(f"line {line_number}: {error}") from None


def _read_lines(body: str) -> Iterator[_Line]:
    for number, raw in enumerate(body.split("\n"), start=2):
        if raw.strip() and not raw.lstrip().startswith("#"):
            with _at(number):
                line = _read_line(number, raw)
            yield line


def _read_line(number: int, raw: str) -> _Line:
    before, colon, after = raw.partition(":")
    label = None
    if colon and raw.split(maxsplit=1)[0] not in o.SPECS:
        try:
            label = read_label(before)
        except ValueError as error:
            raise GrammarError(f"The text before the colon {error}") from None
    command, silenced = strip_end(raw if label is None else after)
    words = split(command)
    if not words:
        raise GrammarError("A command is missing: write ping or connection.")
    spec, arguments, own = read_command(words)
    if spec not in o.CELL_SPECS:
        raise GrammarError(f"{spec.name} is not allowed in a cell: run it as a line, %donutwork {spec.name}.")
    if "widget" in own:
        raise GrammarError("--widget is not allowed in a cell: run the call as a line, %donutwork.")
    if label is not None and "label" in own:
        raise GrammarError("The line has two labels: leave out --label, or the text before the colon.")
    if label is None:
        label = own["label"].value if "label" in own else _as_label(" ".join(command.split()))
    return _Line(number, silenced, label, spec, arguments, own)


def _as_label(text: str) -> str:
    """Make the label of a line that has none: its text, as far as a label has room."""
    printable = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return printable if len(printable) <= LONGEST_LABEL else f"{printable[: LONGEST_LABEL - 1]}…"


def _inherited(line: _Line, shared: Layer, *, is_run: bool) -> Layer:
    """Give what a line takes from the header; in a run each line is a series, for one table."""
    layer = {setting: given for setting, given in shared.items() if setting in line.spec.settings - {"out"}}
    if is_run and not is_series(layer | line.own):
        layer["count"] = Given(o.COUNT, "-n", 1)
    return layer | {"label": Given(o.LABEL, "--label", line.label)}


def _refuse_unused(shared: Layer, lines: list[_Line], inherited: list[Layer], *, takes_turns: bool) -> None:
    for setting, given in shared.items():
        takers = [
            is_series(layer | line.own)
            for line, layer in zip(lines, inherited, strict=True)
            if setting in line.spec.settings
        ]
        if not takers and setting in o.PING.settings:
            raise GrammarError(f"{given.spelling} has no effect: the cell has no ping line.")
        if given.option.scope == "series" and not any(takers):
            raise GrammarError(f"{given.spelling} is for a series: add -n N (how many) or -d 30s (how long).")
        if given.option in o.HEADER_OPTIONS and not takes_turns:
            raise GrammarError(f"{given.spelling} has no effect: it is for a cell of two lines or more, all pings.")
