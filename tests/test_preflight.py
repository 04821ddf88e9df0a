"""Given a key, a network and a server like this, the step of a check says that, and what to do."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Protocol

import pytest
import trustme

from donutwork_magics import CheckReport, check
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.display import mimebundle
from donutwork_magics.displayed import Step
from donutwork_magics.errors import Kind
from donutwork_magics.grammar.commands import SandboxOptions
from donutwork_magics.network import connection, sockets
from donutwork_magics.network.sockets import Address, known_addresses
from donutwork_magics.sandbox.process import Sandbox
from donutwork_magics.types import Env, Http
from tests.servers import BODY, Handler, Server, answer_api, closed_port, hang, read_request, refuse_tls, reply, reset
from tests.servers.http2 import answer_api_http2
from tests.support.pauses import backtrack_for

KEY = "dw_test_Kx81mZq0vTnR57yE"
SEEN = (
    b'{"client": {"userAgent": "x", "ips": {"ipv4": "127.0.0.1"}},'
    b' "endpoint": {"apiVersion": "2026-02-01", "env": "staging", "protocol": "HTTP1.1"}}'
)
STEPS = [
    *("API key", "Environment", "Address", "DNS", "TCP", "TLS", "Key accepted"),
    *("ping:read", "connection:read", "Protocol", "API version", "Clock", "Proxy"),
]
INVALID_TOKEN = reply(b'{"error": "Invalid token"}', "401 Unauthorized")
FORBIDDEN = reply(b"{}", "403 Forbidden")


def dated(offset_s: float) -> str:
    """Return a Date header that is some seconds off."""
    return f"Date: {formatdate(time.time() + offset_s, usegmt=True)}"


GOOD = (reply(), reply(SEEN))


@dataclass
class Authority:
    """A certificate authority, whose root the client is told."""

    root: Path
    ca: trustme.CA

    def serving(self, host: str = "localhost", days: int = 90, protocol: str = "http/1.1") -> ssl.SSLContext:
        """Make a server's context, whose certificate ends in some days."""
        ends = datetime.now(UTC) + timedelta(days=days, hours=1)
        begins = min(ends, datetime.now(UTC)) - timedelta(days=30)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(host, not_before=begins, not_after=ends).configure_cert(context)
        context.set_alpn_protocols([protocol])
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    root, ca = tmp_path_factory.mktemp("authority") / "root.pem", trustme.CA()
    ca.cert_pem.write_to_path(str(root))
    return Authority(root, ca)


@pytest.fixture(autouse=True)
def looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a resolver asked for localhost too, as for the name of the API."""

    def without_localhost(host: str, port: int, family: socket.AddressFamily) -> list[Address]:
        return [] if host == "localhost" else known_addresses(host, port, family)

    monkeypatch.setattr(connection, "known_addresses", without_localhost)


@pytest.fixture(autouse=True)
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, and none of the proxy variables of the machine."""
    monkeypatch.setenv("DONUTWORK_API_KEY", KEY)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


Aim = Callable[[str], None]


class Examine(Protocol):
    """Check against a handler, or a pair of replies."""

    def __call__(
        self,
        served: Handler | tuple[bytes, bytes],
        *,
        tls: ssl.SSLContext | None = None,
        env: Env | None = None,
        http: Http = "auto",
        timeout_s: float = 5.0,
    ) -> Examined: ...


@dataclass
class Examined:
    """A report, what was asked of the server, and over how many connections."""

    report: CheckReport
    asked: list[str]
    connections: int


