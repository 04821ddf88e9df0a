"""A card as HTML that looks the same in every notebook front end, and survives the one that does not trust it.

JupyterLab's sanitiser (`@jupyterlab/apputils`, sanitizer) lets inline styles through only property by property: no
custom properties, no style sheets, no SVG. Text inherits its colour, so that it reads in light and in dark; muted
text is the same colour at lower opacity, which keeps more contrast than any fixed grey has on both.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Iterator
from typing import Final

from donutwork_magics.display.card import ICONS, Breakdown, Card, Picture, Pictures, Row, Section, Steps, Table, Tone
from donutwork_magics.units import clean, format_share, shorten, unbroken

# Front ends typeset TeX in HTML, which can draw links and boxes, but not inside of elements of these classes: the first
# is MathJax 2's (nbconvert, nbviewer), the second MathJax 3's and 4's (JupyterLab, Notebook 7).
_NO_TEX: Final = 'class="tex2jax_ignore mathjax_ignore"'
_LINE: Final = "rgba(118,125,134,0.35)"
_EDGES: Final[dict[Tone, str]] = {
    "ok": "#1a7f37",
    "warn": "#bf8700",
    "bad": "#cf222e",
    "off": "#767d86",
    "running": "#4c8dd6",
}
_MUTED: Final = "opacity:0.72;font-size:12px"
# Told apart in either theme, and by people who see fewer colours; the table beside the bar names each.
_SEGMENTS: Final[dict[str, str]] = {
    "DNS": "#9a7fd1",
    "connect": "#c97a1a",
    "TLS": "#2a9d8f",
    "send": "#c2679b",
    "first byte": "#4c8dd6",
    "receive": "#767d86",
    "network": "#4c8dd6",
    "path": "#4c8dd6",
    "server": "#8a9a3b",
    "unexplained": "#767d86",
}
_TABLE: Final = "border-collapse:collapse;border:none;font-size:13px;"
_NO_BREAK: Final = "\u00a0"
# Front ends stripe the rows of tables.
_ROW: Final = '<tr style="background-color:transparent">'
_NAME: Final = "padding:2px 0;text-align:left;font-weight:400"
_LONG_WORD: Final = re.compile(r"[^\s<>]{13,}")
_CAMELS: Final = re.compile("(?<=[a-z])(?=[A-Z])")
# At most 12 characters, of which one may be written as an entity, and better at the end of a part of an address.
_PARTS: Final = re.compile(r"(?:&\w+;|&#\w+;|[^/._:=,@|-]){1,12}[/._:=,@|-]{0,12}|[/._:=,@|-]{1,12}")
# A row of steps: state, step and time in a line, and below it, across, what was found.
_FLOW: Final = "display:flex;flex-wrap:wrap"
_STATE: Final = "width:14%;min-width:84px;text-align:left;white-space:nowrap"
_STEP: Final = "flex-grow:99;flex-basis:0px;text-align:left"
# Beside a long name in a narrow cell there is no room for it: then it stands at the right of a line of its own.
_TIME: Final = "flex-grow:1;padding-left:10px;text-align:right;white-space:nowrap"
_FOUND: Final = "width:100%;padding-left:14%;text-align:left"
# As the longest IPv6 address: a figure is not wrapped, and some are texts of the server.
_WIDEST_FIGURE: Final = 39
_FIGURES: Final = "display:flex;flex-wrap:wrap;gap:6px 28px;align-items:flex-end"
_NUMBER: Final = "padding:2px 0 2px 9px;text-align:right"


def to_html(card: Card) -> str:
    """Render a card as HTML."""
    return (
        f'<div {_NO_TEX} style="border:1px solid {_LINE};border-left:4px solid {_EDGES[card.tone]};border-radius:6px;'
        "padding:10px 16px 12px 14px;margin:4px 0;max-width:640px;box-sizing:border-box;font-size:13px;"
        'line-height:1.45;font-variant-numeric:tabular-nums">'
        f"{''.join(_inside(card))}</div>"
    )


def muted(text: str) -> str:
    """Render a line that stands beside a card."""
    return f'<div {_NO_TEX} style="{_MUTED}">{_text(text)}</div>'


def spoken(text: str, role: str) -> str:
    """Render a line that a screen reader reads out when it changes; nothing where there is no text."""
    return f'<span {_NO_TEX} role="{role}">{_text(text)}</span>' if text else ""


def _inside(card: Card) -> Iterator[str]:
    yield _header(card)
    yield _figures(card)
    yield _progress(card)
    for note in card.notes:
        yield f'<div style="margin:6px 0 0 0;overflow-wrap:break-word">{_text(note)}</div>'
    yield from map(_section, card.sections)
    for details in card.details:
        yield (
            f'<details style="margin-top:8px"><summary style="cursor:pointer">{_text(details.summary)}</summary>'
            f"{''.join(map(_section, details.content))}</details>"
        )


def _header(card: Card) -> str:
    badges = "".join(
        f'<span style="border:1px solid {_LINE};border-radius:10px;padding:0 8px;font-size:12px">{_text(badge)}</span>'
        for badge in card.badges
    )
    # What runs from right to left would take the count that follows it to its other side.
    name = f"<bdi>{_text(card.name)}</bdi>: " if card.name else ""
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:4px 8px;align-items:center">'
        f'<span style="{_MUTED}">{_text(card.title)}</span>'
        f"<strong>{ICONS[card.tone]} {name}{_text(card.state)}</strong>{badges}</div>"
    )


def _figures(card: Card) -> str:
    if not card.figures:
        return ""
    figures = [
        f'<div><div style="font-size:{16 if at else 24}px;white-space:nowrap">'
        f'{_text(shorten(figure.value, _WIDEST_FIGURE))}</div><div style="{_MUTED}">{_text(figure.caption)}</div></div>'
        for at, figure in enumerate(card.figures)
    ]
    # In pairs from the end on, so that no row has the last one alone.
    odd = len(figures) % 2
    pairs = "".join(
        f'<div style="{_FIGURES}">{figures[at]}{figures[at + 1]}</div>' for at in range(odd, len(figures), 2)
    )
    return f'<div style="{_FIGURES};margin:8px 0 4px 0">{"".join(figures[:odd])}{pairs}</div>'


def _progress(card: Card) -> str:
    if card.progress is None:
        return ""
    percent = f"{100 * card.progress:.1f}"
    return (
        '<div role="progressbar" aria-label="pings done" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}" style="margin:8px 0 2px 0;border-radius:3px;overflow:hidden;'
        f'background-color:{_LINE}"><div style="width:{percent}%;height:6px;background-color:{_EDGES[card.tone]}">'
        "</div></div>"
    )


def _section(section: Section) -> str:
    match section:
        case Pictures():
            figures = "".join(map(_picture, section.pictures))
            return f'<div style="display:flex;flex-wrap:wrap;gap:6px 16px;margin-top:10px">{figures}</div>'
        case Breakdown():
            return _breakdown(section)
        case Table(head=()):
            return _pairs(section)
        case Table():
            return _columns(section)
        case Steps():
            return _steps(section)


def _picture(picture: Picture) -> str:
    image = picture.svg
    if not picture.live:
        data = base64.b64encode(picture.svg.encode()).decode()
        image = f'<img alt="{_text(picture.alt)}" src="data:image/svg+xml;base64,{data}" style="max-width:100%">'
    return f'<div style="max-width:100%"><div style="{_MUTED}">{_text(picture.caption)}</div>{image}</div>'


def _breakdown(breakdown: Breakdown) -> str:
    bar = "".join(
        f'<div title="{_text(segment.name)}" style="width:{100 * segment.share:.1f}%;background-color:'
        f'{_SEGMENTS[segment.name]}"></div>'
        for segment in breakdown.segments
    )
    rows = "".join(
        f'{_ROW}<th scope="row" style="{_NAME}"><span style="color:{_SEGMENTS[segment.name]}">■</span>{_NO_BREAK}'
        f"{_text(segment.name)}</th>{_numbers((segment.value, format_share(segment.share)))}</tr>"
        for segment in breakdown.segments
    )
    head = _head((*breakdown.head, "share"))
    return (
        f'<div style="{_MUTED};margin-top:10px">{_text(breakdown.caption)}</div>'
        f'<div style="display:flex;height:10px;margin:4px 0 2px">{bar}</div>'
        f'<table style="{_TABLE}table-layout:fixed;width:100%;max-width:300px;margin:0">{head}'
        f"<tbody>{rows}</tbody></table>"
    )


def _pairs(table: Table) -> str:
    look = "font-family:monospace" if table.code else "opacity:0.72"
    width = f"width:{42 if table.code else 31}%;"
    rows = "".join(
        f'{_ROW}<th scope="row" style="padding:2px 12px 2px 0;text-align:left;font-weight:400;vertical-align:top;'
        # One cell makes the whole column so wide.
        f'{"" if at else width}{look}">{_breakable(name)}</th>'
        f'<td style="padding:2px 0;text-align:left">{_breakable(value)}</td></tr>'
        for at, (name, value) in enumerate(table.rows)
    )
    # Of automatic layout, in which no word of a name runs into the value.
    look = "table-layout:auto;width:100%;margin:10px 0 0 0"
    return f'<table style="{_TABLE}{look}">{_caption(table)}<tbody>{rows}</tbody></table>'


def _columns(table: Table) -> str:
    rows = "".join(
        f'{_ROW}<th scope="row" style="{_NAME}">{_text(name)}</th>{_numbers(values)}</tr>'
        for name, *values in table.rows
    )
    # It is scrolled where the page is narrow, and its caption, which stands outside, is not. The keyboard has to get
    # there, and JupyterLab must leave it the arrows, which fold and unfold headings in a notebook.
    name = f'aria-label="{_text(table.caption)}"'
    return (
        f'<div style="{_MUTED};margin-top:10px;padding:0 0 2px 0">{_text(table.caption)}</div>'
        f'<div tabindex="0" role="group" {name} data-lm-suppress-shortcuts="true" style="overflow-x:auto">'
        f'<table {name} style="{_TABLE}table-layout:auto;margin:0;min-width:85%">'
        f"{_head(table.head)}<tbody>{rows}</tbody></table></div>"
    )


def _steps(steps: Steps) -> str:
    columns = ((_STATE, "State"), (_STEP, "Step"), (_TIME, "Time"))
    head = "".join(_cell("th", look, name, "col") for look, name in columns)
    return (
        f'<table style="{_TABLE}width:100%;margin:10px 0 0 0">{_caption(steps)}<thead style="border:none">'
        f'<tr style="background-color:transparent;padding:0 0 2px 0;{_MUTED};{_FLOW}">{head}</tr></thead>'
        f"<tbody>{''.join(map(_step, steps.rows))}</tbody></table>"
    )


def _step(row: Row) -> str:
    advice = f"<div>→ {_breakable(row.advice)}</div>" if row.advice else ""
    cells = (
        _cell("td", _STATE, f"{ICONS[row.tone]} {_text(row.state)}"),
        _cell("th", _STEP, f"<strong>{_breakable(row.name)}</strong>", "row"),
        _cell("td", _TIME, _text(row.time)),
        _cell("td", _FOUND, f'<div style="opacity:0.72">{_breakable(row.found)}</div>{advice}'),
    )
    return (
        f'<tr style="background-color:transparent;border-top:1px solid {_LINE};padding:4px 0;{_FLOW}">'
        f"{''.join(cells)}</tr>"
    )


def _cell(tag: str, look: str, content: str, scope: str = "") -> str:
    scope = f' scope="{scope}"' if scope else ""
    return (
        f'<{tag}{scope} style="display:block;box-sizing:border-box;border:none;padding:0;'
        f'font-weight:400;{look}">{content}</{tag}>'
    )


def _caption(table: Table | Steps) -> str:
    return (
        f'<caption style="{_MUTED};caption-side:top;text-align:left;padding:0 0 2px 0">{_text(table.caption)}</caption>'
    )


def _head(names: tuple[str, ...]) -> str:
    first, *others = map(_text, names)
    cells = f'<th scope="col" style="{_NAME}">{first}</th>' + "".join(
        f'<th scope="col" style="{_NUMBER};font-weight:400">{name}</th>' for name in others
    )
    return f'<thead style="border:none"><tr style="{_MUTED}">{cells}</tr></thead>'


def _numbers(values: Iterable[str]) -> str:
    # A number is not parted from its unit.
    texts = (_text(value).replace(" ", _NO_BREAK) for value in values)
    return "".join(f'<td style="{_NUMBER}">{text}</td>' for text in texts)


def _text(text: str) -> str:
    return html.escape(unbroken(clean(text)))


def _breakable(text: str) -> str:
    """Let long words be broken, which would widen a table: the sanitiser takes away the style that would do it."""
    return _LONG_WORD.sub(
        lambda word: "<wbr>".join(part for piece in _CAMELS.split(word[0]) for part in _PARTS.findall(piece)),
        _text(text),
    )
