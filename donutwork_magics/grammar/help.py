"""The text of ``%donutwork?`` and ``%donutwork help``, made from the table, for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

from . import options as o

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
_CELL: Final = (
    "A cell holds one ping or connection a line, each with a label before a colon where you like; lines that "
    "begin with # are comments. Options behind %%donutwork are defaults for its lines, and a line's own win; -o "
    "there takes the result of the whole cell. Where all lines are pings, the result is one DataFrame, told apart "
    "by its column label. The whole cell is checked before the first request."
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
    + "."
)


def docstring() -> str:
    """Give the whole text: the overview, then each command with its options and examples."""
    return "\n".join([help_text(None), *("\n" + help_text(name) for name in o.SPECS if name != "help")])


def help_text(topic: str | None) -> str:
    """Give the text on one command, or (None) the overview; the last line ends with a newline.

    Raises
    ------
    KeyError
        `topic` is not a command.
    """
    lines = _overview() if topic is None else _command(o.SPECS[topic])
    return "\n".join(lines) + "\n"


def overview_rows() -> tuple[tuple[str, str], ...]:
    """Give the commands as pairs of usage and meaning."""
    return (
        ("%donutwork", "where calls go, and which key is set; no request"),
        *((f"%donutwork {spec.name}", spec.summary) for spec in o.SPECS.values()),
        ("%%donutwork", "several commands, one a line, as one experiment"),
    )


def _overview() -> Iterator[str]:
    yield "Check a Donutwork API key in one line, and measure latency as a DataFrame."
    yield from _table("Commands", overview_rows())
    yield from _paragraph(_KEY)
    yield from _paragraph(_RESULT)
    yield from _table("A cell", [])
    yield from (f"  {line}" for line in _CELL_EXAMPLE)
    yield from _paragraph(_CELL)
    yield from _paragraph(_CONFIG)


def _command(spec: o.Spec) -> Iterator[str]:
    argument = [spec.argument.metavar or f"[{'|'.join(spec.argument.words)}]"] if spec.argument else []
    options = ["[options]"] if spec.options else []
    yield " ".join([f"%donutwork {spec.name}", *argument, *options])
    yield from _paragraph(spec.about)
    for section in dict.fromkeys(_section(spec, option) for option in spec.options):
        yield from _table(section, [_row(option) for option in spec.options if _section(spec, option) == section])
    yield from _table("Examples", [])
    for line, meaning in spec.examples:
        yield f"  {line}"
        yield f"      {meaning}"


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
    yield from textwrap.wrap(text, _WIDTH, break_on_hyphens=False)


def _table(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield ""
    yield title
    indent = " " * (_LEFT + 4)
    for left, right in rows:
        first, *more = textwrap.wrap(right, _WIDTH - len(indent), break_on_hyphens=False)
        if len(left) > _LEFT:
            yield f"  {left}"
            yield f"{indent}{first}"
        else:
            yield f"  {left:<{_LEFT}}  {first}"
        yield from (f"{indent}{line}" for line in more)
