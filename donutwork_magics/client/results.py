"""What became of one call: as a row (`Sample`), as a line of advice, and as the value that is displayed as a card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from donutwork_magics.client.replies import Endpoint
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import OUTCOMES, Kind
from donutwork_magics.network.exchange import Exchange
from donutwork_magics.types import ENVS
from donutwork_magics.units import format_ms

if TYPE_CHECKING:
    # A card is made of a result, without httpx.
    from donutwork_magics.client.replies import Endpoint
    from donutwork_magics.client.settings import Setup

_STUCK: Final = {
    "dns_ms": "while resolving the name",
    "connect_ms": "while connecting",
    "tls_ms": "in the TLS handshake",
    "send_ms": "while sending",
    "ttfb_ms": "waiting for the first byte",
    "receive_ms": "in the middle of the reply",
}


class Sample(NamedTuple):
    """What is known of one ping: every outcome is a value, never an exception."""

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

    def timing(self) -> dict[str, Any]:
        """Return the row's columns that a single call has, by name, in the order of the DataFrame."""
        exchange = self.exchange
        return {
            "timestamp": datetime.fromtimestamp(exchange.timestamp_ns / 1e9, UTC),
            **exchange.phases._asdict(),
            "duration_ms": exchange.duration_ms,
            "rrt_ms": self.rrt_ms,
            "network_ms": exchange.phases.ttfb_ms - self.rrt_ms,
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


def stood_still(paused_ms: float) -> str:
    """Say for how long this machine stood still during a call; nothing where it did not, or where that is unknown."""
    return f"This machine stood still for {format_ms(paused_ms)} during the call" if paused_ms > 0 else ""


def advice(sample: Sample, setup: Setup, endpoint: Endpoint, paused_ms: float = 0.0) -> str:
    """Say in one line why a call failed, and what to do next; it holds neither the key nor any text of the server."""
    assert sample.error is not None
    variables = setup.variables
    phases = sample.exchange.phases._asdict()
    line = OUTCOMES[sample.error].line(
        host="the sandbox" if setup.sandbox else setup.host,
        reason=f" ({sample.reason})" if sample.reason else "",
        status=f" ({sample.status_code})" if sample.status_code else "",
        duration=f"{sample.exchange.duration_ms / 1e3:.3g} s",
        stuck=next((words for name, words in _STUCK.items() if math.isnan(phases[name])), "at its end"),
        wait=f"Wait {sample.retry_after_s:g} s" if sample.retry_after_s else "Wait a little",
        permission=f"{endpoint.permission} ({endpoint.permission_constant})",
        path=endpoint.path,
        asked_env=setup.env or "no environment",
        answered_env=sample.env if sample.env in ENVS else "another environment",
        key=f"the key in {variables.key}" if variables else "the sandbox's own key",
        check_url=f"Check {variables.base_url}: it must be the API's base URL."
        if variables
        else "Start it again: %donutwork sandbox start",
        check_key=f"Check that {variables.key} is complete, not revoked, and made for this environment."
        if variables
        else "Start it without this fault: %donutwork sandbox start",
    )
    if setup.proxy_variables and sample.error in {"dns", "connect", "tls", "timeout"}:
        line += f" Connections are direct: {', '.join(setup.proxy_variables)} is not used."
    # A server that gave a status did so whatever this machine did.
    if (pause := stood_still(paused_ms)) and sample.status_code is None:
        line += f" {pause}: that may be why."
    return line


@dataclass(frozen=True, slots=True)
class Result(Displayed):
    """What `Ping` and `Connection` have in common."""

    host: str
    sandbox: bool
    timing: Mapping[str, Any] = field(repr=False)
    raw: Mapping[str, Any] = field(repr=False)
    paused_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything but `raw` by name, `timing` among it, as JSON has it.

        `json.dumps` takes it as it is: ``timestamp`` is a text of ISO 8601, and what is not known (NaN) is None.
        """
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in {"timing", "raw"}}
        return {name: _as_json(value) for name, value in (own | dict(self.timing)).items()}

    def __getattr__(self, name: str) -> Any:
        # What `timing` has, as in `ping.duration_ms`. A copy that is still being made has none yet.
        if name != "timing" and name in self.timing:
            return self.timing[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self.timing})


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and math.isnan(value) else value


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
        What a row of the DataFrame has of a single call, by the names of its columns, times in milliseconds; each is an
        attribute too: ``duration_ms``, ``ttfb_ms``, ``peer`` and so on.
    raw : Mapping
        The reply as decoded JSON, with the fields that the documentation does not name; its texts are cleaned as by
        `donutwork_magics.units.plain`, and the key is redacted.
    paused_ms : float
        For how long this machine stood still during the call: the process was stopped or suspended, or other code kept
        its threads waiting. That time is in `timing`, and says nothing of the API. 0 where it did not, or for less than
        a tenth of a second; NaN where the system had no thread to see it with.
    host : str
        Who answered: host, and port unless it is the usual one.
    sandbox : bool
        Whether that was the sandbox.
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
    timing, raw, paused_ms, host, sandbox
        As for `Ping`.
    """

    user_agent: str
    ipv4: str | None
    ipv6: str | None
    api_version: str
    env: str
    protocol: str
