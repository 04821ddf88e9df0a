"""The documented replies, decoded and validated: unknown fields are kept, documented ones must be there and typed."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec

from donutwork_magics.errors import Kind
from donutwork_magics.units import plain

_PROTOCOL = re.compile(r"HTTP/?([0-9])(?:\.0|(\.[1-9]))?", re.ASCII)
_RRT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ns|us|µs|μs|ms|s)")
_UNIT_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3}


class PingReply(msgspec.Struct, frozen=True):
    """``GET /2026-02-01/ping.json``."""

    status: str
    env: str
    rrt: str = msgspec.field(name="RRT")

    def __post_init__(self) -> None:
        if self.status != "success":
            raise ValueError("its status is not success")

    @property
    def answered_env(self) -> str:
        """The environment that answered."""
        return self.env


class Ips(msgspec.Struct, frozen=True):
    """The client's addresses as the API saw them; one of them at least."""

    ipv4: str | None = None
    ipv6: str | None = None

    def __post_init__(self) -> None:
        if self.ipv4 is None and self.ipv6 is None:
            raise ValueError("an address is missing")


class ClientSeen(msgspec.Struct, frozen=True):
    """The caller, as the API saw it."""

    user_agent: str = msgspec.field(name="userAgent")
    ips: Ips


class EndpointSeen(msgspec.Struct, frozen=True):
    """The side of the API."""

    api_version: str = msgspec.field(name="apiVersion")
    env: str
    protocol: str


class ConnectionReply(msgspec.Struct, frozen=True):
    """``GET /2026-02-01/connection.json``."""

    client: ClientSeen
    endpoint: EndpointSeen

    @property
    def answered_env(self) -> str:
        """The environment that answered."""
        return self.endpoint.env


class _InvalidToken(msgspec.Struct, frozen=True):
    error: Annotated[str, msgspec.Meta(pattern="^Invalid token$")]


Reply = TypeVar("Reply", PingReply, ConnectionReply)


class ReplyError(Exception):
    """A body is not what the documentation says.

    Parameters
    ----------
    kind
        ``invalid_body`` where it is not JSON, ``schema`` where it is other JSON.
    reason
        A few words of ours.
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind: Kind = kind
        self.reason = reason


def load_json(body: bytes) -> Any:
    """Decode JSON strictly (RFC 8259), and refuse what decoders read differently.

    Raises
    ------
    ReplyError
        ``invalid_body``: not UTF-8, not JSON, or nested too deep; ``schema``: NaN, Infinity, a name that occurs twice.
    """
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
        # A lone surrogate ("\ud800") is valid JSON, but cannot be encoded, so it could be neither stored nor shown.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        pass
    else:
        return value
    raise ReplyError("invalid_body", "it is not valid JSON")


def decode(value: Any, documented: type[Reply]) -> Reply:
    """Validate decoded JSON against a documented reply.

    Raises
    ------
    ReplyError
        ``schema``.
    """
    try:
        return msgspec.convert(value, documented)
    except msgspec.ValidationError as error:
        # msgspec names documented fields and types only, never what the server sent.
        reason = str(error)
    raise ReplyError("schema", reason)


def is_invalid_token(body: bytes) -> bool:
    """Tell whether a body is the documented one for an invalid or revoked key."""
    try:
        msgspec.json.decode(body, type=_InvalidToken)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def parse_rrt_ms(text: str) -> float:
    """Parse the server's own time, a decimal number with a unit, to milliseconds; NaN for everything else."""
    match = _RRT.fullmatch(text)
    if match is None:
        return math.nan
    value_ms = float(match[1]) * _UNIT_MS[match[2]]
    return value_ms if math.isfinite(value_ms) else math.nan


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = {plain(name): value for name, value in pairs}
    if len(fields) < len(pairs):
        raise ReplyError("schema", "a field occurs twice")
    return fields


def _no_constant(_name: str) -> NoReturn:
    raise ReplyError("schema", "a number is not finite")


def http_version(protocol: str) -> str | None:
    """Return the HTTP version that ``protocol`` names, as in a table (``1.1``, ``2``, ``3``); None where it is no name.

    The documentation has ``HTTP2`` and ``HTTP3``.
    """
    match = _PROTOCOL.fullmatch(protocol)
    return match and match[1] + (match[2] or "")
