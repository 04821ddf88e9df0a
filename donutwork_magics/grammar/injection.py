"""What the sandbox can be asked for, and how it is written: for the magics and for the sandbox's own command line.

The readers raise ``ValueError`` as those of `values` do: the end of a sentence that begins with the option.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, Literal, TypeAlias

from ..errors import Kind
from .parse_errors import did_you_mean
from .values import SECONDS, duration_s, whole

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
"""The outcomes, by the names under which the ``error`` column reports them, and ``slow``, which is none."""

ALIASES: Final[dict[str, Fault]] = {"reset": "connection_lost", "hang": "timeout"}
"""What the server does, for two of the outcomes that it leads to."""

SLOW_S: Final = 1.0
"""What a ``slow`` reply takes longer, in the server's own time: a stall that nobody overlooks."""

LONGEST_RETRY_AFTER_S: Final = 86_400
LARGEST_SEED: Final = 2**32 - 1
LARGEST_PORT: Final = 65_535

seed: Final = whole(0, LARGEST_SEED)
port: Final = whole(0, LARGEST_PORT)

_LONGEST_DELAY_S: Final = 60.0
_DELAY: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ns|us|ms|s)")
_SHARE: Final = re.compile(r"0?\.[0-9]{1,9}|1(?:\.0{1,9})?")
_WORDS: Final = (*FAULTS, *ALIASES)


def delay_s(text: str) -> tuple[float, float]:
    """Read a delay, ``20ms``, or ``20ms/60ms``, up to a minute, as median and 95th percentile in seconds."""
    parts = [_DELAY.fullmatch(part) for part in text.split("/")]
    seconds = [float(part[1]) * SECONDS[part[2]] for part in parts if part]
    in_order = len(seconds) == len(parts) <= 2 and seconds == sorted(seconds)
    if not in_order or not seconds[0] > 0 or seconds[-1] > _LONGEST_DELAY_S:
        raise ValueError("needs a delay up to 60s such as 20ms, or its median and 95th percentile, 20ms/60ms.")
    return seconds[0], seconds[-1]


def fault_share(text: str) -> tuple[Fault, float]:
    """Read one fault, ``KIND:SHARE``."""
    word, colon, share = text.partition(":")
    kind = next((kind for kind in FAULTS if kind == word), None) or ALIASES.get(word)
    if word and kind is None:
        raise ValueError(f"needs a KIND of {', '.join(_WORDS)}{did_you_mean(word, _WORDS)}")
    if kind is None or not colon or not _SHARE.fullmatch(share) or float(share) == 0:
        raise ValueError("needs KIND:SHARE with a share above 0 and up to 1, for example rate_limited:0.05.")
    return kind, float(share)


def fault_shares(texts: Iterable[str]) -> dict[Fault, float]:
    """Read faults together: each kind once, and shares that add up to 1 at most."""
    faults = [fault_share(text) for text in texts]
    shares = dict(faults)
    if len(shares) < len(faults):
        raise ValueError("needs each KIND once, with its whole share.")
    # Shares such as 0.1 are not exact: a sum meant to be 1 may come out a little above it.
    if math.fsum(shares.values()) > 1 + 1e-9:
        raise ValueError("needs shares that add up to 1 at most.")
    return shares


def stall_s(text: str) -> tuple[float, float]:
    """Read a stall, ``2s@10s``: how long it is, and how long after the sandbox's start it begins, in seconds."""
    length, at, begins = text.partition("@")
    if at:
        with suppress(ValueError):
            return duration_s(length), duration_s(begins)
    raise ValueError("needs a stall's length and when it begins after the start, such as 2s@10s.")


def retry_after_s(text: str) -> int:
    """Read a duration in whole seconds: the ``Retry-After`` header has no smaller unit (RFC 9110, 10.2.3)."""
    seconds = duration_s(text)
    if seconds != int(seconds) or seconds > LONGEST_RETRY_AFTER_S:
        raise ValueError("needs whole seconds, up to 24h, for example 1s.")
    return int(seconds)


def delay(text: str) -> str:
    """Check a delay, and keep its text for the sandbox's command line."""
    delay_s(text)
    return text


def fault(text: str) -> tuple[str, ...]:
    """Check one fault, and keep its text; a tuple, since faults add up."""
    fault_share(text)
    return (text,)


def stall(text: str) -> tuple[str, ...]:
    """Check one stall, and keep its text; a tuple, since stalls add up."""
    stall_s(text)
    return (text,)
