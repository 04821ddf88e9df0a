"""Texts of others, made harmless: a terminal and a page show them, and do nothing else."""

from __future__ import annotations

from typing import Final

_MARKUP: Final = str.maketrans(dict.fromkeys("$\\<>&", "\ufffd"))


def plain(text: str) -> str:
    """Take out control, format, private-use and unassigned characters; those that are white space become blanks.

    Escape sequences would colour a terminal or move its cursor, and bidirectional controls reorder the text around
    them.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)


def without_markup(text: str) -> str:
    r"""Replace ``$``, ``\``, ``<``, ``>`` and ``&`` by U+FFFD, in texts for tables that pandas shows as HTML.

    Jupyter's front ends typeset ``$...$`` and ``\(...\)`` there, and TeX can draw links and boxes. pandas can switch
    that off only for all tables of a process, which is the user's choice. A table's ``style`` escapes nothing, so that
    HTML in a text would be run.
    """
    return text.translate(_MARKUP)
