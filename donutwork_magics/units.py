"""Numbers and foreign texts as people read them; a terminal and a page show them, and do nothing else."""

from __future__ import annotations

import codecs
import math
import re
import unicodedata
from datetime import UTC, datetime
from typing import Final, TextIO

UNKNOWN: Final = "–"
MINUS: Final = "−"

UNITS: Final = ((1e-6, "ns"), (1e-3, "µs"), (1.0, "ms"), (1e3, "s"))
_LONG_UNITS: Final = ((86_400, 2, "d"), (3600, 1, "h"), (60, 1, "min"), (1, 1, "s"))
"""Seconds, from how many of them it is used, and its name."""
_SLOW_HZ: Final = 0.1
_LONGEST: Final = 400
_NAME_COLUMNS: Final = 24
_NO_BREAK: Final = "\u00a0"
_MARKS: Final = frozenset({"Mn", "Me"})
_MOST_MARKS: Final = 4
"""No living language needs more on one letter."""
_MARKUP: Final = str.maketrans(dict.fromkeys("$\\<>&", "\ufffd"))
_IN_ASCII: Final = {
    **dict(zip("▁▂▃▄▅▆▇█", ".:-=+*%#", strict=True)),
    **dict(zip("✓⚠✗○▸×Δµ", "+!xo>xdu", strict=True)),
    **{MINUS: "-", UNKNOWN: "-", "±": "+-", "≥": ">=", "→": "->", "…": "..."},
}
"""For terminals of old code pages: a sign or a unit that is missing would make another number."""
_HANDLER: Final = "donutwork_magics"
_BEFORE_UNIT: Final = re.compile(r"(?<=\d) (?=(?:ns|µs|ms|s|min|h|d)\b|%)")


def format_ms(value_ms: float) -> str:
    """Format a time in the unit that fits its size, with three digits: ``80.0 µs``, ``1.42 ms``, ``12.3 s``."""
    if not math.isfinite(value_ms):
        return UNKNOWN
    if value_ms == 0:
        return "0 ms"
    # Rounded first: 999.9 µs is 1.00 ms.
    rounded = float(f"{abs(value_ms):.3g}")
    size, unit = _unit(rounded)
    return f"{MINUS if value_ms < 0 else ''}{_three_digits(rounded / size)} {unit}"


def format_interval_ms(low_ms: float, high_ms: float) -> str:
    """Format the ends of an interval, in one unit: ``19.8 to 20.3 ms``; empty where there is none, or only one end."""
    if not (math.isfinite(low_ms) and math.isfinite(high_ms)):
        return ""
    size, unit = _unit(high_ms)
    return f"{_three_digits(low_ms / size)} to {_three_digits(high_ms / size)} {unit}".replace("-", MINUS)


def format_tick_ms(value_ms: float) -> str:
    """Format a round time as briefly as it goes: ``20 ms``, ``0.5 µs``, ``1 s``."""
    if value_ms == 0:
        return "0"
    size, unit = _unit(value_ms * 1.0001)
    return f"{_brief(value_ms / size)} {unit}"


def format_tick_s(seconds: float) -> str:
    """Format a round longer time as briefly as it goes: ``30 s``, ``5 min``, ``2 h``, ``3 d``, with its sign."""
    sign, size = MINUS if seconds < 0 else "", abs(seconds)
    if size < 1:
        return sign + (format_tick_ms(size * 1e3) if size else "0 s")
    unit_s, unit = next((unit_s, unit) for unit_s, first, unit in _LONG_UNITS if size * 1.0001 >= first * unit_s)
    return f"{sign}{_brief(size / unit_s)} {unit}"


def format_difference_ms(value_ms: float) -> str:
    """Format a time with its sign."""
    return f"+{format_ms(value_ms)}" if value_ms > 0 else format_ms(value_ms)


def format_share(share: float) -> str:
    """Format a share of 0 to 1 as a percentage."""
    if not math.isfinite(share):
        return UNKNOWN
    # Next to nothing is not nothing, and nearly all is not all.
    if 0 < share < 0.001:
        return "<0.1 %"
    if 0.999 < share < 1:
        return ">99.9 %"
    return f"{100 * share:.{0 if share in {0, 1} else 1}f} %"


