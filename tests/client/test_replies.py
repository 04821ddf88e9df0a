"""Given a body, it is the documented reply, or has a named fault."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from donutwork_magics.client.replies import (
    CONNECTION,
    PING,
    ConnectionReply,
    Endpoint,
    PingReply,
    ReplyError,
    is_invalid_token,
    parse_rrt_ms,
    read_reply,
    retry_after_s,
)

DOCUMENTED_PING = b'{"status": "success", "env": "production", "RRT": "0.08 ms"}'
DOCUMENTED_CONNECTION = (
    b'{"client": {"userAgent": "axios/1.6.0", "ips": {"ipv4": "192.168.1.1"}},'
    b' "endpoint": {"apiVersion": "2026-02-01", "env": "production", "protocol": "HTTP3"}}'
)


def read(body: bytes, endpoint: Endpoint = PING) -> PingReply | ConnectionReply:
    return read_reply(body, endpoint, lambda value: value)[1]


def fault_of(body: bytes) -> str:
    with pytest.raises(ReplyError) as caught:
        read(body)
    assert caught.value.__context__ is None
    return caught.value.kind


def test_the_documented_replies() -> None:
    assert read(DOCUMENTED_PING) == PingReply("success", "production", "0.08 ms")
    reply = read(DOCUMENTED_CONNECTION, CONNECTION)
    assert isinstance(reply, ConnectionReply)
    assert (reply.client.user_agent, reply.client.ips.ipv4, reply.endpoint.protocol) == (
        "axios/1.6.0",
        "192.168.1.1",
        "HTTP3",
    )


def test_fields_that_are_not_documented_are_accepted() -> None:
    body = DOCUMENTED_PING.replace(b"{", b'{"region": "eu", ')
    reply = read(body)
    assert isinstance(reply, PingReply)
    assert reply.env == "production"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"<html>", b"\xff", b"[" * 100_000, b'{"a": "\\ud800"}', b"1" * 10_000 + b"e"]
)
def test_what_is_not_json(body: bytes) -> None:
    assert fault_of(body) == "invalid_body"


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'{"status": "success"}',
        b'{"status": "success", "env": 1, "RRT": "0.08 ms"}',
        b'{"status": "failure", "env": "staging", "RRT": "0.08 ms"}',
        b'{"status": "success", "status": "success", "env": "staging", "RRT": "0.08 ms"}',
        b'{"status": "success", "env": "staging", "RRT": NaN}',
    ],
)
def test_json_of_another_form(body: bytes) -> None:
    assert fault_of(body) == "schema"


@given(st.binary(max_size=200))
def test_random_bytes_have_a_named_fault(body: bytes) -> None:
    assert fault_of(body) in {"invalid_body", "schema"}
    assert not is_invalid_token(body)


@pytest.mark.parametrize(
    ("text", "value_ms"),
    [("0.08 ms", 0.08), ("1.42 ms", 1.42), ("80µs", 0.08), ("80 us", 0.08), ("2 s", 2000.0), ("500 ns", 0.0005)],
)
def test_the_servers_own_time(text: str, value_ms: float) -> None:
    assert parse_rrt_ms(text) == pytest.approx(value_ms)


@pytest.mark.parametrize(
    "text", ["", "\u0665 ms", "1_000 ms", "nan ms", "-5 ms", "0,08 ms", "5", "5 min", " 5 ms", "9" * 400 + " s"]
)
def test_what_is_no_time_is_not_available(text: str) -> None:
    assert math.isnan(parse_rrt_ms(text))


@given(st.text(max_size=30))
def test_random_text_is_a_finite_time_or_not_available(text: str) -> None:
    value_ms = parse_rrt_ms(text)
    assert math.isnan(value_ms) or 0 <= value_ms < math.inf


@pytest.mark.parametrize("value", [None, "", "inf", "nan", "-3", "1e9", "1.5", "soon", "Mon, 99 Jan 2026 00:00:00 GMT"])
def test_a_retry_after_that_is_none(value: str | None) -> None:
    assert retry_after_s(value) is None


def test_a_retry_after_in_seconds_or_as_a_date() -> None:
    assert retry_after_s(" 7 ") == 7.0
    assert retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT") == 0.0
    later_s = retry_after_s("Fri, 01 Jan 2100 00:00:00 GMT")
    assert later_s is not None
    assert later_s > 1e9
    assert retry_after_s("9" * 400) == 1e10


@pytest.mark.parametrize("date", ["Fri, 01 Jan 2100 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_clock_that_is_not_the_server_s_moves_no_retry_after(date: str) -> None:
    assert retry_after_s(date.replace("00:00:00", "00:00:04"), date) == 4.0
