"""The text of ``%donutwork?`` and ``%donutwork help``, made from the table, for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from . import options as o
from .parse_errors import GrammarError
from .parser import read_config
from .reference import SUBJECTS, Table, config

_WIDTH: Final = 79
_LEFT: Final = 24

_KEY: Final = (
    "The key is read from the environment variable DONUTWORK_API_KEY, never from a line. No key yet? "
    "%donutwork sandbox starts a local stand-in for the API."
)
_RESULT: Final = (
    "A result is a value: x = %donutwork ping, or -o x. A trailing ; hides it. The last one, also of a series "
    "that failed, is in _donutwork."
)
_VALUES: Final = (
    "A time without a unit is in seconds: -t 2, -i 0.2, but also 200ms, 10s, 1m, 1h. Counts may be 1e3, 1k or "
    "1_000, rates 5, 5/s or max. # begins a comment, on any line. -h or --help after a command shows its options."
)
_CELL: Final = (
    "A cell holds one ping or connection a line, with a label before a colon if you like. Options after %%donutwork "
    "are defaults for its lines, and a line's own win; -o there takes the result of the whole cell. Where all lines "
    "are pings, they take turns in blocks, so that drift affects all alike, and the result is one DataFrame, told "
    "apart by its column label. The whole cell is checked before the first request."
)
_CELL_EXAMPLE: Final = (
    "%%donutwork -n 100 -o df",
    "# does keeping the connection help?",
    "cold:  ping --cold",
    "warm:  ping",
)
_CONFIG: Final = (
    "Defaults for a session: %config DonutworkMagics.rate = 10, and likewise "
    + ", ".join(each.name for each in o.CONFIGURABLE if each.name != "rate")
    + ". %config DonutworkMagics shows them."
)


def docstring() -> str:
    """Give the whole text: the overview, then each command with its options and examples."""
    return "\n".join([help_text(None), *("\n" + help_text(name) for name in o.SPECS if name != "help")])


def help_text(topic: str | None) -> str:
    """Give the text on one command, or (None) the overview; the last line ends with a newline.

    Raises
    ------
    KeyError
        `topic` is neither a command nor a subject of the reference.
    """
    if topic is None:
        lines = _overview()
    elif topic in o.SPECS:
        lines = _command(o.SPECS[topic])
    else:
        lines = _subject(topic)
    return "\n".join(lines) + "\n"


def config_text(values: Mapping[str, object]) -> str:
    """Give the text of ``%config DonutworkMagics``: what may be set, and what is.

    Parameters
    ----------
    values
        By name, what is set, as the user typed it; None is not set.
    """
    set_now = {name: value for name, value in values.items() if value is not None}
    return "\n".join(_reference(config({name: _shown(name, value) for name, value in set_now.items()}))).lstrip()


def _shown(name: str, value: object) -> str:
    # What is not valid may be a key.
    try:
        read_config({name: value})
    except GrammarError:
        return "(not valid)"
    return str(value)


def overview_rows() -> tuple[tuple[str, str], ...]:
    """Give the commands as pairs of usage and meaning."""
    return (
        ("%donutwork", "where calls go, and which key is set; no request"),
        *((f"%donutwork {spec.name}", spec.summary) for spec in o.SPECS.values()),
        ("%%donutwork", "an experiment: one command a line, in turns"),
    )


def _overview() -> Iterator[str]:
    yield "Check a Donutwork API key in one line, and measure latency as a DataFrame."
    yield from _table("Commands", overview_rows())
    yield from _paragraph(_KEY)
    yield from _paragraph(_RESULT)
    yield from _paragraph(_VALUES)
    yield from _table("A cell", [])
    yield from (f"  {line}" for line in _CELL_EXAMPLE)
    yield from _paragraph(_CELL)
    yield from _table("Options of a cell, and those of ping", [_row(option) for option in o.HEADER_OPTIONS])
    yield from _paragraph(_CONFIG)


def _command(spec: o.Spec) -> Iterator[str]:
    argument = [spec.argument.usage] if spec.argument else []
    options = ["[options]"] if spec.options else []
    yield " ".join([f"%donutwork {spec.name}", *argument, *options])
    yield from _paragraph(spec.about)
    for section in dict.fromkeys(_section(spec, option) for option in spec.options):
        yield from _table(section, [_row(option) for option in spec.options if _section(spec, option) == section])
    yield from _table("Examples", [])
    for line, meaning in spec.examples:
        yield f"  {line}"
        yield f"      {meaning}"


def _subject(name: str) -> Iterator[str]:
    subject = SUBJECTS[name]()
    yield from _wrapped(subject.about, _WIDTH)
    for table in subject.tables:
        yield from _reference(table)
    for text in subject.more:
        yield from _paragraph(text)


def _reference(table: Table) -> Iterator[str]:
    prefixes = (table.prefixes or ("",) * len(table.head))[1:]
    rows = (
        (name, "; ".join(prefix + cell for prefix, cell in zip(prefixes, cells, strict=True) if cell))
        for name, *cells in table.rows
    )
    # Some cells are sentences, and end as such.
    return _table(table.title, ((name, text.replace(".; ", ". ")) for name, text in rows))


def _section(spec: o.Spec, option: o.Option) -> str:
    if spec is o.WATCH:
        return "Each call" if option.setting.scope == "call" else "The watch"
    if spec not in o.CELL_SPECS:
        return "Options"
    if option.setting.scope in ("makes series", "series"):
        return "A series: -n or -d make it one, the others need one of them"
    return "Each call"


def _row(option: o.Option) -> tuple[str, str]:
    # A long option without a short one stands under the other long ones.
    flags = ", ".join(option.flags) if len(option.flags) > 1 else f"    {option.long}"
    # The default is written in the words of one spelling; --interval has the same in others.
    shown = f" (default {option.setting.shown})" if option.names_setting and option.setting.shown else ""
    return f"{flags} {option.metavar}".rstrip(), option.help + shown


def _paragraph(text: str) -> Iterator[str]:
    yield ""
    yield from _wrapped(text, _WIDTH)


def _wrapped(text: str, width: int) -> list[str]:
    # A number and its % stay together.
    lines = textwrap.wrap(text.replace(" %", "\N{NO-BREAK SPACE}%"), width, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _table(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield ""
    yield title
    indent = " " * (_LEFT + 4)
    for left, right in rows:
        first, *more = _wrapped(right, _WIDTH - len(indent))
        if len(left) > _LEFT:
            yield f"  {left}"
            yield f"{indent}{first}"
        else:
            yield f"  {left:<{_LEFT}}  {first}"
        yield from (f"{indent}{line}" for line in more)
