"""What may be asked of a call, by the names that users write: the types, and the readers of what scripts pass.

Each reader raises ``ValueError`` with one line. The line never repeats the value: it may be a key in the wrong place.
"""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any, Final, Literal, TypeAlias, get_args

Http: TypeAlias = Literal["auto", "1.1", "2", "3"]
"""Which HTTP version may be spoken; ``auto`` leaves the choice to the server (ALPN, RFC 7301)."""

Family: TypeAlias = Literal["ipv4", "ipv6"]
"""Which addresses may be called."""

Env: TypeAlias = Literal["staging", "production"]
"""An environment of the API: each has a key of its own, and a reply says which one answered."""
ENVS: Final[tuple[Env, ...]] = get_args(Env)

LONGEST_S: Final = 720 * 3600.0
"""No deadline or series is longer. On Windows a lock can wait for 49 days at most."""
FASTEST_HZ: Final = 1e9
SHORTEST_S: Final = 1 / FASTEST_HZ


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Read a whole number, also one of numpy's, and return it as an int."""
    try:
        number = low - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = low - 1
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} needs a whole number from {low}{'' if high is None else f' to {high}'}.")
    return number


def seconds(name: str, value: Any) -> float:
    """Read a time in seconds above 0."""
    return _number(name, value, SHORTEST_S, LONGEST_S, "a number of seconds")


def rate(name: str, value: Any) -> float:
    """Read a rate per second above 0."""
    return _number(name, value, 1 / LONGEST_S, FASTEST_HZ, "a number per second")


def share(name: str, value: Any) -> float:
    """Read a share above 0 and below 1."""
    number = _number(name, value, 0.0, 1.0, "a share")
    if number == 1:
        raise ValueError(f"{name} needs a share above 0 and below 1, such as 0.05.")
    return number


def flag(name: str, value: Any) -> None:
    """Check a bool. Without the check, the text ``"no"`` would count as true."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} needs True or False.")


def one_of(name: str, value: Any, words: tuple[str | None, ...]) -> None:
    """Check that a value is one of some words."""
    if not (value is None or isinstance(value, str)) or value not in words:
        raise ValueError(f"{name} needs one of {', '.join(map(repr, words))}.")


def _number(name: str, value: Any, least: float, most: float, what: str) -> float:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    # A comparison with NaN is false, and an int may be too large to become a float.
    if not (is_number and value > 0 and least <= value <= most):
        raise ValueError(f"{name} needs {what} above 0, up to {most:g}.")
    return float(value)