@pytest.fixture
def aim(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> Aim:
    def at(url: str) -> None:
        monkeypatch.setenv("DONUTWORK_BASE_URL", url)
        if url.startswith("https"):
            monkeypatch.setenv("DONUTWORK_CA_BUNDLE", str(authority.root))

    return at


@pytest.fixture
def examine(aim: Aim) -> Examine:
    def run(
        served: Handler | tuple[bytes, bytes],
        *,
        tls: ssl.SSLContext | None = None,
        env: Env | None = None,
        http: Http = "auto",
        timeout_s: float = 5.0,
    ) -> Examined:
        asked: list[str] = []
        handler = answer_api(*served, asked) if isinstance(served, tuple) else served
        with Server(handler, tls=tls) as server:
            aim(server.url)
            report = check(env=env, http=http, timeout_s=timeout_s)
        return Examined(report, asked, server.connections)

    return run


def step(report: CheckReport, name: str) -> Step:
    return next(step for step in report.steps if step.name == name)


def by_state(report: CheckReport) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for each in report.steps:
        names.setdefault(each.state, []).append(each.name)
    return names


class TestAllRight:
    def test_every_step_is_there_and_those_on_the_wire_are_timed(self, examine: Examine, authority: Authority) -> None:
        made = examine((reply(BODY, "200 OK", dated(0)), reply(SEEN)), tls=authority.serving())
        assert made.report.ok, made.report
        assert [each.name for each in made.report.steps] == STEPS
        assert by_state(made.report) == {"ok": STEPS}
        timed = {each.name: each.duration_ms for each in made.report.steps if each.duration_ms is not None}
        assert list(timed) == ["DNS", "TCP", "TLS", "ping:read", "connection:read"]
        assert all(0 < duration_ms < 5000 for duration_ms in timed.values())

    def test_it_takes_one_connection_and_one_call_of_each_endpoint(
        self, examine: Examine, authority: Authority
    ) -> None:
        made = examine(GOOD, tls=authority.serving())
        assert made.asked == ["ping.json", "connection.json"]
        assert made.connections == 1

    def test_over_http2_too(self, examine: Examine, authority: Authority) -> None:
        asked: list[str] = []
        bodies = {"ping.json": BODY, "connection.json": SEEN.replace(b"HTTP1.1", b"HTTP2")}
        made = examine(answer_api_http2(bodies, asked), tls=authority.serving(protocol="h2"))
        assert by_state(made.report) == {"ok": STEPS}, made.report
        assert step(made.report, "Protocol").detail == (
            "HTTP/2, as the API saw it (ALPN: h2 and http/1.1 offered, h2 chosen)"
        )
        assert (asked, made.connections) == (["ping.json", "connection.json"], 1)

    def test_the_times_are_those_of_the_network(self, examine: Examine, authority: Authority) -> None:
        def slow(connection: socket.socket) -> None:
            while request := read_request(connection):
                time.sleep(0.4)
                connection.sendall(GOOD[b"connection.json" in request])

        report = examine(slow, tls=authority.serving()).report
        assert (step(report, "ping:read").duration_ms or 0) >= 400
        assert (step(report, "connection:read").duration_ms or 0) >= 400
        assert (step(report, "TCP").duration_ms or 0) < 400

    def test_the_time_of_the_handshake_is_its_own(self, aim: Aim, authority: Authority) -> None:
        context = authority.serving()

        def late(raw: socket.socket) -> None:
            time.sleep(0.4)
            with context.wrap_socket(raw, server_side=True) as connection:
                answer_api(*GOOD, [])(connection)

        with Server(late) as server:
            aim(server.url.replace("http:", "https:"))
            report = check()
        assert report.ok, report
        assert (step(report, "TLS").duration_ms or 0) >= 395
        assert (step(report, "ping:read").duration_ms or 0) < 395

    def test_it_reads_as_text(self, examine: Examine) -> None:
        report = examine(GOOD).report
        assert repr(report) == mimebundle(report)["text/plain"]
        assert repr(report).startswith("✓ Check: ready [staging]")


class TestSettings:
    def test_without_a_key_the_network_is_looked_at_and_nothing_is_sent(
        self, examine: Examine, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DONUTWORK_API_KEY")
        made = examine(GOOD, tls=authority.serving())
        assert not made.report.ok
        assert by_state(made.report) == {
            "bad": ["API key"],
            "ok": ["Address", "DNS", "TCP", "TLS", "Proxy"],
            "skipped": [
                *("Environment", "Key accepted", "ping:read", "connection:read", "Protocol", "API version", "Clock")
            ],
        }
        assert step(made.report, "API key").detail == "No API key: DONUTWORK_API_KEY is not set"
        assert "getpass" in step(made.report, "API key").advice
        assert step(made.report, "ping:read").detail == "there is no usable key"
        assert (made.asked, made.connections) == ([], 1)

    @pytest.mark.parametrize("value", ["", "short", "two words here"])
    def test_a_key_that_cannot_be_one_is_named_by_its_variable(
        self, examine: Examine, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv("DONUTWORK_API_KEY", value)
        made = examine(GOOD)
        assert step(made.report, "API key").state == "bad"
        assert "DONUTWORK_API_KEY" in step(made.report, "API key").detail
        assert made.asked == []
        assert not value or value not in repr(made.report)

    def test_the_variable_of_the_environment_is_named(self, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
        report = examine(GOOD, env="staging").report
        assert step(report, "API key").detail == (
            "set in DONUTWORK_API_KEY, well formed; staging has no variable of its own"
        )
        assert step(report, "Environment").detail == "staging, as asked for"
        monkeypatch.setenv("DONUTWORK_STAGING_API_KEY", KEY)
        with closed_port() as port:
            monkeypatch.setenv("DONUTWORK_STAGING_BASE_URL", f"http://127.0.0.1:{port}")
            report = check(env="staging")
        assert step(report, "API key").detail == "set in DONUTWORK_STAGING_API_KEY, well formed"
        assert step(report, "Address").detail.endswith("from DONUTWORK_STAGING_BASE_URL")

    @pytest.mark.parametrize(
        "url", ["http://api.example.com", "https://user:pass@api.example.com", "https://a..b", "nonsense"]
    )
    def test_an_address_that_must_not_get_the_key(self, aim: Aim, url: str) -> None:
        aim(url)
        report = check()
        assert by_state(report)["bad"] == ["Address"]
        assert by_state(report)["ok"] == ["API key", "Proxy"]
        assert step(report, "Address").detail.startswith("DONUTWORK_BASE_URL ")
        assert "https://api.hub.donutwork.com" in step(report, "Address").advice
        assert (report.host, "pass@" in repr(report)) == ("", False)

    def test_all_that_is_wrong_is_said_at_once(self, aim: Aim, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DONUTWORK_API_KEY")
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        aim("nonsense")
        report = check()
        assert [each.name for each in report.failed] == ["API key", "Address"]
        assert [each.name for each in report.warnings] == ["Proxy"]

    def test_roots_that_cannot_be_read(
        self, examine: Examine, authority: Authority, aim: Aim, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with Server(answer_api(*GOOD, []), tls=authority.serving()) as server:
            aim(server.url)
            monkeypatch.setenv("DONUTWORK_CA_BUNDLE", str(tmp_path / "none.pem"))
            report = check()
        assert by_state(report)["bad"] == ["TLS"]
        assert "DONUTWORK_CA_BUNDLE" in step(report, "TLS").detail
        assert step(report, "TCP").state == "ok"
        assert step(report, "ping:read").detail == "there is no secure connection"

    def test_a_proxy_variable_is_a_warning_and_its_value_is_not_shown(
        self, examine: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("https_proxy", "http://user:hidden@proxy.example")
        report = examine(GOOD).report
        assert report.ok
        assert step(report, "Proxy").state == "warn"
        assert "https_proxy" in step(report, "Proxy").detail
        assert "hidden" not in repr(report)
        assert repr(report).startswith("⚠ Check: ready, with 1 warning")


class TestNetwork:
    def test_a_name_that_does_not_exist(self, aim: Aim) -> None:
        aim("https://donutwork.invalid")
        report = check()
        assert by_state(report)["bad"] == ["DNS"]
        assert step(report, "DNS").kind == "dns"
        assert step(report, "TCP").detail == "no address is known"
        assert step(report, "TLS").detail == "there is no TCP connection"
        assert step(report, "ping:read").detail == "there is no connection"

    def test_a_resolver_that_does_not_answer(self, aim: Aim, monkeypatch: pytest.MonkeyPatch) -> None:
        released = threading.Event()

        def hang_for_names(*question: object) -> list[sockets.Address]:
            is_number_asked_for = len(question) > 3
            if not is_number_asked_for:
                released.wait(10)
            return []

        monkeypatch.setattr(sockets, "_getaddrinfo", hang_for_names)
        aim("https://donutwork.invalid")
        report = check(timeout_s=0.2)
        released.set()
        assert by_state(report)["bad"] == ["DNS"]
        assert step(report, "DNS").kind == "timeout"
        assert step(report, "TCP").detail == "no address is known"

    def test_localhost_needs_no_resolver(self, aim: Aim, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "known_addresses", known_addresses)
        with Server(answer_api(*GOOD, [])) as server:
            aim(server.url)
            report = check()
        assert step(report, "DNS").state == "skipped"
        assert step(report, "DNS").detail == "not needed: localhost is this machine"

    def test_nobody_listens(self, aim: Aim) -> None:
        with closed_port() as port:
            aim(f"http://127.0.0.1:{port}")
            report = check()
        assert by_state(report)["bad"] == ["TCP"]
        assert (step(report, "TCP").kind, step(report, "DNS").state) == ("connect", "skipped")
        assert "Check your network" in step(report, "TCP").advice

    def test_plain_http_says_that_there_is_no_tls(self, examine: Examine) -> None:
        report = examine(GOOD).report
        assert report.ok
        assert step(report, "TLS").state == "skipped"
        assert step(report, "TLS").detail == "none: plain http, which stays on this machine"
        assert "nothing to negotiate without TLS" in step(report, "Protocol").detail

    @pytest.mark.parametrize(("days", "state"), [(0, "warn"), (1, "warn"), (13, "warn"), (14, "ok"), (90, "ok")])
    def test_the_days_that_the_certificate_has_left(
        self, examine: Examine, authority: Authority, days: int, state: str
    ) -> None:
        report = examine(GOOD, tls=authority.serving(days=days)).report
        assert report.ok
        assert step(report, "TLS").state == state
        left = "1 day" if days == 1 else f"{days} days"
        assert step(report, "TLS").detail == f"TLSv1.3, certificate verified, {left} left"
        assert bool(step(report, "TLS").advice) == (state == "warn")

    @pytest.mark.parametrize(
        ("host", "days", "says"),
        [("localhost", -1, "certificate has expired"), ("elsewhere.example", 90, "not valid for 'localhost'")],
    )
    def test_a_certificate_that_is_refused_says_why_and_nothing_is_sent(
        self, examine: Examine, authority: Authority, host: str, days: int, says: str
    ) -> None:
        made = examine(GOOD, tls=authority.serving(host, days))
        assert by_state(made.report)["bad"] == ["TLS"]
        assert says in step(made.report, "TLS").detail
        assert step(made.report, "TLS").kind == "tls"
        assert (step(made.report, "TCP").state, step(made.report, "TCP").detail) == ("ok", "connected to 127.0.0.1")
        assert made.asked == []

    def test_an_unknown_authority(self, examine: Examine) -> None:
        stranger = Authority(Path(), trustme.CA())
        report = examine(GOOD, tls=stranger.serving()).report
        assert "unable to get local issuer certificate" in step(report, "TLS").detail
        assert "DONUTWORK_CA_BUNDLE" in step(report, "TLS").advice

    @pytest.mark.parametrize(
        ("family", "has_key", "peer"),
        [
            (socket.AF_INET, True, "127.0.0.1"),
            (socket.AF_INET6, True, "::1"),
            (socket.AF_INET, False, "127.0.0.1"),
        ],
        ids=["IPv4", "IPv6", "without a key"],
    )
    def test_a_server_that_does_not_speak_tls(
        self, aim: Aim, monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily, has_key: bool, peer: str
    ) -> None:
        if not has_key:
            monkeypatch.delenv("DONUTWORK_API_KEY")
        with Server(refuse_tls, family=family) as server:
            aim(server.url.replace("http:", "https:"))
            report = check()
        assert by_state(report)["bad"] == (["TLS"] if has_key else ["API key", "TLS"])
        assert step(report, "TLS").kind == "tls"
        assert step(report, "TCP").detail == f"connected to {peer}"

    def test_silence_in_the_handshake_ends_at_the_deadline(self, aim: Aim) -> None:
        with Server(hang) as server:
            aim(server.url.replace("http:", "https:"))
            began_s = time.monotonic()
            report = check(timeout_s=0.3)
        assert time.monotonic() - began_s < 5
        assert by_state(report)["bad"] == ["TLS"]
        assert step(report, "TLS").kind == "timeout"
        assert "in the TLS handshake" in step(report, "TLS").detail
        assert step(report, "TCP").detail == "connected to 127.0.0.1"


class TestProtocol:
    def test_http2_that_is_not_offered(self, examine: Examine, authority: Authority) -> None:
        made = examine(GOOD, tls=authority.serving(), http="2")
        assert by_state(made.report)["bad"] == ["Protocol"]
        assert "does not offer this version of HTTP" in step(made.report, "Protocol").detail
        assert step(made.report, "TLS").detail.endswith("90 days left")
        assert made.asked == []

    @pytest.mark.parametrize("seen", ["HTTP2", "HTTP3", "HTTP/2.0"])
    def test_another_one_at_the_api_is_a_warning(self, examine: Examine, seen: str) -> None:
        report = examine((reply(), reply(SEEN.replace(b"HTTP1.1", seen.encode())))).report
        assert report.ok
        assert step(report, "Protocol").state == "warn"
        assert f"HTTP/1.1 from here, HTTP/{seen[-1:] if '/' not in seen else '2'} as" in step(report, "Protocol").detail

    @pytest.mark.parametrize("seen", ["HTTP1.1", "HTTP/1.1"])
    def test_the_same_in_other_words_is_not(self, examine: Examine, seen: str) -> None:
        report = examine((reply(), reply(SEEN.replace(b"HTTP1.1", seen.encode())))).report
        assert step(report, "Protocol").state == "ok"

    def test_another_api_version_is_a_warning(self, examine: Examine) -> None:
        report = examine((reply(), reply(SEEN.replace(b"2026-02-01", b"2027-01-01")))).report
        assert step(report, "API version").state == "warn"
        assert step(report, "API version").detail == "2027-01-01 instead of 2026-02-01"


class TestPermissions:
    @pytest.mark.parametrize("refusal", [INVALID_TOKEN, reply(b'{"error": "Invalid token"}', "400 Bad Request")])
    def test_a_key_that_is_refused_is_not_tried_again(self, examine: Examine, refusal: bytes) -> None:
        made = examine((refusal, refusal))
        assert by_state(made.report)["bad"] == ["Key accepted"]
        assert step(made.report, "Key accepted").kind == "unauthorized"
        assert step(made.report, "ping:read").detail == "the key was refused"
        assert step(made.report, "connection:read").detail == "the key was refused"
        assert made.asked == ["ping.json"]

    @pytest.mark.parametrize(
        ("replies", "missing"),
        [
            ((FORBIDDEN, reply(SEEN)), ["ping:read"]),
            ((reply(), FORBIDDEN), ["connection:read"]),
            ((FORBIDDEN, FORBIDDEN), ["ping:read", "connection:read"]),
        ],
    )
    def test_each_permission_is_tried(self, examine: Examine, replies: tuple[bytes, bytes], missing: list[str]) -> None:
        made = examine(replies)
        assert by_state(made.report)["bad"] == missing
        assert {each.kind for each in made.report.failed} == {"forbidden"}
        assert step(made.report, "Key accepted").state == "ok"
        assert made.asked == ["ping.json", "connection.json"]

    @pytest.mark.parametrize(
        ("ping", "kind", "goes_on"),
        [
            (reply(b"", "500 Internal Server Error"), "server_error", True),
            (reply(b"", "404 Not Found"), "not_found", True),
            (reply(b"<html>"), "invalid_body", True),
            (reply(BODY.replace(b"success", b"failure")), "schema", True),
            (reply(b"", "302 Found", "Location: https://elsewhere.example/"), "redirect", True),
            (reply(b"", "429 Too Many Requests", "Retry-After: 7"), "rate_limited", False),
            (reply(b"", "503 Service Unavailable", "Retry-After: 7"), "server_error", False),
            (reply()[:20], "connection_lost", False),
        ],
    )
    def test_a_ping_that_fails(self, examine: Examine, ping: bytes, kind: Kind, goes_on: bool) -> None:
        def served(connection: socket.socket) -> None:
            while request := read_request(connection):
                asked.append(b"ping" in request)
                connection.sendall(ping if b"ping" in request else reply(SEEN))
                if kind == "connection_lost":
                    return

        asked: list[bool] = []
        made = examine(served)
        assert by_state(made.report)["bad"] == ["ping:read"]
        assert step(made.report, "ping:read").kind == kind
        assert step(made.report, "Key accepted").state == ("ok" if goes_on else "skipped")
        assert step(made.report, "connection:read").state == ("ok" if goes_on else "skipped")
        assert asked == [True, False] if goes_on else asked == [True]
        assert made.connections == 1

    def test_a_server_that_asks_for_fewer_requests_is_not_said_to_be_ready(self, examine: Examine) -> None:
        made = examine((reply(BODY, "200 OK", "Retry-After: 7"), reply(SEEN)))
        assert made.report.ok
        assert [each.name for each in made.report.untried] == ["connection:read", "Protocol", "API version"]
        assert repr(made.report).startswith("⚠ Check: ready, 3 steps not tried [staging]")

    def test_a_connection_that_is_reset_is_tried_once(self, examine: Examine) -> None:
        made = examine(reset)
        assert by_state(made.report)["bad"] == ["ping:read"]
        assert made.connections == 1

    def test_no_answer(self, examine: Examine) -> None:
        report = examine(hang, timeout_s=0.3).report
        assert step(report, "ping:read").kind == "timeout"
        assert "waiting for the first byte" in step(report, "ping:read").detail
        assert step(report, "connection:read").detail == "the connection did not last"


@pytest.mark.slow
class TestPause:
    def test_of_this_machine_is_said_once_as_a_warning(self, examine: Examine) -> None:
        def served(connection: socket.socket) -> None:
            while request := read_request(connection):
                backtrack_for(0.3 if b"ping.json" in request else 1.0)
                connection.sendall(GOOD[b"connection.json" in request])

        report = examine(served, timeout_s=30).report
        assert report.ok
        assert "warn" not in {step(report, name).state for name in ("TCP", "ping:read")}
        longer = step(report, "connection:read")
        assert longer.state == "warn"
        assert longer.detail.startswith("connection.json answered as documented. This machine stood still for ")
        assert longer.advice == "That time is in the numbers: repeat the check."
        assert repr(report).count("stood still") == 1
        assert repr(report).startswith("⚠ Check: ready, with 1 warning")

    def test_in_the_tls_handshake_is_said_there(self, aim: Aim, authority: Authority) -> None:
        def held_up(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, first: ssl.SSLSocket) -> None:
            backtrack_for(1.0)

        tls = authority.serving()
        tls.set_servername_callback(held_up)
        with Server(answer_api(*GOOD, []), tls=tls) as server:
            aim(server.url)
            report = check(timeout_s=30)
        assert by_state(report)["warn"] == ["TLS"]
        assert "certificate verified" in step(report, "TLS").detail
        assert "This machine stood still for " in step(report, "TLS").detail

    def test_in_a_call_that_failed_is_said_in_its_line(self, examine: Examine) -> None:
        def served(connection: socket.socket) -> None:
            read_request(connection)
            backtrack_for(1.0)

        report = examine(served, timeout_s=0.5).report
        failed = step(report, "ping:read")
        assert (failed.state, failed.kind) == ("bad", "timeout")
        assert "This machine stood still for " in failed.advice
        assert repr(report).count("stood still") == 1


class TestEnvironment:
    def test_another_than_the_one_asked_for(self, examine: Examine) -> None:
        report = examine(GOOD, env="production").report
        assert by_state(report)["bad"] == ["Environment"]
        assert step(report, "Environment").kind == "env_mismatch"
        assert step(report, "Environment").detail == "staging answered where production was asked for"
        assert step(report, "ping:read").state == "ok"
        assert report.env == "staging"

    def test_one_that_is_not_documented_is_not_repeated(self, examine: Examine) -> None:
        report = examine((reply(BODY.replace(b"staging", b"quarantine")), reply(SEEN))).report
        assert step(report, "Environment").state == "warn"
        assert report.env is None
        assert "quarantine" not in repr(report)


class TestClock:
    @pytest.mark.parametrize(
        ("offset_s", "state", "says"),
        [
            (0.0, "ok", "agrees with the server's"),
            (-3.0, "ok", "ahead of the server's by"),
            (3.0, "ok", "behind the server's by"),
            (-60.0, "warn", "ahead of the server's by"),
            (3600.0 * 5, "warn", "behind the server's by 5 hours"),
            (-86_400.0 * 3, "warn", "ahead of the server's by 3 days"),
        ],
    )
    def test_against_the_date_of_the_reply(self, examine: Examine, offset_s: float, state: str, says: str) -> None:
        def served(connection: socket.socket) -> None:
            while request := read_request(connection):
                body = BODY if b"ping" in request else SEEN
                connection.sendall(reply(body, "200 OK", dated(offset_s)))

        report = examine(served).report
        assert report.ok
        assert step(report, "Clock").state == state
        assert says in step(report, "Clock").detail

    def test_a_slow_reply_is_no_skew(self, examine: Examine) -> None:
        def served(connection: socket.socket) -> None:
            while request := read_request(connection):
                dated_before = reply(BODY, "200 OK", dated(0))
                if b"ping" in request:
                    time.sleep(1.5)
                connection.sendall(dated_before)

        assert step(examine(served).report, "Clock").detail.startswith("agrees")

    @pytest.mark.parametrize("header", [(), ("Date: yesterday",), ("Date: Tue, 99 Nov 2026 08:00:00 GMT",)])
    def test_without_a_date_it_cannot_be_told(self, examine: Examine, header: tuple[str, ...]) -> None:
        report = examine((reply(BODY, "200 OK", *header), reply(SEEN))).report
        assert step(report, "Clock").state == "skipped"

    def test_a_refusal_has_a_date_too(self, examine: Examine) -> None:
        refusal = reply(b'{"error": "Invalid token"}', "401 Unauthorized", dated(-600))
        assert step(examine((refusal, refusal)).report, "Clock").state == "warn"


class TestHostileServer:
    def test_nothing_that_it_sends_is_repeated(self, examine: Examine) -> None:
        evil = f"<script>{KEY}</script>\\u001b[31m"
        ping = f'{{"status": "success", "env": "{evil}", "RRT": "{evil}"}}'.encode()
        seen = SEEN
        for word in (b"x", b"2026-02-01", b"staging", b"HTTP1.1"):
            seen = seen.replace(b'"' + word + b'"', b'"' + evil.encode() + b'"')
        report = examine((reply(ping, "200 OK", f"Date: {KEY}"), reply(seen, f"200 {KEY}"))).report
        bundle = mimebundle(report)
        for text in (repr(report), *bundle.values(), *(str(each) for each in report.steps)):
            assert KEY not in text
            assert "script" not in text
            assert "\x1b" not in text
        assert [each.name for each in report.warnings] == ["Environment", "Protocol", "API version"]


class TestSandbox:
    @pytest.mark.parametrize(
        ("fault", "failed"),
        [
            ("unauthorized", ["Key accepted"]),
            ("forbidden", ["ping:read", "connection:read"]),
            ("rate_limited", ["ping:read"]),
            ("connection_lost", ["ping:read"]),
            ("timeout", ["ping:read"]),
        ],
    )
    def test_each_fault_is_found(self, fault: str, failed: list[str]) -> None:
        sandbox = Sandbox.start(SandboxOptions(faults=(f"{fault}:1",), seed=1))
        try:
            report = check(target=sandbox_target(sandbox.url, sandbox.key_for(None), None), timeout_s=0.5)
        finally:
            sandbox.stop()
        assert [each.name for each in report.failed] == failed
        assert report.sandbox

    def test_a_key_without_a_permission(self) -> None:
        sandbox = Sandbox.start(SandboxOptions(seed=1))
        try:
            for key, missing in (("ping_only", "connection:read"), ("connection_only", "ping:read")):
                report = check(target=sandbox_target(sandbox.url, sandbox.key_for(key), None))
                assert [each.name for each in report.failed] == [missing]
                assert step(report, "Clock").state == "ok"
        finally:
            sandbox.stop()
