"""From a text to its words: quotes group, a ``#`` behind white space begins a comment, and nothing else is special.

So ``run#2`` is a word, and so is a Windows path: a backslash is a letter like any other.
"""

from __future__ import annotations

from typing import NamedTuple


class Lexed(NamedTuple):
    """A text in its parts; each is without the quotes around it."""

    words: tuple[str, ...]
    """The words that white space ends."""
    last: str | None
    """The word at the end of the text, where no white space ends it."""
    fragment: str
    """That word as it stands there, with its quotes."""
    quote: str
    """The quote that is still open, or nothing."""
    comment: int | None
    """Where a comment begins, which is not read further."""


def lex(text: str) -> Lexed:
    """Part a text into its words."""
    words: list[str] = []
    word: list[str] | None = None
    begins, quote = 0, ""
    for at, char in enumerate(text):
        if not quote and char.isspace():
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        if word is None:
            if char == "#":
                return Lexed(tuple(words), None, "", "", at)
            word, begins = [], at
        if not quote and char in "'\"":
            quote = char
        elif char == quote:
            quote = ""
        else:
            word.append(char)
    if word is None:
        return Lexed(tuple(words), None, "", "", None)
    return Lexed(tuple(words), "".join(word), text[begins:], quote, None)


def strip_end(text: str) -> tuple[str, bool]:
    """Take off a comment, and the trailing ``;`` that hides the Out, which IPython passes on; tell whether it did."""
    bare = text[: lex(text).comment].strip()
    return bare.removesuffix(";").rstrip(), bare.endswith(";")
