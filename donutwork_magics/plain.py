"""Texts of others, made harmless: a terminal and a page show them, and do nothing else."""

from __future__ import annotations

import unicodedata
from typing import Final

_MARKS: Final = frozenset({"Mn", "Me"})
_MOST_MARKS: Final = 4
"""No living language needs more on one letter."""
_MARKUP: Final = str.maketrans(dict.fromkeys("$\\<>&", "\ufffd"))


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
