"""Texts of others, made harmless: a terminal and a page show them, and do nothing else."""

from __future__ import annotations

from typing import Final

_OF_TEX: Final = str.maketrans("$\\", "\ufffd\ufffd")


def plain(text: str) -> str:
    """Take out control, format, private-use and unassigned characters; those that are white space become blanks.

    Escape sequences would colour a terminal or move its cursor, and bidirectional controls reorder the text around
    them.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)


def without_tex(text: str) -> str:
    r"""Replace ``$`` and ``\`` by U+FFFD, in texts for tables that pandas shows as HTML.

    Jupyter's front ends typeset ``$...$`` and ``\(...\)`` there, and TeX can draw links and boxes. pandas can switch
    that off only for all tables of a process, which is the user's choice.
    """
    return text.translate(_OF_TEX)
