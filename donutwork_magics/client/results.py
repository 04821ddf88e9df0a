"""The results of single calls: values that are displayed as cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from donutwork_magics.displayed import Displayed


@dataclass(frozen=True, slots=True)
class Result(Displayed):
    """What `Ping` and `Connection` have in common."""

    host: str
    """Where it came from: host, and port unless it is the usual one."""
    sandbox: bool
    """Whether that was the sandbox."""
    timing: Mapping[str, Any] = field(repr=False)
    """One row's columns by name, as in the DataFrame: the phases in milliseconds, the connection, the time of day."""
    raw: Mapping[str, Any] = field(repr=False)
    """The reply as decoded JSON, with the fields that the documentation does not name; its texts are cleaned as by
    `donutwork_magics.plain.plain`, and the key is redacted."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything but `raw` by name, `timing` among it."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in own.items() if name not in {"timing", "raw"}} | dict(self.timing)

    def __getattr__(self, name: str) -> Any:
        # What `timing` has, as in `ping.duration_ms`. A copy that is still being made has none yet.
        if name != "timing" and name in self.timing:
            return self.timing[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self.timing})


@dataclass(frozen=True, slots=True)
class Ping(Result):
    """The API is operational, and this is how long it took.

    Attributes
    ----------
    status : str
        ``success``.
    env : str
        The environment that answered: ``staging`` or ``production``.
    rrt : str
        The time that the server reports for its own side, as its text.
    rrt_ms : float
        The same in milliseconds; NaN where the text is no number with a unit.
    timing : Mapping
        What a row of the DataFrame has of a single call, by the names of its columns; each is an attribute too:
        ``duration_ms``, ``ttfb_ms``, ``peer`` and so on.
    raw : Mapping
        The whole reply, with fields that the documentation does not name; without the key.
    host, sandbox : str, bool
        Who answered, and whether that was the sandbox.
    """

    status: str
    env: str
    rrt: str
    rrt_ms: float


@dataclass(frozen=True, slots=True)
class Connection(Result):
    """The connection as the API saw it.

    Attributes
    ----------
    user_agent, api_version, env, protocol : str
        As answered.
    ipv4, ipv6 : str or None
        The client's addresses; one of them at least.
    timing, raw, host, sandbox
        As for `Ping`.
    """

    user_agent: str
    ipv4: str | None
    ipv6: str | None
    api_version: str
    env: str
    protocol: str
