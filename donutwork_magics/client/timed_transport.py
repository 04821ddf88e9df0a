"""A transport of httpx that sends GET requests to the API and times each of them."""

from __future__ import annotations

import json
import math
import os
import threading
import weakref
from collections.abc import Callable
from typing import Final

import httpx

from donutwork_magics.client.client import Client
from donutwork_magics.client.replies import PING
from donutwork_magics.client.results import Sample, advice
from donutwork_magics.client.settings import Target
from donutwork_magics.interrupts import uninterrupted
from donutwork_magics.network.exchange import NetworkFaultError, Prepared, Reply, prepare
from donutwork_magics.pulse import Stillness
from donutwork_magics.types import Env, Family, Http

EXTENSION: Final = "donutwork"
"""Where `httpx.Response.extensions` holds the timing."""

_NOT_SENT: Final = {
    # The driver writes its own, and has no body to announce.
    *(b"host", b"content-length", b"transfer-encoding", b"accept-encoding"),
    # These are about one connection of HTTP/1.1 (RFC 9110, section 7.6.1), which is not httpx's.
    *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"),
}


class TimedTransport(httpx.BaseTransport):
    """Sends the GET requests of an `httpx.Client` to the API over one connection, and times each of them.

    The key is added beneath httpx, where no object of httpx holds it. The phases are in
    ``response.extensions["donutwork"]``, a dict as `Ping.timing`: times in milliseconds by the names of the columns,
    and `paused_ms`, for how long this machine stood still meanwhile. In it `rrt_ms` and `network_ms` are NaN, as the
    reply's body is not looked at for the server's own time.

    Parameters
    ----------
    target, env, http, family, cold
        As for `Client`.
    timeout_s
        The total deadline of a call, from name resolution to the last byte. The timeouts of httpx have no effect.

    Raises
    ------
    ValueError
        An argument cannot be used.
    SettingsError
        A variable is missing or not usable, or the sandbox is on and has died.

    Notes
    -----
    A request with another origin than the target's, another method than GET, a body or an Authorization header is not
    sent: it raises `httpx.LocalProtocolError`. A call that gets no usable reply raises another `httpx.TransportError`,
    such as `httpx.ConnectError` or `httpx.ReadTimeout`. It has the attributes ``kind``, one of
    `donutwork_magics.errors.KINDS`, and ``timing``, what was measured until then. Where a sandbox was switched on or
    off since the transport was made, a call raises `SettingsError`. A status such as 401 is no error.

    Compressed replies are not asked for. A reply of more than 64 KiB is refused. The key and its traces are replaced
    by ``[redacted]`` in the reply's headers and body. Several threads may share a transport: their calls wait for one
    another, and the waiting is not in their times.

    Examples
    --------
    >>> with TimedTransport() as t, httpx.Client(transport=t, base_url=t.base_url) as client:  # doctest: +SKIP
    ...     response = client.get("/2026-02-01/ping.json")
    ...     response.extensions["donutwork"]["ttfb_ms"]
    """

    def __init__(
        self,
        target: Target | None = None,
        *,
        env: Env | None = None,
        http: Http = "auto",
        family: Family | None = None,
        timeout_s: float = 10.0,
        cold: bool = False,
    ) -> None:
        self._client = Client(target, env=env, http=http, family=family, timeout_s=timeout_s, cold=cold)
        self._one_call = threading.Lock()
        _transports.add(self)

    @property
    def target(self) -> Target:
        """Where calls go."""
        return self._client.target

    @property
    def base_url(self) -> httpx.URL:
        """The base URL of the target, for `httpx.Client`."""
        return self._client.target.base_url

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and read the reply to its end; `httpx.Client` calls this."""
        prepared = self._prepared(request)
        with self._one_call:
            return self._fetched(prepared)

    # In a reply as it came, the server may have repeated the key.
    @uninterrupted
    def _fetched(self, prepared: Prepared) -> httpx.Response:
        with Stillness() as stillness:
            reply, exchange = self._client.fetch(prepared)
        paused_ms = stillness.paused_ms(exchange.started_ns, exchange.duration_ms)
        if isinstance(reply, NetworkFaultError):
            raise self._error(Sample(exchange, reply.kind, reply.reason), paused_ms)
        return self._response(reply, Sample(exchange, status_code=reply.status, body_bytes=len(reply.body)), paused_ms)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _prepared(self, request: httpx.Request) -> Prepared:
        """Check a request, and serialise it without the key."""
        problem = self._problem(request)
        if not problem:
            kept = [(name, value) for name, value in request.headers.raw if name.lower() not in _NOT_SENT]
            try:
                return prepare(httpx.Request("GET", request.url, headers=[*kept, (b"Accept-Encoding", b"identity")]))
            except ValueError:
                problem = "A header of this request cannot be sent: its name or its value is not allowed in HTTP."
        raise httpx.LocalProtocolError(problem)

    def _problem(self, request: httpx.Request) -> str:
        """Say why a request is not to be sent, or nothing; the request itself is not repeated."""
        if _origin(request.url) != _origin(self.base_url):
            return f"TimedTransport calls {self.target.host} only: give paths below its base_url."
        if request.method != "GET":
            return "TimedTransport sends GET requests only."
        if "authorization" in request.headers:
            return "TimedTransport adds the key itself: leave out the Authorization header and auth."
        if not isinstance(request.stream, httpx.SyncByteStream) or any(request.stream):
            return "TimedTransport sends no body: leave out content, data, files and json."
        return ""

    def _response(self, answer: Reply, sample: Sample, paused_ms: float) -> httpx.Response:
        redact = self.target.key.redact_document
        # The driver has decoded the chunks, and has refused or dropped a compressed body.
        dropped = {b"transfer-encoding", b"content-encoding", b"content-length"}
        kept = [(name, value) for name, value in answer.headers if name.lower() not in dropped]
        headers = [(_redacted(name, redact), _redacted(value, redact)) for name, value in kept]
        charset = httpx.Response(answer.status, headers=headers).encoding or "utf-8"
        # `Response.json` looks at the bytes alone.
        body = _redacted(answer.body, redact, charset, json.detect_encoding(answer.body))
        return httpx.Response(
            answer.status,
            headers=headers,
            content=body,
            extensions={
                "http_version": b"HTTP/" + answer.http_version.encode(),
                EXTENSION: {**sample.timing(), "paused_ms": paused_ms},
            },
        )

    def _error(self, sample: Sample, paused_ms: float) -> httpx.TransportError:
        assert sample.error is not None
        phases = sample.exchange.phases
        error_class: type[httpx.TransportError]
        connected, sent = not math.isnan(phases.tls_ms), not math.isnan(phases.send_ms)
        if sample.error == "timeout":
            error_class = httpx.ReadTimeout if sent else httpx.WriteTimeout if connected else httpx.ConnectTimeout
        elif sample.error == "connection_lost":
            error_class = httpx.ReadError if sent else httpx.WriteError
        elif sample.error in {"dns", "connect", "tls"} and not sent:
            error_class = httpx.ConnectError
        else:
            error_class = httpx.RemoteProtocolError
        # The line of a failure beneath HTTP names no endpoint.
        error = error_class(f"{sample.error}: {advice(sample, self.target, PING, paused_ms)}")
        vars(error).update(kind=sample.error, timing={**sample.timing(), "paused_ms": paused_ms})
        return error


_transports: Final[weakref.WeakSet[TimedTransport]] = weakref.WeakSet()


def _renew_locks() -> None:
    for transport in _transports:
        transport._one_call = threading.Lock()


if hasattr(os, "register_at_fork"):
    # Another thread may hold a lock at the moment of a fork; the child does not have that thread.
    os.register_at_fork(after_in_child=_renew_locks)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _redacted(data: bytes, redact: Callable[[str], str], *encodings: str) -> bytes:
    """Redact what the server sent, as it is read in some encodings, and always in UTF-8 and in Latin-1."""
    for encoding in dict.fromkeys((*encodings, "utf-8", *(() if data.isascii() else ("latin-1",)))):
        try:
            # As httpx decodes: one byte that is wrong does not hide the rest.
            text = data.decode(encoding, "replace")
        except (LookupError, ValueError):
            continue
        redacted = redact(text)
        if redacted != text:
            data = redacted.encode(encoding, "replace")
    return data
