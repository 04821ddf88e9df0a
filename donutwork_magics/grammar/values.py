"""From the text of an option's value to the value, strictly.

Each reader raises ``ValueError`` with the end of a sentence ("needs a whole number ..."), whose beginning is the
option; it refuses the empty text in the same words, so that a missing value needs no rule of its own.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable
from typing import Final, TypeVar

from ..client.arguments import LONGEST_S
from ..sampling.plan import LONGEST_LABEL
from .parse_errors import did_you_mean

T = TypeVar("T")
Word = TypeVar("Word", bound=str)

SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "\N{MICRO SIGN}s": 1e-6,
    "\N{GREEK SMALL LETTER MU}s": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
}
# [0-9], not \d, and no float() alone: those take other scripts' digits, 1_000, nan and inf.
_NUMBER: Final = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_DURATION: Final = re.compile(rf"(-?{_NUMBER})({'|'.join(SECONDS)})?")
_FLOAT: Final = re.compile(rf"{_NUMBER}(?:[eE][+-]?[0-9]{{1,3}})?")
_SHORTEST_S: Final = 1e-9


def constant(value: T) -> Callable[[str], T]:
    """Make the reader of a flag: it has no text, and always means `value`."""
    return lambda _: value


def whole(low: int, high: int) -> Callable[[str], int]:
    """Make the reader of a whole number from `low` to `high`."""

    def read(text: str) -> int:
        # int() refuses thousands of digits in words of its own.
        if not re.fullmatch("[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"needs a whole number from {low} to {high}.")
        return int(text)

    return read


def choice(words: tuple[Word, ...]) -> Callable[[str], Word]:
    """Make the reader of one of `words`."""

    def read(text: str) -> Word:
        for word in words:
            if text == word:
                return word
        raise ValueError(f"needs one of {', '.join(words)}{did_you_mean(text, words)}")

    return read


def duration_s(text: str) -> float:
    """Read a duration with its unit (``10s``, ``200ms``) in seconds, from 1 ns to 720 h."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("needs a duration with its unit (ns, us, ms, s, min or h), for example 10s or 200ms.")
    if match[2] is None:
        raise ValueError("needs a unit, for example 10s or 200ms.")
    seconds = float(match[1]) * SECONDS[match[2]]
    if not _SHORTEST_S <= seconds <= LONGEST_S:
        raise ValueError("needs a duration above 0, from 1ns to 720h, for example 10s or 200ms.")
    return seconds


def rate_hz(text: str) -> float | None:
    """Read starts per second (one each 720 h to one each ns); ``max`` is None."""
    if text == "max":
        return None
    rate = float(text) if _FLOAT.fullmatch(text) else 0.0
    if not 1 / LONGEST_S <= rate <= 1 / _SHORTEST_S:
        raise ValueError("needs pings per second above 0, such as 0.2, 5 or 20, or max.")
    return rate


def interval_as_rate_hz(text: str) -> float:
    """Read the time from start to start as starts per second."""
    return 1 / duration_s(text)


def variable(text: str) -> str:
    """Read the name of a variable, in the form in which Python looks it up (NFKC, as the language says)."""
    name = unicodedata.normalize("NFKC", text)
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
        raise ValueError("needs a variable's name: letters, digits and _, no keyword, not beginning with __.")
    return name


def label(text: str) -> str:
    """Read a label: white space is squeezed, 1 to 64 printable characters remain."""
    squeezed = " ".join(text.split())
    if not squeezed.isprintable() or not 1 <= len(squeezed) <= LONGEST_LABEL:
        raise ValueError(f"needs a label of 1 to {LONGEST_LABEL} printable characters.")
    return squeezed


def file_name(text: str) -> str:
    """Read the name of a file; whether it can be one is for the file system to say."""
    # No file system takes NUL, and no card or log can show a surrogate, which is no character.
    if not text or re.search("[\0\ud800-\udfff]", text):
        raise ValueError("needs the name of a file, in quotes where it has blanks.")
    return text
