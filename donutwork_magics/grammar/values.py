"""From the text of an option's value to the value, strictly.

Each reader raises ``ValueError`` with the end of a sentence ("needs a whole number ..."), whose beginning is the
option; it refuses the empty text in the same words, so that a missing value needs no rule of its own.
"""

from __future__ import annotations

import difflib
import keyword
import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Literal, TypeAlias, TypeVar

from ..analysis.expectations import parse_expectation
from ..errors import Kind
from ..sampling.plan import LONGEST_LABEL
from ..types import FASTEST_HZ, LONGEST_S, SHORTEST_S

Word = TypeVar("Word", bound=str)
Fault: TypeAlias = Kind | Literal["slow"]

FAULTS: Final[tuple[Fault, ...]] = (
    "unauthorized",
    "forbidden",
    "not_found",
    "rate_limited",
    "server_error",
    "invalid_body",
    "schema",
    "redirect",
    "connection_lost",
    "timeout",
    "slow",
)
"""What the sandbox injects: outcomes, named as the ``error`` column names them, and ``slow``, which is none."""

ALIASES: Final[dict[str, Fault]] = {"reset": "connection_lost", "hang": "timeout"}
"""What the server does, for two of the outcomes that it leads to."""

SLOW_S: Final = 1.0
"""What a ``slow`` reply takes longer, in the server's own time: a stall that nobody overlooks."""

LONGEST_RETRY_AFTER_S: Final = 86_400
LARGEST_SEED: Final = 2**32 - 1
LARGEST_PORT: Final = 65_535

_SECONDS: Final = {
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
_DURATION: Final = re.compile(rf"({_NUMBER})\s*({'|'.join(_SECONDS)})?")
_AMOUNT: Final = re.compile(rf"({_NUMBER})([kM])?")
_PERCENTAGE: Final = re.compile(rf"({_NUMBER})\s*%")
_THOUSANDS: Final = {"k": 1e3, "M": 1e6}

_DELAY: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ns|us|ms|s)")
_LONGEST_DELAY_S: Final = 60.0
_SHARE: Final = re.compile(r"0?\.[0-9]{1,9}|1(?:\.0{1,9})?")


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Name the candidates that are near, as ``"; did you mean X?"``, or say nothing (``"."``) where none is."""
    near = nearest(word, candidates)
    return f"; did you mean {' or '.join(near)}?" if near else "."


def nearest(word: str, candidates: Iterable[str]) -> list[str]:
    """Give the candidates that begin as a word does, or else the one that looks most like it."""
    # Dashes are in every option, and would make any two of them look alike.
    bare = {candidate.lstrip("-"): candidate for candidate in candidates}
    typed = word[:32].lstrip("-").lower()
    begun = [name for name in bare if len(typed) > 2 and name.startswith(typed)]
    return [bare[name] for name in begun or difflib.get_close_matches(typed, bare, n=1)]


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
    seconds = math.nan if match is None else float(match[1]) * _SECONDS[match[2] or "s"]
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise ValueError("needs a time above 0, up to 720h, such as 10s, 200ms or 1m; without a unit it is in seconds.")
    return seconds


def rate_hz(text: str) -> float | None:
    """Read starts per second (one each 720 h to one each ns), ``5`` or ``5/s``; ``max`` is None."""
    if text == "max":
        return None
    rate = _amount(text.removesuffix("/s").rstrip())
    if not 1 / LONGEST_S <= rate <= FASTEST_HZ:
        raise ValueError("needs pings per second above 0, such as 0.2, 5 or 20/s, or max.")
    return rate


def share(text: str) -> float:
    """Read a percentage above 0 and below 100, as a share."""
    match = _PERCENTAGE.fullmatch(text)
    number = math.nan if match is None else float(match[1])
    if not 0 < number < 100:
        raise ValueError("needs a percentage above 0% and below 100%, such as 5%.")
    return number / 100


def expectation(text: str) -> str:
    """Check an expectation, and keep its text without blanks."""
    parse_expectation(text)
    return "".join(text.split())


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


seed: Final = whole(0, LARGEST_SEED)


def checked(read: Callable[[str], object]) -> Callable[[str], str]:
    """Make the reader of a text that another reader takes, and that is kept as it is."""

    def check(text: str) -> str:
        read(text)
        return text

    return check


def delay_s(text: str) -> tuple[float, float]:
    """Read a delay, ``20ms``, or ``20ms/60ms``, up to a minute, as median and 95th percentile in seconds."""
    parts = [_DELAY.fullmatch(part) for part in text.split("/")]
    seconds = [float(part[1]) * _SECONDS[part[2]] for part in parts if part]
    in_order = len(seconds) == len(parts) <= 2 and seconds == sorted(seconds)
    if not in_order or not seconds[0] > 0 or seconds[-1] > _LONGEST_DELAY_S:
        raise ValueError("needs a delay up to 60s such as 20ms, or its median and 95th percentile, 20ms/60ms.")
    return seconds[0], seconds[-1]


def fault_shares(texts: Iterable[str]) -> dict[Fault, float]:
    """Read faults, ``KIND:SHARE``, together: each kind once, and shares that add up to 1 at most."""
    faults = [_fault_share(text) for text in texts]
    shares = dict(faults)
    if len(shares) < len(faults):
        raise ValueError("needs each KIND once, with its whole share.")
    # Shares such as 0.1 are not exact: a sum meant to be 1 may come out a little above it.
    if math.fsum(shares.values()) > 1 + 1e-9:
        raise ValueError("needs shares that add up to 1 at most.")
    return shares


def _fault_share(text: str) -> tuple[Fault, float]:
    word, colon, share = text.partition(":")
    kind = next((kind for kind in FAULTS if kind == word), None) or ALIASES.get(word)
    words = (*FAULTS, *ALIASES)
    if word and kind is None:
        raise ValueError(f"needs a KIND of {', '.join(words)}{did_you_mean(word, words)}")
    if kind is None or not colon or not _SHARE.fullmatch(share) or float(share) == 0:
        raise ValueError("needs KIND:SHARE with a share above 0 and up to 1, for example rate_limited:0.05.")
    return kind, float(share)


def stall_s(text: str) -> tuple[float, float]:
    """Read a stall, ``2s@10s``: how long it is, and how long after the sandbox's start it begins, in seconds."""
    length, at, begins = text.partition("@")
    if at:
        with suppress(ValueError):
            return duration_s(length), duration_s(begins)
    raise ValueError("needs LENGTH@START, such as 2s@10s.")


def retry_after_s(text: str) -> int:
    """Read a duration in whole seconds: the ``Retry-After`` header has no smaller unit (RFC 9110, 10.2.3)."""
    seconds = duration_s(text)
    if seconds != int(seconds) or seconds > LONGEST_RETRY_AFTER_S:
        raise ValueError("needs whole seconds, up to 24h, for example 1s.")
    return int(seconds)
