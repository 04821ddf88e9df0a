"""One ping as a row: every outcome is a value, never an exception.

The one line for a failed call: what happened, and what to do next.

The results of single calls: values that are displayed as cards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from donutwork_magics.client.replies import Endpoint
from donutwork_magics.client.settings import Variables
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import OUTCOMES, Kind
from donutwork_magics.network.caller import Exchange
from donutwork_magics.types import Env


class Sample(NamedTuple):
    """What is known of one ping."""

    exchange: Exchange
    error: Kind | None = None
    reason: str = ""
    """A few words on the error, of ours; for messages."""
    status_code: int | None = None
    retry_after_s: float | None = None
    body_bytes: int | None = None
    env: str | None = None
    """As answered, but without markup, as it goes into a table; `rrt` likewise."""
    rrt: str | None = None
    rrt_ms: float = math.nan

    @property
    def network_ms(self) -> float:
        """The time to the first byte that the server does not report as its own."""
        return self.exchange.phases.ttfb_ms - self.rrt_ms

    def timing(self) -> dict[str, Any]:
        """Return the row's columns that a single call has, by name, in the order of the DataFrame."""
        exchange = self.exchange
        return {
            "timestamp": datetime.fromtimestamp(exchange.timestamp_ns / 1e9, UTC),
            **exchange.phases._asdict(),
            "duration_ms": exchange.duration_ms,
            "rrt_ms": self.rrt_ms,
            "network_ms": self.network_ms,
            "reused": exchange.reused,
            "retried": exchange.retried,
            "status_code": self.status_code,
            "http_version": exchange.http_version,
            "peer": exchange.peer,
            "tls_version": exchange.tls_version,
            "tcp_rtt_ms": exchange.tcp_rtt_ms,
            "tcp_retransmits": exchange.tcp_retransmits,
            "body_bytes": self.body_bytes,
        }


_PHASES = (
    ("dns_ms", "while resolving the name"),
    ("connect_ms", "while connecting"),
    ("tls_ms", "in the TLS handshake"),
    ("send_ms", "while sending"),
    ("ttfb_ms", "waiting for the first byte"),
    ("receive_ms", "in the middle of the reply"),
)


class Place(Protocol):
    """What the line says about where a call goes: of a `Target`, or of a `Setup` with an unusable part."""

    @property
    def sandbox(self) -> bool:
        """Whether it is the sandbox."""

    @property
    def host(self) -> str:
        """Host and port."""

    @property
    def env(self) -> Env | None:
        """The environment that was asked for."""

    @property
    def variables(self) -> Variables | None:
        """The variables that it was read from; None for the sandbox."""

    @property
    def proxy_variables(self) -> tuple[str, ...]:
        """The proxy variables that are set, and not used."""


def advice(sample: Sample, target: Place, endpoint: Endpoint) -> str:
    """Say in one line why a call failed, and what to do next.

    It holds neither the key nor any text of the server.
    """
    assert sample.error is not None
    line = OUTCOMES[sample.error].line(_facts(sample, target, endpoint))
    if target.proxy_variables and sample.error in {"dns", "connect", "tls", "timeout"}:
        line += f" Connections are direct: {', '.join(target.proxy_variables)} is not used."
    return line


def _facts(sample: Sample, target: Place, endpoint: Endpoint) -> dict[str, str]:
    phases = sample.exchange.phases
    return {
        "host": "the sandbox" if target.sandbox else target.host,
        "reason": f" ({sample.reason})" if sample.reason else "",
        "status": f" ({sample.status_code})" if sample.status_code else "",
        "duration": f"{sample.exchange.duration_ms / 1e3:.3g} s",
        "stuck": next((words for name, words in _PHASES if not getattr(phases, name) >= 0), "at its end"),
        "wait": f"Wait {sample.retry_after_s:g} s" if sample.retry_after_s else "Wait a little",
        "permission": f"{endpoint.permission} ({endpoint.permission_constant})",
        "path": endpoint.path,
        "asked_env": target.env or "no environment",
        "answered_env": sample.env if sample.env in {"staging", "production"} else "another environment",
        **_advice_on_settings(target.variables),
    }


def _advice_on_settings(variables: Variables | None) -> dict[str, str]:
    if variables is None:
        return {
            "key": "the sandbox's own key",
            "check_url": "Start it again: %donutwork sandbox start",
            "check_key": "Start it without this fault: %donutwork sandbox start",
        }
    return {
        "key": f"the key in {variables.key}",
        "check_url": f"Check {variables.base_url}: it must be the API's base URL.",
        "check_key": f"Check that {variables.key} is complete, not revoked, and made for this environment.",
    }


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
