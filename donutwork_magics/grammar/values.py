"""From the text of an option's value to the value, strictly.

Each reader raises ``ValueError`` with the end of a sentence ("needs a whole number ..."), whose beginning is the
option; it refuses the empty text in the same words, so that a missing value needs no rule of its own.
"""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from collections.abc import Callable
from typing import Final, TypeVar

from ..analysis.expectations import parse_expectation
from ..sampling.plan import LONGEST_LABEL
from ..types import LONGEST_S
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
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
}
# [0-9], not \d, and no float() alone: those take other scripts' digits, nan and inf.
_NUMBER: Final = r"(?:[0-9]+(?:_[0-9]+)*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
_DURATION: Final = re.compile(rf"({_NUMBER})\s*({'|'.join(SECONDS)})?")
_AMOUNT: Final = re.compile(rf"({_NUMBER})([kM])?")
_PERCENTAGE: Final = re.compile(rf"({_NUMBER})\s*%")
_THOUSANDS: Final = {"k": 1e3, "M": 1e6}
_SHORTEST_S: Final = 1e-9


def constant(value: T) -> Callable[[str], T]:
    """Make the reader of a flag: it has no text, and always means `value`."""
    return lambda _: value


def whole(low: int, high: int) -> Callable[[str], int]:
    """Make the reader of a whole number from `low` to `high`, which may be written as ``1e3``, ``1k`` or ``1_000``."""

    def read(text: str) -> int:
        number = _amount(text)
        if not low <= number <= high or number != int(number):
            raise ValueError(f"needs a whole number from {low} to {high}.")
        return int(number)

    return read


def _amount(text: str) -> float:
    """Read a number, with a k for thousands or an M for millions; NaN where it is none."""
    match = _AMOUNT.fullmatch(text)
    return math.nan if match is None else round(float(match[1]) * _THOUSANDS.get(match[2], 1), 9)


def choice(words: tuple[Word, ...]) -> Callable[[str], Word]:
    """Make the reader of one of `words`."""

    def read(text: str) -> Word:
        for word in words:
            if text == word:
                return word
        raise ValueError(f"needs one of {', '.join(words)}{did_you_mean(text, words)}")

    return read


def duration_s(text: str) -> float:
    """Read a duration (``10s``, ``200ms``, ``1m``) from 1 ns to 720 h in seconds, the unit of a bare number too."""
    match = _DURATION.fullmatch(text)
    seconds = math.nan if match is None else float(match[1]) * SECONDS[match[2] or "s"]
    if not _SHORTEST_S <= seconds <= LONGEST_S:
        raise ValueError("needs a time above 0, up to 720h, such as 10s, 200ms or 1m; without a unit it is in seconds.")
    return seconds


def rate_hz(text: str) -> float | None:
    """Read starts per second (one each 720 h to one each ns), ``5`` or ``5/s``; ``max`` is None."""
    if text == "max":
        return None
    rate = _amount(text.removesuffix("/s").rstrip())
    if not 1 / LONGEST_S <= rate <= 1 / _SHORTEST_S:
        raise ValueError("needs pings per second above 0, such as 0.2, 5 or 20/s, or max.")
    return rate


def interval_as_rate_hz(text: str) -> float:
    """Read the time from start to start as starts per second."""
    return 1 / duration_s(text)


def share(text: str) -> float:
    """Read a percentage above 0 and below 100, as a share."""
    match = _PERCENTAGE.fullmatch(text)
    number = math.nan if match is None else float(match[1])
    if not 0 < number < 100:
        raise ValueError("needs a percentage above 0% and below 100%, such as 5%.")
    return number / 100


def expectation(text: str) -> tuple[str, ...]:
    """Check an expectation, and keep its text; a tuple, since expectations add up."""
    parse_expectation(text)
    return ("".join(text.split()),)


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


def name(text: str) -> str:
    """Read the name of something that comes with the package; whether there is such a thing is not for the grammar."""
    if not re.fullmatch(r"[\w.-]{1,64}", text):
        raise ValueError("needs a name: letters, digits, _, - and dots.")
    return text


def file_name(text: str) -> str:
    """Read the name of a file; whether it can be one is for the file system to say."""
    # No file system takes NUL, and no card or log can show a surrogate, which is no character.
    if not text or re.search("[\0\ud800-\udfff]", text):
        raise ValueError("needs the name of a file, in quotes where it has blanks.")
    return text
