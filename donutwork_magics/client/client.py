"""The client: one call at a time to the two documented endpoints, timed."""

from __future__ import annotations

import contextlib
import platform
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple, Self, get_args

import httpx

from donutwork_magics._version import __version__
from donutwork_magics.client.key import Unusable
from donutwork_magics.client.replies import (
    CONNECTION,
    PING,
    ConnectionReply,
    Endpoint,
    PingReply,
    ReplyError,
    http_date_s,
    is_invalid_token,
    parse_rrt_ms,
    read_reply,
    retry_after_s,
)
from donutwork_magics.client.results import Connection, Ping, Sample, advice
from donutwork_magics.client.settings import Setup, Target
from donutwork_magics.client.target import SWITCH, current_target
from donutwork_magics.errors import DonutworkError, Kind, SettingsError
from donutwork_magics.interrupts import uninterrupted
from donutwork_magics.network.caller import Caller, Opened
from donutwork_magics.network.exchange import Exchange, NetworkFaultError, Prepared, Reply, prepare
from donutwork_magics.network.sockets import ALPN, tls_context
from donutwork_magics.pulse import Stillness
from donutwork_magics.types import ENVS, Env, Family, Http, flag, one_of, seconds
from donutwork_magics.units import without_markup

FAMILIES: dict[Family | None, socket.AddressFamily] = {
    None: socket.AF_UNSPEC,
    "ipv4": socket.AF_INET,
    "ipv6": socket.AF_INET6,
}
_HEADERS = {
    "Accept": "application/json",
    # A compressed reply could unpack to any size, and its time would be our own decoder's.
    "Accept-Encoding": "identity",
    "User-Agent": f"donutwork_magics/{__version__} Python/{platform.python_version()}",
}


def check_arguments(
    *, target: Target | None, env: Env | None, http: Http, family: Family | None, timeout_s: float
) -> float:
    """Check the arguments that all calls have, and return `timeout_s` as a plain float; else a `ValueError`."""
    if not (target is None or isinstance(target, Target)):
        raise ValueError("target needs a Target, or None.")
    one_of("env", env, (None, *ENVS))
    one_of("http", http, get_args(Http))
    one_of("family", family, tuple(FAMILIES))
    if target is not None and env not in {None, target.env}:
        raise ValueError("env needs to be the one of the target, or to be left out.")
    return seconds("timeout_s", timeout_s)


def spoken(*, sandbox: bool) -> tuple[Http, ...]:
    """Return what `Client` takes as `http`; the sandbox speaks less."""
    return ("auto", "1.1") if sandbox else tuple(ALPN)


def check_http(http: Http, *, sandbox: bool) -> None:
    """Refuse a version that cannot be spoken, here or by the sandbox, with a `SettingsError`."""
    if http in spoken(sandbox=sandbox):
        return
    if sandbox:
        raise SettingsError(
            "The sandbox speaks HTTP/1.1 only: leave out --http (in Python: http), or stop the sandbox."
        )
    raise SettingsError("HTTP/3 is not available here: leave out --http (in Python: http), or ask for 2.")


class Answer(NamedTuple):
    """The outcome of one call."""

    sample: Sample
    reply: PingReply | ConnectionReply | None = None
    """There is one exactly where the sample has no error; the key is redacted in it, and in `raw`."""
    raw: Mapping[str, Any] = {}
    date_s: float | None = None
    """The Date header, since the epoch."""


