"""The table of faults: what a server does, and the name under which it must be reported."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable
from dataclasses import dataclass

from donutwork_magics.errors import Kind
from tests.servers import BODY, Handler, answer_once, drip, hang, read_request, reply, reset
from tests.servers import http2_faults as h2


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    name: str
    error: Kind | None
    handler: Handler
    hangs: bool = False
    """The call ends with its deadline only."""
    rrt: str | None = None
    """The server's own time as its text, where a row keeps it."""
    or_over_tls: Kind | None = None
    """What it may be over TLS too, where some versions of Python do not tell it apart."""


def body(text: bytes) -> Handler:
    return answer_once(reply(text))


def status(line: str, *headers: str, text: bytes = b"") -> Handler:
    return answer_once(reply(text, line, *headers))


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


def ping(rrt: str) -> bytes:
    return f'{{"status": "success", "env": "staging", "RRT": "{rrt}"}}'.encode()


def chunked(*parts: bytes) -> bytes:
    return head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"".join(parts)


def then_reset(raw: bytes) -> Handler:
    """Send some of a reply, and reset the connection."""

    def handler(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(raw)
        # What is already on its way would be thrown away by the reset.
        connection.settimeout(0.05)
        try:
            connection.recv(1)
        except TimeoutError:
            reset_now(connection)

    return handler


def reset_now(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


def close_now(connection: socket.socket) -> None:
    """Close without a word, and without reading."""


def endless(first: bytes, then: bytes) -> Handler:
    """Send something for as long as the client takes it."""
    return drip(first, then, every_s=0.0)


GZIP = gzip.compress(BODY)
BOMB = gzip.compress(bytes(8 * 1024 * 1024))
DEEP = b'{"status": ' + b"[" * 100_000
# Deeper than the decoder's own stack allows, and within the limit of a body.
NESTED = b'{"status": "success", "env": "staging", "RRT": "1 ms", "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"
UNMARKED = head("HTTP/1.1 200 OK") + BODY

HTTP1: tuple[Fault, ...] = (
    # Time
    Fault("silence", "timeout", hang, hangs=True),
    Fault("header bytes one by one", "timeout", drip(b"HTTP/1.1 200 OK\r\nX: ", b"y"), hangs=True),
    Fault("header after header", "timeout", drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), hangs=True),
    Fault("endless 1xx", "timeout", endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20), hangs=True),
    Fault("endless 100 one by one", "timeout", drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), hangs=True),
    Fault("body bytes one by one", "timeout", drip(head("HTTP/1.1 200 OK", "Content-Length: 57"), b" "), hangs=True),
    Fault("chunks one by one", "timeout", drip(chunked(), b"1\r\n \r\n"), hangs=True),
    Fault("silence after the headers", "timeout", drip(head("HTTP/1.1 200 OK", "Content-Length: 57"), b""), hangs=True),
    Fault("silence in the status line", "timeout", drip(b"HTTP/1.", b""), hangs=True),
    # Connections that end
    Fault("FIN unread", "connection_lost", close_now),
    Fault("RST unread", "connection_lost", reset_now),
    Fault("FIN before the reply", "connection_lost", answer_once(b"")),
    Fault("RST before the reply", "connection_lost", reset),
    Fault("FIN in the headers", "connection_lost", answer_once(b"HTTP/1.1 200 OK\r\nContent-Le")),
    Fault("RST in the headers", "connection_lost", then_reset(b"HTTP/1.1 200 OK\r\nContent-Le")),
    Fault("short Content-Length", "connection_lost", answer_once(reply()[:-5])),
    Fault("RST in the body", "connection_lost", then_reset(reply()[:-5])),
    Fault("truncated chunked", "connection_lost", answer_once(chunked(b"5\r\nabc"))),
    Fault("chunked without its last chunk", "connection_lost", answer_once(chunked(b"39\r\n", BODY, b"\r\n"))),
    Fault("FIN after 100 Continue", "connection_lost", answer_once(b"HTTP/1.1 100 Continue\r\n\r\n")),
    # Framing
    Fault("no Content-Length", "invalid_body", answer_once(UNMARKED)),
    Fault("HTTP/1.0 without Content-Length", "invalid_body", answer_once(UNMARKED.replace(b"1.1", b"1.0"))),
    Fault("RST without Content-Length", "connection_lost", then_reset(UNMARKED), or_over_tls="invalid_body"),
    Fault("chunk size no number", "protocol", answer_once(chunked(b"zz\r\n", BODY))),
    Fault("chunk size negative", "protocol", answer_once(chunked(b"-5\r\n", BODY))),
    Fault("chunk size of 30 digits", "protocol", answer_once(chunked(b"f" * 30 + b"\r\n", BODY))),
    Fault("chunk longer than its size", "protocol", answer_once(chunked(b"5\r\n", BODY))),
    Fault("Content-Length no number", "protocol", answer_once(head("HTTP/1.1 200 OK", "Content-Length: ten") + BODY)),
    Fault(
        "two Content-Lengths",
        "protocol",
        answer_once(head("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 57") + BODY),
    ),
    Fault(
        "unknown Transfer-Encoding",
        "protocol",
        answer_once(head("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked") + BODY),
    ),
    Fault("no status line", "protocol", answer_once(b"220 mail.example ESMTP\r\n\r\n")),
    Fault("status line of noise", "protocol", answer_once(bytes(range(256)))),
    Fault("status without a number", "protocol", answer_once(b"HTTP/1.1 OK\r\n\r\n")),
    Fault("status of four digits", "protocol", answer_once(b"HTTP/1.1 2000 OK\r\n\r\n")),
    Fault("status 099", "protocol", answer_once(b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n")),
    Fault("another protocol's name", "protocol", answer_once(b"ICY 200 OK\r\n\r\n")),
    Fault("header without a colon", "protocol", answer_once(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n")),
    Fault("header with NUL", "protocol", answer_once(b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n")),
    Fault("HTTP/2 frames", "protocol", answer_once(h2.settings() * 20)),
    Fault("switched protocols", "protocol", status("101 Switching Protocols", "Upgrade: x")),
    # Size
    Fault("endless header", "protocol", endless(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65536)),
    Fault("endless headers", "protocol", endless(b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n" * 5000)),
    Fault("1 GiB", "too_large", endless(head("HTTP/1.1 200 OK", f"Content-Length: {2**30}"), b" " * 65536)),
    Fault("endless chunks", "too_large", endless(chunked(), b"1000\r\n" + b" " * 4096 + b"\r\n")),
    Fault("endless body without a length", "too_large", endless(head("HTTP/1.1 200 OK"), b" " * 65536)),
    Fault("one byte too many", "too_large", body(BODY + b" " * (64 * 1024 + 1 - len(BODY)))),
)
"""What the connection and the framing may get wrong."""

HTTP1_REPLIES: tuple[Fault, ...] = (
    # Encodings
    Fault("gzip", "invalid_body", answer_once(reply(GZIP, "200 OK", "Content-Encoding: gzip"))),
    Fault("truncated gzip", "invalid_body", answer_once(reply(GZIP[:-12], "200 OK", "Content-Encoding: gzip"))),
    Fault("gzip bomb", "invalid_body", answer_once(reply(BOMB, "200 OK", "Content-Encoding: gzip"))),
    Fault("gzip that is not named", "invalid_body", body(GZIP)),
    Fault("unknown encoding", "invalid_body", answer_once(reply(BODY, "200 OK", "Content-Encoding: x-unknown"))),
    Fault("encoding named identity", None, answer_once(reply(BODY, "200 OK", "Content-Encoding: identity"))),
    # Bodies
    Fault("empty", "invalid_body", body(b"")),
    Fault("HTML", "invalid_body", body(b"<html><body>hello</body></html>")),
    Fault("BOM", "invalid_body", body(b"\xef\xbb\xbf" + BODY)),
    Fault("UTF-16", "invalid_body", body(BODY.decode().encode("utf-16"))),
    Fault("Latin-1", "invalid_body", body(b'{"status": "success", "env": "staging", "RRT": "0.08 \xb5s"}')),
    Fault("deep JSON", "invalid_body", body(DEEP[: 64 * 1024])),
    Fault("deep JSON that is whole", "invalid_body", body(NESTED)),
    Fault("JSON of 100 KB", "too_large", body(DEEP)),
    Fault("two values", "invalid_body", body(BODY + BODY)),
    Fault("a number of thousands of digits", "invalid_body", body(BODY[:-1] + b', "x": ' + b"9" * 5000 + b"}")),
    Fault("lone surrogate", "invalid_body", body(ping("\\ud800"))),
    Fault("NaN", "schema", body(BODY[:-1] + b', "x": NaN}')),
    Fault("Infinity", "schema", body(BODY[:-1] + b', "x": -Infinity}')),
    Fault("duplicate key", "schema", body(b'{"status": "success", ' + BODY[1:])),
    Fault("list", "schema", body(b"[" + BODY + b"]")),
    Fault("null", "schema", body(b"null")),
    Fault("text", "schema", body(b'"success"')),
    Fault("missing field", "schema", body(b'{"status": "success", "env": "staging"}')),
    Fault("mistyped field", "schema", body(b'{"status": "success", "env": 1, "RRT": "0.08 ms"}')),
    Fault("RRT a number", "schema", body(b'{"status": "success", "env": "staging", "RRT": 0.08}')),
    Fault("null field", "schema", body(b'{"status": "success", "env": null, "RRT": "0.08 ms"}')),
    Fault("no success", "schema", body(BODY.replace(b"success", b"failure"))),
    # The server's own time: not available, with its text kept
    *(
        Fault(f"RRT {text!r}", None, body(ping(text)), rrt=text)
        for text in ("\u0665 ms", "1_000 ms", "nan ms", "-5 ms", "0,08 ms", "1e3 ms", "", "soon", "9" * 400 + " s")
    ),
    # Status codes
    Fault("204", "unexpected_status", status("204 No Content")),
    Fault("206", "unexpected_status", status("206 Partial Content", text=BODY)),
    Fault("301", "redirect", status("301 Moved Permanently", "Location: /elsewhere")),
    Fault("302", "redirect", status("302 Found", "Location: https://elsewhere.example/")),
    Fault("304", "redirect", status("304 Not Modified")),
    Fault("401", "unauthorized", status("401 Unauthorized", text=b'{"error": "Invalid token"}')),
    Fault("400 of an invalid key", "unauthorized", status("400 Bad Request", text=b'{"error": "Invalid token"}')),
    Fault("401 without a length", "unauthorized", answer_once(head("HTTP/1.1 401 Unauthorized"))),
    Fault("403", "forbidden", status("403 Forbidden")),
    Fault("404", "not_found", status("404 Not Found", text=b"<html>")),
    Fault("418", "unexpected_status", status("418 I'm a teapot")),
    Fault("429", "rate_limited", status("429 Too Many Requests")),
    Fault("429 with nonsense", "rate_limited", status("429 Too Many Requests", "Retry-After: inf")),
    Fault("500", "server_error", status("500 Internal Server Error", text=b"Traceback ...")),
    Fault("503", "server_error", status("503 Service Unavailable")),
    Fault("500 gzip bomb", "server_error", status("500 Oops", "Content-Encoding: gzip", text=BOMB)),
    Fault("599", "server_error", status("599 Beyond")),
    Fault("999", "unexpected_status", status("999 Denied")),
    Fault("a reason phrase of 30 KB", "server_error", status("500 " + "x" * 30_000)),
)
"""Whole replies: what comes after the last byte is the same, whatever it came through."""


def _h2_status(code: str) -> Handler:
    return h2.say(lambda stream: h2.headers(stream, [(":status", code)], end=True))


def _h2_with(*fields: tuple[str, str]) -> Handler:
    return h2.say(lambda stream: h2.headers(stream, [*h2.OK, *fields]) + h2.data(stream))


def _slowly(make: Callable[[int], bytes]) -> Handler:
    return h2.flood(make, first=h2.headers, every_s=0.05)


def _with_trailers(stream: int) -> bytes:
    return h2.headers(stream) + h2.data(stream, end=False) + h2.headers(stream, [("x", "y")], end=True)


HTTP2: tuple[Fault, ...] = (
    # Time
    Fault("silence", "timeout", hang, hangs=True),
    Fault("silence after SETTINGS", "timeout", h2.say(lambda _: b""), hangs=True),
    Fault("silence after the headers", "timeout", h2.say(h2.headers), hangs=True),
    Fault("body bytes one by one", "timeout", _slowly(lambda s: h2.data(s, b" ", end=False)), hangs=True),
    Fault("empty DATA for ever", "timeout", _slowly(lambda s: h2.data(s, b"", end=False)), hangs=True),
    Fault("endless 1xx", "timeout", h2.flood(lambda s: h2.headers(s, [(":status", "103")]) * 50), hangs=True),
    Fault("no streams from the start", "timeout", h2.no_streams(answers=0), hangs=True),
    Fault("SETTINGS flood", "timeout", h2.flood(h2.many_settings), hangs=True),
    Fault("PING flood", "timeout", h2.flood(h2.pings), hangs=True),
    Fault("window update flood", "timeout", h2.flood(h2.window_updates, every_s=0.001), hangs=True),
    Fault("a frame that never ends", "timeout", h2.say(lambda s: h2.raw_frame(0, 0, s, b"x", 2**14)), hangs=True),
    # Connections and streams that end
    Fault("FIN unread", "connection_lost", close_now),
    Fault("RST unread", "connection_lost", reset_now),
    Fault("FIN after SETTINGS", "connection_lost", h2.say_and_close(lambda _: b"")),
    Fault("FIN after the headers", "connection_lost", h2.say_and_close(h2.headers)),
    Fault("FIN in a frame", "connection_lost", h2.say_and_close(lambda s: h2.headers(s) + h2.data(s)[:-5])),
    Fault("GOAWAY at once", "connection_lost", h2.say(lambda _: h2.goaway(0))),
    Fault("GOAWAY with an error", "connection_lost", h2.say(lambda _: h2.goaway(0, code=11))),
    Fault("GOAWAY in the reply", "connection_lost", h2.say(lambda s: h2.headers(s) + h2.goaway(0))),
    Fault("GOAWAY in the reply, and FIN", "connection_lost", h2.say_and_close(lambda s: h2.headers(s) + h2.goaway(s))),
    Fault("RST_STREAM", "connection_lost", h2.say(h2.reset_stream(2))),
    Fault("RST_STREAM refused", "connection_lost", h2.say(h2.reset_stream(7))),
    Fault("RST_STREAM unknown code", "connection_lost", h2.say(h2.reset_stream(4242))),
    Fault("RST_STREAM in the reply", "connection_lost", h2.say(lambda s: h2.headers(s) + h2.reset_stream(8)(s))),
    # The protocol
    Fault("HTTP/1.1 reply", "protocol", h2.on_request(lambda peer, _: peer.wait(), initial=reply())),
    Fault("noise", "protocol", h2.say(lambda _: bytes(range(256)) * 20)),
    Fault("missing :status", "protocol", h2.say(lambda s: h2.headers(s, [("x", "y")]) + h2.data(s))),
    Fault(":status no number", "protocol", _h2_status("abc")),
    Fault(":status of twenty digits", "protocol", _h2_status("9" * 20)),
    Fault(":status 99999", "protocol", _h2_status("99999")),
    Fault(":status negative", "protocol", _h2_status("-200")),
    Fault(":status empty", "protocol", _h2_status("")),
    Fault("two :status", "protocol", h2.say(lambda s: h2.headers(s, [(":status", "200")] * 2) + h2.data(s))),
    Fault("unknown pseudo-header", "protocol", _h2_with((":nonsense", "x"))),
    Fault("DATA before the headers", "protocol", h2.say(h2.data)),
    Fault("DATA on no stream", "protocol", h2.say(lambda _: h2.raw_frame(0, 1, 0, BODY))),
    Fault("DATA on a stream of nobody", "protocol", h2.say(lambda _: h2.raw_frame(0, 1, 99, BODY))),
    Fault("a frame of 40 KB", "protocol", h2.say(lambda s: h2.raw_frame(0, 0, s, b"x" * 40_000))),
    Fault("a frame of 16 MB that never ends", "protocol", h2.say(lambda s: h2.raw_frame(0, 0, s, b"x", 2**24 - 1))),
    Fault("GOAWAY of a wrong size", "protocol", h2.say(lambda _: h2.raw_frame(7, 0, 0, b"xyz"))),
    Fault("GOAWAY on a stream", "protocol", h2.say(lambda s: h2.raw_frame(7, 0, s, bytes(8)))),
    Fault(
        "GOAWAY in a header block",
        "protocol",
        h2.say(lambda s: h2.raw_frame(1, 0, s, h2.block(h2.OK)) + h2.goaway(s) + h2.raw_frame(9, 4, s, b"")),
    ),
    Fault("SETTINGS of a wrong size", "protocol", h2.say(lambda _: h2.raw_frame(4, 0, 0, b"xyz"))),
    Fault("PING of a wrong size", "protocol", h2.say(lambda _: h2.raw_frame(6, 0, 0, b"xyz"))),
    Fault("padding longer than the frame", "protocol", h2.say(lambda s: h2.raw_frame(0, 8, s, b"\xff" + BODY))),
    Fault("header block of noise", "protocol", h2.say(lambda s: h2.raw_frame(1, 4, s, b"\xff" * 40))),
    Fault("index beyond the header table", "protocol", h2.say(lambda s: h2.raw_frame(1, 4, s, b"\xfe"))),
    Fault("a push", "protocol", h2.say(h2.push)),
    Fault("window beyond its limit", "connection_lost", h2.say(h2.window_overflow)),
    Fault("window update of nothing", "protocol", h2.say(h2.window_of_nothing)),
    Fault("initial window beyond its limit", "protocol", h2.say(h2.window_settings_overflow)),
    Fault("frames of no size", "protocol", h2.say(h2.frame_size_of_nothing)),
    Fault("short content-length", "protocol", _h2_with(("content-length", "9999"))),
    Fault("content-length no number", "protocol", _h2_with(("content-length", "ten"))),
    # Size
    Fault("large headers", "protocol", h2.say(h2.large_headers)),
    Fault("header bomb", "protocol", h2.say(h2.header_bomb)),
    Fault("table size updates", "protocol", h2.say(h2.table_size_updates)),
    Fault("CONTINUATION flood", "protocol", h2.say(h2.continuation_flood)),
    Fault(
        "DATA for ever",
        "too_large",
        h2.flood(h2.endless_body, first=h2.headers),
    ),
    Fault("one byte too many", "too_large", h2.say(lambda s: h2.headers(s) + _in_frames(s, 64 * 1024 + 1))),
    # What is allowed
    Fault("streams allowed up and down", None, h2.on_request(h2.streams_go_up_and_down)),
    Fault("no streams after the first reply", None, h2.no_streams(answers=1)),
    Fault(
        "trailers",
        None,
        h2.say(lambda s: h2.headers(s) + h2.data(s, end=False) + h2.headers(s, [("x", "y")], end=True)),
    ),
)

HTTP2_REPLIES: tuple[Fault, ...] = (
    # Bodies and status codes
    Fault("gzip bomb", "invalid_body", h2.say(lambda s: _encoded(s, BOMB))),
    Fault("unknown encoding", "invalid_body", _h2_with(("content-encoding", "x-unknown"))),
    Fault("empty", "invalid_body", h2.say(lambda s: h2.headers(s, end=True))),
    Fault("deep JSON", "invalid_body", h2.say(lambda s: h2.headers(s) + h2.data(s, DEEP[:16_000]))),
    Fault("missing field", "schema", h2.say(lambda s: h2.headers(s) + h2.data(s, b"{}"))),
    Fault("302", "redirect", _h2_status("302")),
    Fault("401", "unauthorized", _h2_status("401")),
    Fault("404", "not_found", _h2_status("404")),
    Fault("503", "server_error", _h2_status("503")),
    Fault("999", "unexpected_status", _h2_status("999")),
)


def _in_frames(stream: int, size: int) -> bytes:
    full, rest = divmod(size, 16_000)
    return h2.data(stream, b" " * 16_000, end=False) * full + h2.data(stream, b" " * rest)


def _encoded(stream: int, text: bytes) -> bytes:
    return h2.headers(stream, [*h2.OK, ("content-encoding", "gzip")]) + h2.data(stream, text[:16_000])
