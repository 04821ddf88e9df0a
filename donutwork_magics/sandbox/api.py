"""What the sandbox answers, as the vendor documents version 2026-02-01, and what it injects; pure."""

from __future__ import annotations

import hmac
import json
import math
import random
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, repeat
from typing import Any, Final

from ..errors import Kind
from ..grammar.commands import SandboxOptions
from ..grammar.values import SLOW_S, Fault, delay_s, fault_shares, stall_s

API_VERSION: Final = "2026-02-01"
PING_PATH: Final = f"/{API_VERSION}/ping.json"
CONNECTION_PATH: Final = f"/{API_VERSION}/connection.json"

_Z95: Final = 1.6448536269514722
"""The 95th percentile of the standard normal distribution."""


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
    headers: tuple[tuple[str, str], ...] = ()


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
        rrt
            Called as late as possible, for the text of ``RRT``.
        fault
            The outcome to inject, of those that a plain reply can have.
        """
        path = request.path.partition("?")[0]
        if path not in {PING_PATH, CONNECTION_PATH}:
            return _NOT_FOUND
        if request.method != "GET":
            return _NOT_ALLOWED
        if fault is not None and fault in self._faults:
            return self._faults[fault]
        grant = self._grant(request.headers.get("authorization", ""))
        if grant is None:
            return _UNAUTHORIZED
        if ("ping:read" if path == PING_PATH else "connection:read") not in grant.permissions:
            return _FORBIDDEN
        spoilt = fault == "schema"
        content: dict[str, Any]
        if path == PING_PATH:
            content = {"status": "error" if spoilt else "success", "env": grant.env, "RRT": rrt()}
        else:
            content = _connection(request, grant)
            if spoilt:
                del content["endpoint"]
        body = _json(content)
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


def _connection(request: Request, grant: Grant) -> dict[str, Any]:
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


@dataclass(frozen=True, slots=True)
class Draw:
    """What happens to one request; `fault` is None where the reply is a good one, though it may be slow."""

    latency_s: float
    server_time_s: float
    fault: Kind | None


class Behaviour:
    """The seeded sequence of draws, equal for equal arguments, and the stalls.

    The k-th draw is for the k-th request, whenever and on whatever connection it arrives.
    Latency, server time and faults come from streams of their own, so that adding one leaves the others as they were.

    Parameters
    ----------
    seed
        Not negative.
    """

    def __init__(self, options: SandboxOptions, seed: int) -> None:
        self._latency_s = _delays_s(options.latency, random.Random(f"{seed} latency"))
        self._server_time_s = _delays_s(options.server_time, random.Random(f"{seed} server time"))
        self._faults = tuple(fault_shares(options.faults).items())
        self._chances = random.Random(f"{seed} fault")
        self._stalls_s = tuple((start_s, start_s + length_s) for length_s, start_s in map(stall_s, options.stalls))

    def draw(self) -> Draw:
        """Return what happens to the next request, in order of arrival."""
        latency_s, server_time_s = next(self._latency_s), next(self._server_time_s)
        fault = self._draw_fault()
        if fault == "slow":
            return Draw(latency_s, server_time_s + SLOW_S, None)
        return Draw(latency_s, server_time_s, fault)

    def _draw_fault(self) -> Fault | None:
        chance = self._chances.random()
        for kind, share in self._faults:
            if chance < share:
                return kind
            chance -= share
        return None

    def stalled_s(self, now_s: float) -> float:
        """Return how long the stall of a moment still lasts, counted from the server's start; 0 where there is none."""
        return max((end_s - now_s for start_s, end_s in self._stalls_s if start_s <= now_s < end_s), default=0.0)


def _delays_s(text: str | None, stream: random.Random) -> Iterator[float]:
    """Draw one delay after the other: constant, or lognormal where the 95th percentile is above the median."""
    median_s, p95_s = (0.0, 0.0) if text is None else delay_s(text)
    if p95_s == median_s:
        return repeat(median_s)
    mu, sigma = math.log(median_s), math.log(p95_s / median_s) / _Z95
    return (stream.lognormvariate(mu, sigma) for _ in count())
