"""A card as text for a terminal: the same facts, at most 80 columns."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator
from typing import Final

from donutwork_magics.display.card import ICONS, Breakdown, Card, Picture, Pictures, Section, Steps, Table
from donutwork_magics.units import clean, fitting, format_share, short_name, shorten, unbroken, width

COLUMNS: Final = 80
_INDENT: Final = "  "
_BAR: Final = 20


def to_text(card: Card) -> str:
    """Render a card as text, without a line break at its end."""
    columns = COLUMNS - len(_INDENT)
    badges = [f"[{clean(badge)}]" for badge in card.badges]
    words = [f"{clean(word)}:" for word in (card.title, card.name) if word]
    # What it is said of, and how it ended, is not cut.
    first, *others = _wrapped(" ".join([ICONS[card.tone], *words, clean(card.state), *badges]), columns)
    lines = (first, *_indented(iter(others)), *_indented(_inside(card, columns)))
    return "\n".join(line.rstrip() for line in lines)


def _inside(card: Card, columns: int) -> Iterator[str]:
    values = [clean(figure.value) for figure in card.figures]
    widest = max(map(width, values), default=0)
    for value, figure in zip(values, card.figures, strict=True):
        yield shorten(f"{_right(value, widest)}  {clean(figure.caption)}", columns)
    for note in card.notes:
        yield from _wrapped(clean(note), columns)
    for section in card.sections:
        yield from _section(section, columns)
    for details in card.details:
        yield ""
        yield shorten(clean(details.summary), columns)
        for at, content in enumerate(details.content):
            lines = _section(content, columns - len(_INDENT))
            yield from _indented(itertools.islice(lines, 1 if at == 0 else 0, None))


def _section(section: Section, columns: int) -> Iterator[str]:
    match section:
        case Pictures():
            for picture in section.pictures:
                yield from _captioned(picture.caption, _blocks(picture, columns - len(_INDENT)), columns)
            return
        case Breakdown():
            lines = _breakdown(section, columns - len(_INDENT))
        case Steps():
            lines = _steps(section, columns - len(_INDENT))
        case Table(head=()):
            lines = _pairs(section, columns - len(_INDENT))
        case Table():
            lines = _grid([section.head, *section.rows], columns - len(_INDENT))
    yield from _captioned(section.caption, lines, columns)


def _captioned(caption: str, lines: Iterator[str], columns: int) -> Iterator[str]:
    yield ""
    yield from _wrapped(clean(caption), columns)
    yield from _indented(lines)


def _breakdown(breakdown: Breakdown, columns: int) -> Iterator[str]:
    rows = [
        (segment.name, segment.value, format_share(segment.share), "█" * round(_BAR * segment.share))
        for segment in breakdown.segments
    ]
    yield from _grid([(*breakdown.head, "share", ""), *rows], columns, left={3})


def _blocks(picture: Picture, columns: int) -> Iterator[str]:
    names = [clean(name) for name, _ in picture.blocks]
    drawn = max((width(line) for _, line in picture.blocks), default=0)
    # The name gives way: blocks that are cut would be another picture.
    widest = max(0, min(max(map(width, names), default=0), columns - drawn - 2))
    for name, (_, line) in zip(names, picture.blocks, strict=True):
        before = f"{_left(shorten(name, widest), widest)}  " if widest else ""
        yield shorten(before + line, columns)


def _pairs(table: Table, columns: int) -> Iterator[str]:
    pairs = [(clean(name), clean(value)) for name, value in table.rows]
    widest = min(max((width(name) for name, _ in pairs), default=0), columns // 2)
    for name, value in pairs:
        first, *others = list(_wrapped(value, columns - widest - 2)) or [""]
        yield f"{_left(shorten(name, widest), widest)}  {first}"
        for line in others:
            yield " " * (widest + 2) + line


def _steps(steps: Steps, columns: int) -> Iterator[str]:
    rows = [(f"{ICONS[row.tone]} {clean(row.state)}", clean(row.name), clean(row.time)) for row in steps.rows]
    head = ("State", "Step", "Time")
    states, names, times = (max(map(width, column)) for column in zip(head, *rows, strict=True))

    def line(cells: tuple[str, str, str], found: str = "") -> str:
        state, name, time = cells
        return f"{_left(state, states)}  {_left(name, names)}  {_right(time, times)}  {found}"

    room = columns - states - names - times - 6
    yield line(head)
    for cells, row in zip(rows, steps.rows, strict=True):
        advice = f"→ {clean(row.advice)}" if row.advice else ""
        first, *others = [*_wrapped(clean(row.found), room), *_wrapped(advice, room)]
        yield line(cells, first)
        yield from (line(("", "", ""), other) for other in others)


def _grid(rows: list[tuple[str, ...]], columns: int, left: set[int] | frozenset[int] = frozenset()) -> Iterator[str]:
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    # The names give way to the numbers.
    widths[0] = max(1, min(widths[0], columns - sum(widths[1:]) - 2 * (len(widths) - 1)))
    for row in cells:
        yield "  ".join(
            _left(short_name(cell, wide), wide) if at in left or at == 0 else _right(cell, wide)
            for at, (cell, wide) in enumerate(zip(row, widths, strict=True))
        )


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (_INDENT + line for line in lines)


def _wrapped(text: str, columns: int) -> Iterator[str]:
    # `textwrap` counts characters; a line of wide ones is cut once more.
    for line in textwrap.wrap(unbroken(text), columns, break_on_hyphens=False):
        rest = line.replace("\u00a0", " ")
        while rest:
            part = fitting(rest, columns)
            yield part
            rest = rest[len(part) :]


def _left(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def _right(text: str, columns: int) -> str:
    return " " * (columns - width(text)) + text
