"""The check: each thing that a call depends on, one after the other, over one connection."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from donutwork_magics.client.client import Answer, Client, check_arguments, check_http, connect_without_key
from donutwork_magics.client.key import Unusable
from donutwork_magics.client.replies import (
    API_VERSION,
    CONNECTION,
    PING,
    ConnectionReply,
    Endpoint,
    EndpointSeen,
    http_version,
)
from donutwork_magics.client.results import Sample, advice, stood_still
from donutwork_magics.client.settings import Setup, Target
from donutwork_magics.client.target import current_setup
from donutwork_magics.displayed import CheckReport, Step
from donutwork_magics.errors import Kind
from donutwork_magics.network.caller import Opened
from donutwork_magics.network.sockets import ALPN
from donutwork_magics.pulse import Stillness
from donutwork_magics.types import ENVS, Env, Family, Http

CERTIFICATE_DAYS: Final = 14
"""With fewer days left of the certificate, the check warns."""
CLOCK_TOLERANCE_S: Final = 5.0
"""With more between this clock and the server's, the check warns."""

_VERSION: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def check(
    *,
    env: Env | None = None,
    http: Http = "auto",
    family: Family | None = None,
    timeout_s: float = 10.0,
    target: Target | None = None,
) -> CheckReport:
    """Look at key, connection, permissions, protocol and clock, and say of each whether it is right.

    It opens one connection, and sends one call of ping.json and one of connection.json on it, or less where a step
    before has failed. A failed step is a part of the report, and no error.

    Parameters
    ----------
    env, http, family, target
        As for `Client`.
    timeout_s
        The total deadline of opening the connection, and of each of the two calls.

    Raises
    ------
    ValueError
        An argument cannot be used; nothing was sent.
    SettingsError
        The sandbox is on and has died; nothing was sent.
    """
    timeout_s = check_arguments(target=target, env=env, http=http, family=family, timeout_s=timeout_s)
    setup = current_setup(env) if target is None else target
    check_http(http, sandbox=target is None and setup.sandbox)
    return preflight(setup, http=http, family=family, timeout_s=timeout_s)


