"""Given any bytes as the reply, over a real socket, there is a named outcome, and nothing else."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from donutwork_magics import Client, Connection, DonutworkError, Ping, collect
from donutwork_magics.client.results import Sample
from donutwork_magics.errors import KINDS
from tests.faults.calls import assert_one_line, target_of
from tests.servers import BODY, Server, read_request, reply
from tests.servers import http2_faults as h2

pytestmark = pytest.mark.slow

quick = settings(max_examples=120, deadline=None, derandomize=bool(os.environ.get("CI")))
few = settings(quick, max_examples=40)

CONNECTION_BODY = (
    b'{"client": {"userAgent": "x", "ips": {"ipv4": "192.0.2.1"}},'
    b' "endpoint": {"apiVersion": "2026-02-01", "env": "staging", "protocol": "HTTP2"}}'
)


class Parrot:
    """A server that says what it was told last, and closes; and clients of it."""

    def __init__(self) -> None:
        self.raw = b""
        self.frames: list[tuple[int, int, int, bytes]] = []

    def over_http1(self, connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(self.raw)

    def over_http2(self, connection: socket.socket) -> None:
        peer = h2.Peer(connection)
        peer.send(h2.settings())
        stream = peer.request()
        peer.send(*(h2.raw_frame(kind, flags, stream * on, payload) for kind, flags, on, payload in self.frames))


@pytest.fixture(scope="module")
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture(scope="module")
def client(parrot: Parrot) -> Iterator[Client]:
    with Server(parrot.over_http1) as server, Client(target_of(server.url), timeout_s=5.0) as client:
        yield client


@pytest.fixture(scope="module")
def client_of_http2(parrot: Parrot) -> Iterator[Client]:
    with Server(parrot.over_http2) as server, Client(target_of(server.url), http="2", timeout_s=5.0) as client:
        yield client


def outcome(client: Client) -> Sample:
    """Call in all three ways, and return the sample."""
    sample = client.sample()
    assert sample.error is None or sample.error in KINDS
    assert sample.error != "timeout"
    assert math.isnan(sample.rrt_ms) or math.isfinite(sample.rrt_ms)
    for call in (client.ping, client.connection):
        try:
            result: Ping | Connection = call()
        except DonutworkError as error:
            assert_one_line(error)
        else:
            assert_shows(result)
    return sample


def assert_shows(result: Ping | Connection) -> None:
    """Check that a result can be looked at, whatever is in it."""
    assert repr(result)
    assert set(result._repr_mimebundle_()) >= {"text/plain", "text/html"}


STATUS_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 401 No",
        b"HTTP/1.1 204 ",
        b"HTTP/1.1 304 ",
        b"HTTP/1.1 429 ",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
        b"HTTP/1.1 101 Switching Protocols",
        b"HTTP/9.9 999 \xff",
        b"HTTP/1.1 20 OK",
        b"200 OK",
    ]
)
FIELDS = st.sampled_from(
    [
        b"Content-Length: 57",
        b"Content-Length: 57",
        b"Content-Length: 0",
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Content-Encoding: gzip",
        b"Content-Encoding: identity",
        b"Content-Type: text/html; charset=nonsense",
        b"Retry-After: 1e400",
        b"Retry-After: 99999999999",
        b"Retry-After: Mon, 99 Jan 9999 99:99:99 GMT",
        b"Connection: close",
        b"Upgrade: h2c",
        b"Set-Cookie: a=b; domain=\xff",
        b"Location: //a..b",
        b" folded: field",
        b"",
        b"X: \x00",
    ]
)
BODIES = st.sampled_from(
    [BODY, BODY, CONNECTION_BODY, b"39\r\n" + BODY + b"\r\n0\r\n\r\n", b"39\r\n" + BODY + b"\r\nf", b"\xff\xfe", b""]
)
MESSAGES = st.builds(
    lambda line, fields, body: b"\r\n".join([line, *fields, b"", body]),
    STATUS_LINES,
    st.lists(FIELDS, max_size=4),
    BODIES,
)
SPOILT_MESSAGES = st.builds(
    lambda raw, at, piece: raw[:at] + piece + raw[at + len(piece) :],
    MESSAGES,
    st.integers(0, 120),
    st.one_of(st.binary(max_size=4), st.sampled_from([b"\r\n", b"\n", b"\x00", b":"])),
)


@quick
@given(st.one_of(st.binary(max_size=300), MESSAGES, SPOILT_MESSAGES))
def test_any_bytes(parrot: Parrot, client: Client, raw: bytes) -> None:
    parrot.raw = raw
    outcome(client)


HEADERS = [h2.block(h2.OK), h2.block([(":status", "503")]), h2.block([(":status", "1" * 30)]), h2.block([("x", "y")])]
GOOD = st.sampled_from(
    [
        (0, 0, 1, BODY),
        (0, 1, 1, BODY),
        (0, 1, 1, b""),
        (0, 9, 1, b"\x01" + BODY + b"\x00"),
        (1, 4, 1, HEADERS[0]),
        (1, 4, 1, HEADERS[0]),
        (1, 4, 1, h2.block([(":status", "103")])),
        (1, 5, 1, HEADERS[1]),
        (1, 5, 1, h2.block([("x", "trailer")])),
        (1, 0, 1, HEADERS[0][:5]),
        (9, 4, 1, HEADERS[0][5:]),
        (2, 0, 1, bytes(5)),
        (3, 0, 1, bytes(4)),
        (4, 0, 0, b"\x00\x03\x00\x00\x00\x00"),
        (4, 0, 0, b"\x00\x04\x00\x00\x00\x00"),
        (4, 1, 0, b""),
        (6, 0, 0, bytes(8)),
        (7, 0, 0, b"\x00\x00\x00\x01" + bytes(4) + b"debug"),
        (7, 0, 0, bytes(8)),
        (8, 0, 0, b"\x00\x00\x00\x01"),
        (8, 0, 1, b"\x7f\xff\xff\xff"),
        (11, 7, 1, b"unknown"),
    ]
)
ODD = st.tuples(
    st.integers(0, 11),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0xFF]),
    st.sampled_from([0, 1, 1, 1, 2, 3]),
    st.one_of(st.binary(max_size=40), st.sampled_from([*HEADERS, BODY, b"", bytes(4), bytes(8)])),
)
FRAMES = st.one_of(st.lists(GOOD, max_size=6), st.lists(st.one_of(GOOD, GOOD, ODD), max_size=8))


@quick
@given(FRAMES)
def test_any_frames(parrot: Parrot, client_of_http2: Client, frames: list[tuple[int, int, int, bytes]]) -> None:
    parrot.frames = frames
    outcome(client_of_http2)


NAMES = st.sampled_from(["status", "env", "RRT", "client", "endpoint", "userAgent", "ips", "ipv4", "ipv6", "error"])
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=12),
        st.sampled_from(["success", "staging", "production", "0.08 ms", "Invalid token", "2026-02-01"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(NAMES, st.text(max_size=5)), inner, max_size=5)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=8)
CONNECTIONS = st.builds(
    lambda client, ips, endpoint: {
        "client": {"userAgent": "x", "ips": {"ipv4": "192.0.2.1", **ips}, **client},
        "endpoint": {"apiVersion": "2026-02-01", "env": "staging", "protocol": "HTTP2", **endpoint},
    },
    OBJECTS,
    OBJECTS,
    OBJECTS,
)
SPOILT = st.tuples(OBJECTS, st.integers(0, 200), st.binary(max_size=3)).map(
    lambda each: _spoilt(json.dumps(each[0]).encode(), each[1], each[2])
)


def _spoilt(body: bytes, at: int, with_bytes: bytes) -> bytes:
    return body[:at] + with_bytes + body[at + 1 :]


@quick
@given(st.one_of(OBJECTS, VALUES, CONNECTIONS, OBJECTS.map(lambda fields: {**json.loads(BODY), **fields})))
def test_any_json(parrot: Parrot, client: Client, value: Any) -> None:
    parrot.raw = reply(json.dumps(value).encode())
    sample = outcome(client)
    assert sample.error in {None, "invalid_body", "schema"}
    if sample.error is None:
        assert isinstance(sample.rrt, str)
        assert isinstance(sample.env, str)


@few
@given(SPOILT)
def test_almost_json(parrot: Parrot, client: Client, body: bytes) -> None:
    parrot.raw = reply(body)
    assert outcome(client).error in {None, "invalid_body", "schema"}


UNITS = st.sampled_from(["ms", " ms", "s", "us", "\u00b5s", " \u03bcs", "ns", "min", "MS", " ms ", "\u0000ms", ""])
NUMBERS = st.one_of(
    st.floats().map(repr), st.integers().map(str), st.text("0123456789.,_-+eE \u0665", max_size=8), st.text(max_size=6)
)
RRTS = st.one_of(st.text(max_size=30), st.builds(str.__add__, NUMBERS, UNITS))


def ping_of(rrt: str, env: str = "staging") -> bytes:
    # As UTF-8, so that the text is on the wire as it is.
    text = json.dumps({"status": "success", "env": env, "RRT": rrt}, ensure_ascii=False)
    return reply(text.encode("utf-8"))


def kept(text: str) -> str:
    """Return what a table keeps of a text: nothing that acts on a terminal, no markup, no pile of marks."""
    blank = "".join(" " if char.isspace() else char for char in text)
    visible = "".join(char for char in blank if unicodedata.category(char)[0] != "C")
    marks = "".join("m" if unicodedata.category(char) in {"Mn", "Me"} else "." for char in visible)
    low = "".join(char for at, char in enumerate(visible) if not marks[: at + 1].endswith("mmmmm"))
    return re.sub(r"[$\\\\<>&]", "\ufffd", low)


@quick
@given(RRTS)
@example("$x$ \\(y\\)\u2028ms")
@example("9" * 305 + " ms")
@example("0." + "0" * 400 + "1 ns")
def test_any_time_of_the_server(parrot: Parrot, client: Client, rrt: str) -> None:
    parrot.raw = ping_of(rrt)
    sample = outcome(client)
    assert sample.error is None
    assert sample.rrt == kept(rrt)
    assert math.isnan(sample.rrt_ms) or sample.rrt_ms >= 0


@settings(quick, max_examples=10)
@given(RRTS, st.text(max_size=20))
@example("9" * 305 + " ms", "\x1b[31mstaging\x07\u202e")
@example("0 ms", "x" * 60_000)
def test_any_texts_in_a_row(parrot: Parrot, client: Client, rrt: str, env: str) -> None:
    parrot.raw = ping_of(rrt, env)
    df = collect(1, target=client.target)
    assert df.error.isna().all()
    # What is longer than any documented text is cut.
    assert (df.rrt[0], df.env[0]) == (kept(rrt)[:100], kept(env)[:100])
    bundle = df.donutwork._repr_mimebundle_()
    assert set(bundle) >= {"text/plain", "text/html"}
