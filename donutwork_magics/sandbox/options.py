"""What a sandbox is asked for: one value, which the magics, scripts, the command line and the child process share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from ..grammar import SandboxCommand
from ..grammar.injection import (
    LARGEST_PORT,
    LARGEST_SEED,
    LONGEST_RETRY_AFTER_S,
    delay_s,
    fault_shares,
    stall_s,
)
from ..types import whole

_MOST_SHOWN: Final = 5


def _each(read: Callable[[str], Any]) -> Callable[[Iterable[str]], Any]:
    return lambda texts: [read(text) for text in texts]


def _problem(name: str, read: Callable[[Iterable[str]], Any], values: Iterable[object]) -> str:
    """Return what is wrong with the texts of an option, in one line; empty where nothing is."""
    try:
        # No option takes an empty text, so what is no text is refused in the same words.
        read([value if isinstance(value, str) else "" for value in values])
    except ValueError as error:
        return f"{name} {error}"
    return ""


def _first(texts: tuple[str, ...]) -> str:
    """Name the first of many texts: a card and a table have room for no more."""
    more = len(texts) - _MOST_SHOWN
    return ", ".join(texts[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How the sandbox shall behave.

    Parameters
    ----------
    latency, server_time
        A delay outside and inside RRT: ``20ms``, or ``20ms/60ms`` for median and 95th percentile; None for none.
    faults
        ``KIND:SHARE`` each.
    stalls
        ``LENGTH@START`` each, as in ``2s@10s``; the start is counted from the sandbox's own.
    retry_after_s
        What ``rate_limited`` asks for.
    seed
        None for a random one.
    port
        0 for a free one.

    Raises
    ------
    ValueError
        If a value cannot be read; one line that does not repeat it.
    """

    latency: str | None = None
    server_time: str | None = None
    faults: tuple[str, ...] = ()
    stalls: tuple[str, ...] = ()
    retry_after_s: int = 1
    seed: int | None = None
    port: int = 0

    def __post_init__(self) -> None:
        problem = (
            _problem("latency", _each(delay_s), () if self.latency is None else (self.latency,))
            or _problem("server_time", _each(delay_s), () if self.server_time is None else (self.server_time,))
            or _problem("a fault", fault_shares, self.faults)
            or _problem("a stall", _each(stall_s), self.stalls)
        )
        if problem:
            raise ValueError(problem)
        whole("retry_after_s", self.retry_after_s, 1, LONGEST_RETRY_AFTER_S)
        whole("seed", 0 if self.seed is None else self.seed, 0, LARGEST_SEED)
        whole("port", self.port, 0, LARGEST_PORT)

    @classmethod
    def of(cls, command: SandboxCommand) -> SandboxOptions:
        """Return the options of a ``sandbox`` command; they have the same names.

        Raises
        ------
        ValueError
            As above.
        """
        return cls(**{field.name: getattr(command, field.name) for field in fields(cls)})

    @classmethod
    def from_json(cls, text: str) -> SandboxOptions:
        """Read what `as_json` has written.

        Raises
        ------
        ValueError
            It is not that.
        """
        try:
            read: dict[str, Any] = json.loads(text)
            return cls(**read | {name: tuple(read[name]) for name in ("faults", "stalls")})
        except (TypeError, KeyError):
            pass
        raise ValueError("needs the options as JSON.")

    def as_json(self) -> str:
        """Write the options as the child process is given them."""
        return json.dumps(asdict(self))

    def behaviour(self) -> dict[str, str]:
        """Return what is injected, by name, as a few words; what is not is not there."""
        told = {
            "latency": self.latency or "",
            "server time": self.server_time or "",
            "faults": ", ".join(self.faults),
            "stalls": _first(self.stalls),
        }
        return {name: text for name, text in told.items() if text}


DEFAULT_OPTIONS: Final = SandboxOptions()