def preflight(setup: Setup, *, http: Http, family: Family | None, timeout_s: float) -> CheckReport:
    """Check what was read of the settings; as `check`."""
    with Stillness() as stillness:
        found = _look(setup, http, family, timeout_s)
    found = replace(found, stillness=stillness)
    stop = _stops_after(found.ping) if found.ping else ""
    return CheckReport(
        host=setup.host,
        sandbox=setup.sandbox,
        env=found.env if found.env in ENVS else None,
        steps=_warned_of_pauses(
            found,
            _key(setup),
            _environment(found),
            _address(setup),
            _dns(found),
            _tcp(found),
            _tls(found),
            _accepted(found),
            _permission(found, found.ping, PING, found.obstacle),
            _permission(found, found.connection, CONNECTION, stop or found.obstacle),
            _protocol(found),
            _version(found),
            _clock(found),
            _proxy(setup),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """Everything that was looked at; None where it was not reached."""

    setup: Setup
    http: Http
    opened: Opened | None = None
    ping: Answer | None = None
    connection: Answer | None = None
    stillness: Stillness | None = None

    @property
    def answers(self) -> list[tuple[Answer, Endpoint]]:
        """The calls that were made."""
        made = ((self.ping, PING), (self.connection, CONNECTION))
        return [(answer, endpoint) for answer, endpoint in made if answer is not None]

    @property
    def env(self) -> str | None:
        """The environment that answered."""
        return next((answer.sample.env for answer, _ in self.answers if answer.sample.env is not None), None)

    @property
    def seen(self) -> EndpointSeen | None:
        """How the API saw the connection."""
        reply = self.connection.reply if self.connection else None
        return reply.endpoint if isinstance(reply, ConnectionReply) else None

    @property
    def obstacle(self) -> str:
        """Why no call was made."""
        if isinstance(self.setup.base_url, Unusable):
            return "there is no usable address"
        if self.opened is not None and self.opened.fault is not None:
            return "there is no connection"
        if isinstance(self.setup.ca_pem, Unusable):
            return "there is no secure connection"
        return "there is no usable key"

    def unknown(self, name: str, why: str) -> Step:
        """Skip a step of which the calls tell nothing, or which there were no calls for."""
        return _skipped(name, why if self.ping is not None else self.obstacle)

    def failed(self, name: str, sample: Sample, endpoint: Endpoint = PING) -> Step:
        """Say what became of a call that failed at a step."""
        paused_ms = self.paused_ms(sample.exchange.started_ns, sample.exchange.duration_ms)
        return _bad(name, advice(sample, self.setup, endpoint, paused_ms), sample.error)

    def paused_ms(self, started_ns: int, duration_ms: float) -> float:
        """Compute how much of a time this machine stood still; NaN where that is not known."""
        return math.nan if self.stillness is None else self.stillness.paused_ms(started_ns, duration_ms)

    def not_opened(self, name: str, opened: Opened) -> Step:
        """Say why there is no connection, at the step that it failed at."""
        assert opened.fault is not None
        return self.failed(name, Sample(opened.exchange, opened.fault.kind, opened.fault.reason))


def _look(setup: Setup, http: Http, family: Family | None, timeout_s: float) -> _Found:
    if isinstance(setup.base_url, Unusable):
        return _Found(setup, http)
    target = setup.target
    if target is None:
        opened = connect_without_key(setup, http=http, family=family, timeout_s=timeout_s)
        return _Found(setup, http, opened)
    with Client(target, http=http, family=family, timeout_s=timeout_s) as client:
        opened = client.connect()
        if opened.fault is not None:
            return _Found(setup, http, opened)
        ping = client.answer(PING, with_date=True)
        connection = client.answer(CONNECTION, with_date=True) if not _stops_after(ping) else None
    return _Found(setup, http, opened, ping, connection)


def _stops_after(ping: Answer) -> str:
    """Say why the second call is not made, or nothing."""
    sample = ping.sample
    if sample.status_code is None:
        return "the connection did not last"
    if sample.error == "unauthorized":
        return "the key was refused"
    if sample.error == "rate_limited" or sample.retry_after_s is not None:
        return "the server asks for fewer requests"
    return ""


def _warned_of_pauses(found: _Found, *steps: Step) -> tuple[Step, ...]:
    """Warn once where this machine stood still, at the step that most of that time is in."""
    paused_ms = {name: found.paused_ms(began_ns, took_ms) for name, began_ns, took_ms in _times(found)}
    longest = max(paused_ms, key=lambda name: paused_ms[name], default="")
    # NaN, where it is not known, is not above 0 either.
    if not sum(paused_ms.values()) > 0:
        return steps
    pause, advised = stood_still(sum(paused_ms.values())), "That time is in the numbers: repeat the check."
    return tuple(
        replace(
            step, state="warn", detail=f"{step.detail}. {pause}.", advice=" ".join(filter(None, (advised, step.advice)))
        )
        if step.name == longest
        else step
        for step in steps
    )


def _times(found: _Found) -> Iterator[tuple[str, int, float]]:
    """Give the name of each step that is timed, when it began and how long it took; those that failed say more."""
    if found.opened is not None and found.opened.fault is None:
        exchange = found.opened.exchange
        began_ns = exchange.started_ns
        for name, took_ms in zip(("DNS", "TCP", "TLS"), exchange.phases, strict=False):
            yield name, began_ns, took_ms
            began_ns += int(took_ms * 1e6)
    for answer, endpoint in found.answers:
        if answer.sample.error is None:
            yield endpoint.permission, answer.sample.exchange.started_ns, answer.sample.exchange.duration_ms


def _key(setup: Setup) -> Step:
    key = setup.key
    if isinstance(key, Unusable):
        return _bad("API key", key.why)
    if setup.sandbox:
        return Step("API key", "ok", "the sandbox's own")
    detail = f"set in {key.variable}, well formed"
    if setup.env is not None and setup.env.upper() not in key.variable:
        detail += f"; {setup.env} has no variable of its own"
    return Step("API key", "ok", detail)


def _environment(found: _Found) -> Step:
    name, asked, answered = "Environment", found.setup.env, found.env
    if answered is None:
        skipped = found.unknown(name, "no reply names it")
        return replace(skipped, detail=f"{asked} is asked for; {skipped.detail}") if asked else skipped
    if asked is not None and answered != asked:
        sample = next(answer.sample for answer, _ in found.answers if answer.sample.env is not None)
        return found.failed(name, sample._replace(error="env_mismatch"))
    if answered not in ENVS:
        return Step(name, "warn", "the reply names one that is not documented", "Check that the base URL is the API's.")
    return Step(name, "ok", f"{answered}, as asked for" if asked else f"{answered}; none was asked for")


def _address(setup: Setup) -> Step:
    if isinstance(setup.base_url, Unusable):
        return _bad("Address", setup.base_url.why)
    if setup.variables is None:
        origin = "the sandbox"
    elif setup.default_url:
        origin = "the public one"
    else:
        origin = f"from {setup.variables.base_url}"
    return Step("Address", "ok", f"{setup.base_url.scheme}://{setup.host}, {origin}")


def _dns(found: _Found) -> Step:
    opened = found.opened
    if opened is None:
        return _skipped("DNS", found.obstacle)
    dns_ms = opened.exchange.phases.dns_ms
    if math.isnan(dns_ms):
        return found.not_opened("DNS", opened)
    if not dns_ms:
        base_url = found.setup.base_url
        is_name = not isinstance(base_url, Unusable) and base_url.host == "localhost"
        why = "localhost is this machine" if is_name else "the host is an IP address"
        return _needless("DNS", f"not needed: {why}")
    return Step("DNS", "ok", "the name has an address", duration_ms=dns_ms)


def _tcp(found: _Found) -> Step:
    opened = found.opened
    if opened is None:
        return _skipped("TCP", found.obstacle)
    phases = opened.exchange.phases
    if math.isnan(phases.dns_ms):
        return _skipped("TCP", "no address is known")
    if math.isnan(phases.connect_ms):
        return found.not_opened("TCP", opened)
    # One that was reset at once does not tell its address any more.
    peer = opened.exchange.peer or "an address that closed at once"
    return Step("TCP", "ok", f"connected to {peer}", duration_ms=phases.connect_ms)


def _tls(found: _Found) -> Step:
    setup, opened = found.setup, found.opened
    if opened is None or isinstance(setup.base_url, Unusable):
        return _skipped("TLS", found.obstacle)
    if isinstance(setup.ca_pem, Unusable):
        return _bad("TLS", setup.ca_pem.why)
    phases = opened.exchange.phases
    if math.isnan(phases.connect_ms):
        return _skipped("TLS", "there is no TCP connection")
    if setup.base_url.scheme == "http":
        return _needless("TLS", "none: plain http, which stays on this machine")
    if math.isnan(phases.tls_ms):
        return found.not_opened("TLS", opened)
    return _certificate(opened, setup.host)


def _certificate(opened: Opened, host: str) -> Step:
    version, ends_s = opened.exchange.tls_version, opened.certificate_ends_s
    detail, tls_ms = f"{version}, certificate verified", opened.exchange.phases.tls_ms
    if ends_s is None:
        return Step("TLS", "ok", detail, duration_ms=tls_ms)
    days = int((ends_s - time.time()) // 86_400)
    detail += f", {days} {'day' if days == 1 else 'days'} left"
    if days >= CERTIFICATE_DAYS:
        return Step("TLS", "ok", detail, duration_ms=tls_ms)
    return Step("TLS", "warn", detail, f"Ask the operator of {host} to renew it before it expires.", tls_ms)


def _accepted(found: _Found) -> Step:
    name = "Key accepted"
    errors = [answer.sample.error for answer, _ in found.answers]
    if None in errors:
        return Step(name, "ok", "yes")
    for answer, endpoint in found.answers:
        if answer.sample.error == "unauthorized":
            return found.failed(name, answer.sample, endpoint)
    if "forbidden" in errors:
        return Step(name, "ok", "accepted, but lacks a permission")
    return found.unknown(name, "no reply tells it")


def _permission(found: _Found, answer: Answer | None, endpoint: Endpoint, obstacle: str) -> Step:
    name = endpoint.permission
    if answer is None:
        return _skipped(name, obstacle)
    sample = answer.sample
    if sample.error is None:
        reply = f"{endpoint.path.rpartition('/')[2]} answered as documented"
        return Step(name, "ok", reply, duration_ms=sample.exchange.duration_ms)
    if sample.error == "unauthorized":
        return _skipped(name, "the key was refused")
    return found.failed(name, sample, endpoint)


def _protocol(found: _Found) -> Step:
    name, opened = "Protocol", found.opened
    if opened is not None and opened.fault is not None and not math.isnan(opened.exchange.phases.tls_ms):
        return found.not_opened(name, opened)
    spoken = next((a.sample.exchange.http_version for a, _ in found.answers if a.sample.exchange.http_version), None)
    if opened is None or spoken is None:
        return found.unknown(name, "no reply tells it")
    if opened.exchange.tls_version is None:
        choice = "nothing to negotiate without TLS"
    else:
        choice = f"ALPN: {' and '.join(ALPN[found.http])} offered, {opened.alpn or 'none'} chosen"
    if found.seen is None:
        return _skipped(name, f"HTTP/{spoken} ({choice}); what the API saw is not known")
    seen = http_version(found.seen.protocol)
    if seen is None:
        return Step(name, "warn", f"HTTP/{spoken} ({choice}); the API names none that is documented")
    if seen == spoken:
        return Step(name, "ok", f"HTTP/{spoken}, as the API saw it ({choice})")
    return Step(
        name,
        "warn",
        f"HTTP/{spoken} from here, HTTP/{seen} as the API saw it ({choice})",
        "Something in between translates, such as a CDN or a proxy of your network: times include it.",
    )


def _version(found: _Found) -> Step:
    name = "API version"
    if found.seen is None:
        return found.unknown(name, "connection.json did not answer")
    version = found.seen.api_version
    if version == API_VERSION:
        return Step(name, "ok", f"{version}, as documented")
    shown = version if _VERSION.fullmatch(version) else "another"
    return Step(name, "warn", f"{shown} instead of {API_VERSION}", "Look for a newer release of donutwork_magics.")


def _clock(found: _Found) -> Step:
    name = "Clock"
    answer = next((answer for answer, _ in found.answers if answer.sample.status_code is not None), None)
    if answer is None:
        return found.unknown(name, "there is no reply")
    if (date_s := answer.date_s) is None:
        return _needless(name, "the reply has no Date that can be read")
    ahead_s = _ahead_s(answer.sample, date_s)
    if ahead_s == 0:
        return Step(name, "ok", "agrees with the server's, which shows whole seconds")
    detail = f"{'ahead of' if ahead_s > 0 else 'behind'} the server's by {_about(abs(ahead_s))}"
    if abs(ahead_s) <= CLOCK_TOLERANCE_S:
        return Step(name, "ok", detail)
    return Step(name, "warn", detail, "Set this machine's clock: certificates and time stamps depend on it.")


def _ahead_s(sample: Sample, date_s: float) -> float:
    """Compute by how much at least this clock is ahead of the server's; 0 where they may agree.

    A Date stands for a whole second, and was written at some moment between the request and the reply's first byte.
    """
    exchange = sample.exchange
    sent_s = exchange.timestamp_ns / 1e9
    received_s = sent_s + (exchange.duration_ms - exchange.phases.receive_ms) / 1e3
    return max(0.0, sent_s - (date_s + 1)) + min(0.0, received_s - date_s)


def _proxy(setup: Setup) -> Step:
    names = ", ".join(setup.proxy_variables)
    if setup.sandbox:
        return _needless("Proxy", "calls stay on this machine")
    if not names:
        return Step("Proxy", "ok", "no proxy variable is set")
    return Step(
        "Proxy", "warn", f"{names} set, and not used", "Connections are direct: the network must let them through."
    )


def _bad(name: str, line: str, kind: Kind | None = None) -> Step:
    # Our lines say first what happened, and then what to do next.
    detail, _, next_step = line.partition(". ")
    return Step(name, "bad", detail, next_step, kind=kind)


def _skipped(name: str, why: str) -> Step:
    return Step(name, "skipped", why, untried=True)


def _needless(name: str, why: str) -> Step:
    return Step(name, "skipped", why)


def _about(seconds: float) -> str:
    for unit_s, unit in ((86_400, "days"), (3600, "hours"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "less than 1 s"
