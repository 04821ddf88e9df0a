"""What the API answers, as the vendor documents it for version 2026-02-01; pure."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import Kind

API_VERSION: Final = "2026-02-01"
PING_PATH: Final = f"/{API_VERSION}/ping.json"
CONNECTION_PATH: Final = f"/{API_VERSION}/connection.json"

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case, `peer` is the client's address."""

    method: str
    path: str
    http_version: str
    headers: Mapping[str, str]
    peer: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: a status code, a JSON body, and the headers that this reply has beyond the usual ones."""

    status: int
    body: bytes
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key is good for."""

    env: str
    permissions: frozenset[str]


_BOTH: Final = frozenset({"ping:read", "connection:read"})

GRANTS: Final[Mapping[str, Grant]] = {
    "production": Grant("production", _BOTH),
    "staging": Grant("staging", _BOTH),
    "ping_only": Grant("staging", frozenset({"ping:read"})),
    "connection_only": Grant("staging", frozenset({"connection:read"})),
}
"""The keys of the sandbox, by name."""


def new_keys() -> dict[str, str]:
    """Return a fresh key for each name in `GRANTS`."""
    return {name: f"sandbox_{secrets.token_urlsafe(24)}" for name in GRANTS}


class Api:
    """The two documented endpoints.

    Parameters
    ----------
    keys
        The valid keys, by their names in `GRANTS`.
    retry_after_s
        What a ``rate_limited`` fault asks for.
    """

    def __init__(self, keys: Mapping[str, str], retry_after_s: int = 1) -> None:
        self._grants = tuple((key.encode("ascii"), GRANTS[name]) for name, key in keys.items())
        self._faults: Mapping[Kind, Reply] = {
            "unauthorized": _UNAUTHORIZED,
            "forbidden": _FORBIDDEN,
            "not_found": _NOT_FOUND,
            "rate_limited": _error(429, "Too many requests", ("Retry-After", str(retry_after_s))),
            "server_error": _error(500, "Internal server error"),
            "redirect": _error(302, "Moved", ("Location", f"/{API_VERSION}/moved.json")),
        }

    def answer(self, request: Request, rrt: Callable[[], str], fault: Kind | None = None) -> Reply:
        """Return the reply to a request.

        A fault that replaces the reply does so before the key is looked at, as a gateway would; one that spoils the
        body (``invalid_body``, ``schema``) needs a reply with one, so a wrong key is still refused.

        Parameters
        ----------
        request
            The request.
        rrt
            Called as late as possible, for the text of ``RRT``.
        fault
            The outcome to inject, of those that a plain reply can have.
        """
        endpoint = _ENDPOINTS.get(request.path.partition("?")[0])
        if endpoint is None:
            return _NOT_FOUND
        if request.method != "GET":
            return _NOT_ALLOWED
        if fault is not None and fault in self._faults:
            return self._faults[fault]
        grant = self._grant(request.headers.get("authorization", ""))
        if grant is None:
            return _UNAUTHORIZED
        permission, content = endpoint
        if permission not in grant.permissions:
            return _FORBIDDEN
        reply = content(request, grant, rrt)
        if fault == "schema":
            reply = _without_success(reply)
        body = _json(reply)
        return Reply(200, body[: len(body) // 2] if fault == "invalid_body" else body)

    def _grant(self, authorization: str) -> Grant | None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        given = token.strip().encode()
        matches = [grant for key, grant in self._grants if hmac.compare_digest(given, key)]
        return matches[0] if matches else None


def rrt_text(elapsed_ns: int) -> str:
    """Return a time as the API writes it: ``0.08 ms``, with more digits only where two would say nothing."""
    return f"{elapsed_ns / 1e6:.{2 if elapsed_ns >= 5_000 else 6}f} ms"


def _ping(_request: Request, grant: Grant, rrt: Callable[[], str]) -> dict[str, Any]:
    return {"status": "success", "env": grant.env, "RRT": rrt()}


def _connection(request: Request, grant: Grant, _rrt: Callable[[], str]) -> dict[str, Any]:
    family = "ipv6" if ":" in request.peer else "ipv4"
    return {
        "client": {"userAgent": request.headers.get("user-agent", ""), "ips": {family: request.peer}},
        "endpoint": {
            "apiVersion": API_VERSION,
            "env": grant.env,
            # The vendor shows HTTP2 and HTTP3 only; the spelling for HTTP/1.1 is ours, by analogy.
            "protocol": f"HTTP{request.http_version}",
        },
    }


_ENDPOINTS: Final = {PING_PATH: ("ping:read", _ping), CONNECTION_PATH: ("connection:read", _connection)}


def _without_success(reply: dict[str, Any]) -> dict[str, Any]:
    """Break what the documentation promises: a ping that does not say success, a connection without its endpoint."""
    if "status" in reply:
        return reply | {"status": "error"}
    return {"client": reply["client"]}


# Made once: json.dumps would make one for each reply.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)


def _json(value: object) -> bytes:
    return _ENCODER.encode(value).encode()


def _error(status: int, message: str, *headers: tuple[str, str]) -> Reply:
    return Reply(status, _json({"error": message}), headers)


_UNAUTHORIZED: Final = _error(401, "Invalid token", ("WWW-Authenticate", "Bearer"))
_FORBIDDEN: Final = _error(403, "Missing permission")
_NOT_FOUND: Final = _error(404, "Not found")
_NOT_ALLOWED: Final = _error(405, "Method not allowed", ("Allow", "GET"))
