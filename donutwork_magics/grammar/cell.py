"""From a ``%%donutwork`` cell to its commands: header defaults, one command a line, labels; whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from ..sampling.plan import LONGEST_LABEL
from . import options as o
from .commands import Cell, CellLine, PingCommand
from .lexer import strip_end
from .parse_errors import GrammarError, defaults_text, minding_keys, refuse_secrets
from .parser import (
    NO_DEFAULTS,
    Given,
    Layer,
    build_call,
    chosen,
    is_series,
    read_command,
    read_config,
    read_options,
    split,
)
from .values import label as read_label

_ONE_EACH: Final = Given("-n", 1)


@dataclass(frozen=True, slots=True)
class _Line:
    """A command line of the body, read but without what it inherits; `number` counts the header as line 1."""

    number: int
    text: str
    silenced: bool
    label: str | None
    spec: o.Spec
    arguments: list[str]
    own: Layer


def parse_cell(
    header: str, body: str, *, defaults: Mapping[str, object] = NO_DEFAULTS, secrets: Iterable[str] = ()
) -> Cell:
    """Read a ``%%donutwork`` cell, whole, before anything of it may be run.

    Parameters
    ----------
    header
        What stands behind ``%%donutwork``: options that are defaults for the lines.
    body
        The lines, with ``$var`` and ``{expr}`` already expanded.
    defaults, secrets
        As in `parse_line`.

    Raises
    ------
    GrammarError
        Something in the cell is not valid. In the body, the message begins with the line's number as an editor
        shows it: the header is line 1.
    """
    text, configured = f"{header}\n{body}", defaults_text(defaults)
    refuse_secrets({"cell": text, "default that %config sets": configured}, secrets)
    with minding_keys(f"{text}\n{configured}"):
        return _parse(header, body, defaults)


def _parse(header: str, body: str, defaults: Mapping[str, object]) -> Cell:
    header_text, silenced = strip_end(header)
    arguments, shared = read_options(o.HEADER, split(header_text))
    if arguments:
        raise GrammarError("Only options may follow %%donutwork: write each command on a line below it.")
    lines = list(_read_lines(body))
    if not lines:
        raise GrammarError("The cell has no command: write ping or connection on a line below %%donutwork.")

    config = {k: given for k, given in read_config(defaults).items() if k is not o.WIDGET}
    pings_only = len(lines) > 1 and all(line.spec is o.PING for line in lines)
    inherited = [config | _inherited(line, shared, pings_only=pings_only) for line in lines]
    _refuse_unused(shared, lines, inherited)
    if pings_only:
        _refuse_unshared(lines)
    elif blocks := [shared[setting].spelling for setting in (o.BLOCKS, o.ORDER_SEED) if setting in shared]:
        raise GrammarError(f"{blocks[0]} has no effect: it is for a cell of two lines or more, all pings.")
    result = tuple(_command(line, layer) for line, layer in zip(lines, inherited, strict=True))
    _refuse_short_lines(lines, result, chosen(shared, o.BLOCKS))
    out = chosen(shared, o.OUT)
    _refuse_duplicates(lines, result, out)
    return Cell(
        result,
        out,
        blocks=chosen(shared, o.BLOCKS),
        seed=chosen(shared, o.ORDER_SEED),
        silenced=silenced or lines[-1].silenced,
    )


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
    text, silenced = strip_end(raw if label is None else after)
    words = split(text)
    if not words:
        raise GrammarError("A command is missing: write ping or connection.")
    spec, arguments, own = read_command(words)
    if spec not in o.CELL_SPECS:
        raise GrammarError(f"{spec.name} is not allowed in a cell: run it as a line, %donutwork {spec.name}.")
    if o.WIDGET in own:
        raise GrammarError("--widget is not allowed in a cell: run the call as a line, %donutwork.")
    if label is not None and o.LABEL in own:
        raise GrammarError("The line has two labels: leave out --label, or the text before the colon.")
    return _Line(number, " ".join(text.split()), silenced, label, spec, arguments, own)


def _inherited(line: _Line, shared: Layer, *, pings_only: bool) -> Layer:
    """Give what a line takes from the header; where all lines are pings, each is a series, for one table."""
    layer = {k: given for k, given in shared.items() if k in line.spec.settings and k is not o.OUT}
    if pings_only and not is_series(layer | line.own):
        layer[o.COUNT] = _ONE_EACH
    return layer


def _refuse_unused(shared: Layer, lines: list[_Line], inherited: list[Layer]) -> None:
    for setting, given in shared.items():
        takers = [
            is_series(layer | line.own)
            for line, layer in zip(lines, inherited, strict=True)
            if setting in line.spec.settings
        ]
        if not takers and setting in o.PING.settings:
            raise GrammarError(f"{given.spelling} has no effect: the cell has no ping line.")
        if setting.scope == "series" and not any(takers):
            raise GrammarError(f"{given.spelling} is for a series: add -n N (how many) or -d 30s (how long).")


def _refuse_unshared(lines: list[_Line]) -> None:
    """Refuse what one of the lines that take turns cannot have for itself."""
    for line in lines:
        if o.UNTIL in line.own:
            with _at(line.number):
                raise GrammarError("--until is for the whole cell: write it after %%donutwork.")


def _refuse_short_lines(lines: list[_Line], result: tuple[CellLine, ...], blocks: int | None) -> None:
    for line, made in zip(lines, result, strict=True):
        count = made.command.plan.count if isinstance(made.command, PingCommand) and made.command.plan else None
        if blocks is not None and count is not None and blocks > count:
            with _at(line.number):
                raise GrammarError("The line has fewer pings than --blocks: lower --blocks, or raise -n.")


def _command(line: _Line, inherited: Layer) -> CellLine:
    label = line.label or (chosen(line.own, o.LABEL) if o.LABEL in line.own else _as_label(line.text))
    with _at(line.number):
        command = build_call(line.spec, line.arguments, line.own, inherited | {o.LABEL: Given("--label", label)})
    return CellLine(label, replace(command, silenced=line.silenced))


def _as_label(text: str) -> str:
    """Make the label of a line that has none: its text, as far as a label has room."""
    printable = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return printable if len(printable) <= LONGEST_LABEL else f"{printable[: LONGEST_LABEL - 1]}…"


def _refuse_duplicates(lines: list[_Line], result: tuple[CellLine, ...], out: str | None) -> None:
    """Two values must not get one name: the later would take the place of the earlier."""
    labels: set[str] = set()
    variables = {out}
    for line, made in zip(lines, result, strict=True):
        with _at(line.number):
            if made.label in labels:
                raise GrammarError("A line above has the same label: give each its own, as in label: ping -n 5.")
            if made.command.call.out is not None and made.command.call.out in variables:
                raise GrammarError("-o names a variable that the cell fills already: give each its own.")
        labels.add(made.label)
        variables.add(made.command.call.out)