def format_rate(rate_hz: float) -> str:
    """Format a rate with three digits: ``5.00/s``, ``0.250/s``, and where it is slow its period, ``1 every 5 min``."""
    if not math.isfinite(rate_hz):
        return UNKNOWN
    if 0 < rate_hz < _SLOW_HZ:
        return f"1 every {format_tick_s(1 / rate_hz)}"
    return f"{rate_hz:.3f}/s" if 0 < rate_hz < 0.9995 else f"{_three_digits(rate_hz)}/s"


def format_plan(rate_hz: float | None) -> str:
    """Say how often pings are planned; None: each when the one before has ended."""
    return "back to back" if rate_hz is None else f"{format_rate(rate_hz)} planned"


def format_s(seconds: float) -> str:
    """Format a longer time, in whole seconds, or in whole minutes where it is hours."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def format_utc(unix_s: float, *, date: bool = True) -> str:
    """Format a moment to the second, with its date or the time of day alone."""
    return f"{datetime.fromtimestamp(unix_s, UTC):{'%Y-%m-%d ' if date else ''}%H:%M:%S} UTC"


def plural(n: int, noun: str) -> str:
    """Count a noun."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def enumerate_some(names: list[str], most: int = 6) -> str:
    """List names, and count those beyond the first few."""
    listed = ", ".join(names[:most])
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed


def plain(text: str) -> str:
    """Take out control, format, private-use and unassigned characters; those that are white space become blanks.

    Escape sequences would colour a terminal or move its cursor, and bidirectional controls reorder the text around
    them. Of the marks that are drawn over one letter only the first few are kept: hundreds reach far beyond their line.
    """
    if text.isascii() and text.isprintable():
        return text
    text = "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)
    marks = 0
    kept = []
    for char in text:
        marks = marks + 1 if unicodedata.category(char) in _MARKS else 0
        if marks <= _MOST_MARKS:
            kept.append(char)
    return "".join(kept)


def without_markup(text: str) -> str:
    r"""Replace ``$``, ``\``, ``<``, ``>`` and ``&`` by U+FFFD, in texts for tables that pandas shows as HTML.

    Jupyter's front ends typeset ``$...$`` and ``\(...\)`` there, and TeX can draw links and boxes. pandas can switch
    that off only for all tables of a process, which is the user's choice. A table's ``style`` escapes nothing, so that
    HTML in a text would be run.
    """
    return text.translate(_MARKUP)


def clean(text: str) -> str:
    """Make a foreign text fit for one line: cleaned as by `plain`, blanks joined, not endless."""
    one_line = " ".join(plain(text).split())
    return one_line if len(one_line) <= _LONGEST else one_line[: _LONGEST - 1] + "…"


def printable(text: str, stream: TextIO | None) -> str:
    """Write a text with what a stream takes: a kernel's takes all, that of a terminal may be of an old code page."""
    encoding = getattr(stream, "encoding", None)
    return text.encode(encoding, _HANDLER).decode(encoding) if encoding else text


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_IN_ASCII.get(char, "?") for char in error.object[error.start : error.end]), error.end


codecs.register_error(_HANDLER, _in_ascii)


def unbroken(text: str) -> str:
    """Keep each number and its unit on one line."""
    return _BEFORE_UNIT.sub(_NO_BREAK, text)


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(_columns(char) for char in text)


def fitting(text: str, columns: int) -> str:
    """Return as much of the beginning of a text as fits."""
    used = 0
    for at, char in enumerate(text):
        used += _columns(char)
        if used > columns:
            return text[:at]
    return text


def shorten(text: str, columns: int) -> str:
    """Cut a text to a number of columns of a terminal, visibly."""
    return text if width(text) <= columns else fitting(text, columns - 1) + "…"


def short_name(label: object, columns: int = _NAME_COLUMNS) -> str:
    """Write a label so briefly that a table has room for it: its beginning, and its end, in which commands differ."""
    text = clean(str(label))
    if width(text) <= columns:
        return text
    return f"{fitting(text, columns // 2)}…{fitting(text[::-1], (columns - 1) // 2)[::-1]}"


def _unit(value_ms: float) -> tuple[float, str]:
    return next((unit for unit in reversed(UNITS) if abs(value_ms) >= unit[0]), UNITS[0])


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _brief(value: float) -> str:
    return f"{float(f'{value:.3g}'):g}"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"