class Client:
    """Calls the API over one connection, which is kept alive between calls.

    A client serves one thread at a time; it is a context manager that closes its connection.

    Parameters
    ----------
    target
        Where to call; by default the sandbox that is on, else what the environment variables say. Without a target, a
        client refuses calls after a sandbox is switched on or off.
    env
        The environment to ask for, where no target is given.
    http
        ``auto`` (the server chooses), ``1.1``, ``2`` or ``3``.
    family
        ``ipv4`` or ``ipv6`` only.
    timeout_s
        The total deadline of a call, from name resolution to the last byte.
    cold
        A new connection for each call.

    Raises
    ------
    ValueError
        An argument cannot be used.
    SettingsError
        A variable is missing or not usable, the sandbox is on and has died, or the HTTP version is not available.

    Examples
    --------
    >>> with Client(env="staging") as client:
    ...     ping = client.ping()
    >>> ping.rrt_ms, ping.timing["duration_ms"]
    (1.42, 31.6)
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
        timeout_s = check_arguments(target=target, env=env, http=http, family=family, timeout_s=timeout_s)
        flag("cold", cold)
        self._follows_switch = target is None
        self._sandbox = SWITCH.sandbox
        self.target = current_target(env) if target is None else target
        check_http(http, sandbox=target is None and self.target.sandbox)
        self._caller = Caller(
            self.target.base_url,
            self.target.key.authorization,
            context=_tls_context(self.target.base_url, http, self.target.ca_pem),
            http=http,
            family=FAMILIES[family],
            timeout_s=timeout_s,
            cold=cold,
        )
        self._requests = {endpoint.path: self._request(endpoint.path) for endpoint in (PING, CONNECTION)}

    def ping(self) -> Ping:
        """Ask whether the API is operational.

        Raises
        ------
        DonutworkError
            The call failed; ``kind`` is one of `donutwork_magics.errors.KINDS`.
        """
        (sample, reply, raw, _date), paused_ms = self._answer_or_raise(PING)
        assert isinstance(reply, PingReply)
        return Ping(
            host=self.target.host,
            sandbox=self.target.sandbox,
            timing=sample.timing(),
            raw=raw,
            paused_ms=paused_ms,
            status=reply.status,
            env=reply.env,
            rrt=reply.rrt,
            rrt_ms=sample.rrt_ms,
        )

    def connection(self) -> Connection:
        """Ask how the API sees this connection.

        Raises
        ------
        DonutworkError
            The call failed; ``kind`` is one of `donutwork_magics.errors.KINDS`.
        """
        (sample, reply, raw, _date), paused_ms = self._answer_or_raise(CONNECTION)
        assert isinstance(reply, ConnectionReply)
        return Connection(
            host=self.target.host,
            sandbox=self.target.sandbox,
            timing=sample.timing(),
            raw=raw,
            paused_ms=paused_ms,
            user_agent=reply.client.user_agent,
            ipv4=reply.client.ips.ipv4,
            ipv6=reply.client.ips.ipv6,
            api_version=reply.endpoint.api_version,
            env=reply.endpoint.env,
            protocol=reply.endpoint.protocol,
        )

    def sample(self) -> Sample:
        """Ping, and return the outcome, a failure too; a cancelled call is a `CallCancelledError`."""
        return self.answer(PING).sample

    def connect(self) -> Opened:
        """Open the connection for the next call, and send nothing."""
        self._check_switch()
        return self._caller.connect()

    @uninterrupted
    def answer(self, endpoint: Endpoint, *, with_date: bool = False) -> Answer:
        """Call an endpoint, and return the outcome, a failure too; `Answer.date_s` only `with_date`."""
        reply, exchange = self.fetch(self._requests[endpoint.path])
        if isinstance(reply, NetworkFaultError):
            return Answer(Sample(exchange, reply.kind, reply.reason))
        answer = self._read(endpoint, reply, exchange)
        return answer._replace(date_s=http_date_s(reply.header(b"date") or "")) if with_date else answer

    def fetch(self, request: Prepared) -> tuple[Reply | NetworkFaultError, Exchange]:
        """Send a request with the key, and return the reply as it came: the server may have repeated the key in it.

        Raises
        ------
        SettingsError
            A sandbox was switched on or off since the client was made, and it was to call what is on.
        """
        self._check_switch()
        return self._caller.call(request)

    def cancel(self) -> None:
        """Cancel the call that another thread is waiting in, and refuse further ones."""
        self._caller.cancel()

    def close(self) -> None:
        """Close the connection."""
        self._caller.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _answer_or_raise(self, endpoint: Endpoint) -> tuple[Answer, float]:
        """Call an endpoint, and return the reply, and for how long this machine stood still meanwhile."""
        with Stillness() as stillness:
            answer = self.answer(endpoint)
        sample = answer.sample
        paused_ms = stillness.paused_ms(sample.exchange.started_ns, sample.exchange.duration_ms)
        if sample.error is not None:
            raise DonutworkError(advice(sample, self.target, endpoint, paused_ms), sample.error)
        return answer, paused_ms

    def _check_switch(self) -> None:
        if self._follows_switch and SWITCH.sandbox is not self._sandbox:
            raise SettingsError("A sandbox was switched on or off since this client was made. Make a new one.")

    def _request(self, path: str) -> Prepared:
        base_url = self.target.base_url
        raw_path = base_url.raw_path.rstrip(b"/") + path.encode("ascii")
        return prepare(httpx.Request("GET", base_url.copy_with(raw_path=raw_path), headers=_HEADERS))

    def _read(self, endpoint: Endpoint, reply: Reply, exchange: Exchange) -> Answer:
        sample = Sample(
            exchange,
            _status_error(reply.status, reply.body),
            status_code=reply.status,
            retry_after_s=retry_after_s(self.target.key.redact(reply.header(b"retry-after")), reply.header(b"date")),
            body_bytes=len(reply.body),
        )
        if sample.error is not None:
            return Answer(sample)
        try:
            raw, documented = read_reply(reply.body, endpoint, self.target.key.redact)
        except ReplyError as failure:
            return Answer(sample._replace(error=failure.kind, reason=failure.reason))
        env = documented.env if isinstance(documented, PingReply) else documented.endpoint.env
        sample = sample._replace(env=without_markup(env))
        if isinstance(documented, PingReply):
            sample = sample._replace(rrt=without_markup(documented.rrt), rrt_ms=parse_rrt_ms(documented.rrt))
        if self.target.env not in {None, env}:
            return Answer(sample._replace(error="env_mismatch"))
        return Answer(sample, documented, raw)


def connect_without_key(setup: Setup, *, http: Http, family: Family | None, timeout_s: float) -> Opened:
    """Open a connection to a usable base URL and close it again, where a key or a certificate file is missing."""
    assert isinstance(setup.base_url, httpx.URL)
    context = _tls_context(setup.base_url, http, setup.ca_pem) if not isinstance(setup.ca_pem, Unusable) else None
    caller = Caller(setup.base_url, context=context, http=http, family=FAMILIES[family], timeout_s=timeout_s)
    with contextlib.closing(caller):
        return caller.connect()


def _tls_context(base_url: httpx.URL, http: Http, ca_pem: str | None) -> ssl.SSLContext | None:
    return tls_context(http, ca_pem) if base_url.scheme == "https" else None


def _status_error(status: int, body: bytes) -> Kind | None:
    known: dict[int, Kind] = {401: "unauthorized", 403: "forbidden", 404: "not_found", 429: "rate_limited"}
    if status == httpx.codes.OK:
        return None
    # The documentation gives no status for an invalid key, only the body: look for it under every 4xx.
    if 400 <= status < 500 and is_invalid_token(body):
        return "unauthorized"
    if status in known:
        return known[status]
    if 300 <= status < 400:
        return "redirect"
    if 500 <= status < 600:
        return "server_error"
    return "unexpected_status"
