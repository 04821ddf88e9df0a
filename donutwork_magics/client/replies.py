"""The two documented endpoints and their replies: unknown fields are kept, documented ones must be there and typed."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Final, NoReturn

import msgspec

from donutwork_magics.errors import Kind
from donutwork_magics.units import plain

API_VERSION: Final = "2026-02-01"

_PROTOCOL = re.compile(r"HTTP/?([0-9])(?:\.0|(\.[1-9]))?", re.ASCII)
_RRT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ns|us|µs|μs|ms|s)")
_UNIT_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3}
_SECONDS = re.compile(r"[0-9]+")
_LONGEST_S: Final = 1e10
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")


class PingReply(msgspec.Struct, frozen=True):
    """``GET /2026-02-01/ping.json``."""

    status: str
    env: str
    rrt: str = msgspec.field(name="RRT")

    def __post_init__(self) -> None:
        if self.status != "success":
            raise ValueError("its status is not success")


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


class _InvalidToken(msgspec.Struct, frozen=True):
    error: Annotated[str, msgspec.Meta(pattern="^Invalid token$")]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One documented endpoint, the permission that a key needs for it, and its reply."""

    path: str
    permission: str
    permission_constant: str
    reply: type[PingReply | ConnectionReply]


PING: Final = Endpoint(f"/{API_VERSION}/ping.json", "ping:read", "ApiAccessPermission::PING_READ", PingReply)
CONNECTION: Final = Endpoint(
    f"/{API_VERSION}/connection.json", "connection:read", "ApiAccessPermission::CONNECTION_READ", ConnectionReply
)


class ReplyError(Exception):
    """A body is not what the documentation says: ``invalid_body`` where it is not JSON, else ``schema``."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind: Kind = kind
        self.reason = reason


def read_reply(
    body: bytes, endpoint: Endpoint, redact: Callable[[Any], Any]
) -> tuple[dict[str, Any], PingReply | ConnectionReply]:
    """Decode a body strictly (RFC 8259), refuse what decoders read differently, redact it, and validate it.

    Raises
    ------
    ReplyError
        ``invalid_body``: not UTF-8, not JSON, or nested too deep; ``schema``: NaN, Infinity, a name that occurs twice,
        or not what is documented.
    """
    problem: tuple[Kind, str]
    try:
        value = _DECODER.decode(body.decode("utf-8"))
        if b"\\u" in body:
            # A lone surrogate ("\ud800") is valid JSON, but cannot be encoded, so it could be neither stored nor shown.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        raw = redact(value)
        return raw, msgspec.convert(raw, endpoint.reply)
    except RecursionError:
        problem = "invalid_body", "it is nested too deep"
    except msgspec.ValidationError as error:
        # msgspec names documented fields and types only, never what the server sent.
        problem = "schema", str(error)
    except ValueError:
        problem = "invalid_body", "it is not valid JSON"
    # Outside of the handlers, so that the exception has no context, which holds the server's text.
    raise ReplyError(*problem)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = {plain(name): value for name, value in pairs}
    if len(fields) < len(pairs):
        raise ReplyError("schema", "a field occurs twice")
    return fields


def _no_constant(_name: str) -> NoReturn:
    raise ReplyError("schema", "a number is not finite")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


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


def http_version(protocol: str) -> str | None:
    """Return the HTTP version that ``protocol`` names, as in a table (``1.1``, ``2``, ``3``); None where it is no name.

    The documentation has ``HTTP2`` and ``HTTP3``.
    """
    match = _PROTOCOL.fullmatch(protocol)
    return match and match[1] + (match[2] or "")


def http_date_s(text: str) -> float | None:
    """Parse an HTTP-date (RFC 9110, section 5.6.7) to seconds since the epoch; None for all else, also old forms."""
    text = text.strip()
    if not _HTTP_DATE.fullmatch(text):
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


def retry_after_s(value: str | None, date: str | None = None) -> float | None:
    """Parse a Retry-After header (RFC 9110, section 10.2.3): whole seconds, or an HTTP-date.

    An HTTP-date is of the server's clock, and so it is compared with the reply's own Date header; with this machine's
    clock only where there is none. `float` would also take ``inf``, ``nan``, ``-3`` and ``1e9``: they are None here, as
    everything else.
    """
    if value is None:
        return None
    if _SECONDS.fullmatch(text := value.strip()):
        return min(float(text), _LONGEST_S)
    until_s, now_s = http_date_s(text), http_date_s(date or "")
    return None if until_s is None else max(0.0, until_s - (time.time() if now_s is None else now_s))
