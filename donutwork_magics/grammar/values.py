"""From the text of an option's value to the value, strictly.

Each reader raises ``ValueError`` with the end of a sentence ("needs a whole number ..."), whose beginning is the
option; it refuses the empty text in the same words, so that a missing value needs no rule of its own.
"""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from .refusals import did_you_mean

T = TypeVar("T")
Word = TypeVar("Word", bound=str)

_SECONDS: Final = {
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
_DURATION: Final = re.compile(rf"(-?{_NUMBER})({'|'.join(_SECONDS)})?")
_DELAY: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ns|us|ms|s)")
_SHARE: Final = re.compile(r"0?\.[0-9]{1,9}|1(?:\.0{1,9})?")
_FLOAT: Final = re.compile(rf"{_NUMBER}(?:[eE][+-]?[0-9]{{1,3}})?")
# Below what a lock can wait for on Windows (49 days), so that no deadline and no pause overflows later.
_LONGEST_S: Final = 720 * 3600.0
_SHORTEST_S: Final = 1e-9
_LONGEST_RETRY_AFTER_S: Final = 86_400
_LONGEST_DELAY_S: Final = 60.0
_LABEL_LENGTH: Final = 64

FAULT_KINDS: Final = (
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
)


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
        raise ValueError("needs a unit: add a unit, for example 10s or 200ms.")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise ValueError("needs a duration above 0, from 1ns to 720h, for example 10s or 200ms.")
    return seconds


def whole_seconds(text: str) -> int:
    """Read a duration in whole seconds: the ``Retry-After`` header has no smaller unit (RFC 9110, 10.2.3)."""
    seconds = duration_s(text)
    if seconds != int(seconds) or seconds > _LONGEST_RETRY_AFTER_S:
        raise ValueError("needs whole seconds, up to 24h, for example 1s.")
    return int(seconds)


def rate_hz(text: str) -> float | None:
    """Read starts per second (one each 720 h to one each ns); ``max`` is None."""
    if text == "max":
        return None
    rate = float(text) if _FLOAT.fullmatch(text) else 0.0
    if not 1 / _LONGEST_S <= rate <= 1 / _SHORTEST_S:
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
    if not squeezed.isprintable() or not 1 <= len(squeezed) <= _LABEL_LENGTH:
        raise ValueError(f"needs a label of 1 to {_LABEL_LENGTH} printable characters.")
    return squeezed


def file_name(text: str) -> str:
    """Read the name of a file; whether it can be one is for the file system to say."""
    if not text or "\0" in text:
        raise ValueError("needs the name of a file, in quotes where it has blanks.")
    return text


def delay(text: str) -> str:
    """Check the form of a delay: ``20ms``, or median and 95th percentile as ``20ms/60ms``, up to a minute."""
    parts = [_DELAY.fullmatch(part) for part in text.split("/")]
    seconds = [float(part[1]) * _SECONDS[part[2]] for part in parts if part]
    in_order = len(seconds) == len(parts) <= 2 and seconds == sorted(seconds)
    if not in_order or not seconds[0] > 0 or seconds[-1] > _LONGEST_DELAY_S:
        raise ValueError("needs a delay up to 60s such as 20ms, or its median and 95th percentile, 20ms/60ms.")
    return text


def fault(text: str) -> tuple[str, ...]:
    """Check the form of one fault, ``KIND:SHARE``; a tuple, since faults add up."""
    kind, colon, share = text.partition(":")
    if kind and kind not in FAULT_KINDS:
        raise ValueError(
            f"needs a known KIND before the colon{did_you_mean(kind, FAULT_KINDS)} See %donutwork help sandbox."
        )
    if not colon or not _SHARE.fullmatch(share) or float(share) == 0:
        raise ValueError("needs KIND:SHARE with a share above 0 and up to 1, for example rate_limited:0.05.")
    return (text,)


def check_faults(faults: Iterable[str]) -> None:
    """Check well-formed faults together: each kind once, and shares that add up to 1 at most."""
    kinds, _, shares = zip(*(text.partition(":") for text in faults), strict=True)
    if len(set(kinds)) < len(kinds):
        raise ValueError("needs each KIND once, with its whole share.")
    # Shares such as 0.1 are not exact: a sum meant to be 1 may come out a little above it.
    if math.fsum(map(float, shares)) > 1 + 1e-9:
        raise ValueError("needs shares that add up to 1 at most.")
