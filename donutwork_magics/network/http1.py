"""HTTP/1.1 (RFC 9112), parsed by llhttp, Node.js's parser, through httptools."""

from __future__ import annotations

from typing import Any, Final

import httpx

from donutwork_magics.network.exchange import (
    INVALID,
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    TOO_LARGE,
    Header,
    NetworkFaultError,
    Prepared,
    Reply,
    checked,
)

try:
    import httptools
except ImportError:
    # Pyodide has none: there, recorded runs are read and analysed, and `current_setup` refuses calls.
    httptools = None  # type: ignore[assignment]

_MAX_BYTES: Final = 1024 * 1024
"""Of a body in the smallest chunks, and of trailers."""
_MOST_UNPARSED_BYTES: Final = 64 * 1024
"""As much is kept without parsing, which bounds the memory that a server can fill."""
_VERSIONS: Final = ("1.0", "1.1")
_STARTS_WITH: Final = b"HTTP/"
_HEAD_END: Final = b"\r\n\r\n"


class Http1:
    """The `Driver` of HTTP/1.1."""

    lull_s: Final = 0.0
    """Only what has arrived already is read before parsing, which takes some microseconds."""

    def __init__(self) -> None:
        self._reading = _Reading()
        self._unparsed: list[tuple[bytes, int]] = []
        self._unparsed_bytes = 0

    @property
    def first_byte_ns(self) -> int:
        """When the first byte of the reply was received; 0 before."""
        return self._reading.first_byte_ns

    def request(self, prepared: Prepared, authorization: bytes | None) -> bytes:
        """Begin a call, and return what is to be sent."""
        self._reading, self._unparsed, self._unparsed_bytes = _Reading(), [], 0
        last = b"\r\n" if authorization is None else b"Authorization: " + authorization + b"\r\n\r\n"
        return prepared.http1 + last

    def receive(self, data: bytes, now_ns: int) -> bool:
        """Keep a piece that has arrived, and tell whether a further one is to be waited for."""
        self._unparsed.append((data, now_ns))
        self._unparsed_bytes += len(data)
        return self._unparsed_bytes < _MOST_UNPARSED_BYTES

    def parse(self, *, ended: bool) -> Reply | None:
        """Parse what was received, and return the reply once it is whole."""
        pieces, self._unparsed, self._unparsed_bytes = self._unparsed, [], 0
        reading = self._reading
        for data, received_ns in pieces:
            reading.feed(data, received_ns)
        # Where nothing else marks the end of the reply, the end of the connection does.
        if reading.complete or (ended and reading.in_body and not reading.delimited):
            reply = Reply(reading.status, reading.headers, bytes(reading.body), reading.version)
            return checked(reply, delimited=reading.complete)
        return None

    def to_send(self) -> bytes:
        """Return nothing: HTTP/1.1 has no messages but requests."""
        return b""

    def is_reusable(self, idle: bytes) -> bool:
        """Tell whether a further request may be sent."""
        return self._reading.keep_alive and not idle


class _Reading:
    """One reply while it is read; its methods ``on_...`` are the parser's callbacks."""

    def __init__(self) -> None:
        self.body = bytearray()
        self._all_bytes = 0
        self.in_body = False
        self.delimited = False
        self._problem: NetworkFaultError | None = None
        self.complete = False
        self.keep_alive = False
        """Whether the connection may be used again; known when the reply is complete."""
        self._begin()

    def _begin(self) -> None:
        """Prepare for the next head, with a new parser, so that an informational reply leaves no state behind."""
        self._parser: Any = httptools.HttpResponseParser(self)
        self._head = b""
        self.headers: list[Header] = []
        self.status = 0
        self.version = ""
        self.first_byte_ns = 0

    def feed(self, data: bytes, received_ns: int) -> None:
        """Parse a piece."""
        while data and not self.in_body:
            data = self._feed_head(data, received_ns)
        if not data:
            return
        self._all_bytes += len(data)
        if self.complete:
            # Bytes after a whole reply do not spoil it, but the connection cannot be used again.
            self.keep_alive = False
            return
        self._parse(data)
        if self._all_bytes > _MAX_BYTES and not self.complete:
            raise NetworkFaultError("too_large", TOO_LARGE)

    def _feed_head(self, data: bytes, received_ns: int) -> bytes:
        """Parse one head at most, and return the bytes after it.

        The parser skips line breaks before a message and does not tell at which byte the message begins. So the end of
        each head is looked for here.
        """
        if not self._head:
            self.first_byte_ns = received_ns
        searched = max(0, len(self._head) - len(_HEAD_END) + 1)
        self._head = head = self._head + data
        end = head.find(_HEAD_END, searched)
        rest = b"" if end < 0 else head[end + len(_HEAD_END) :]
        # llhttp accepts RTSP and ICE too.
        is_http = head.startswith(_STARTS_WITH) or _STARTS_WITH.startswith(head)
        if not is_http or len(head) - len(rest) > MAX_HEAD_BYTES:
            raise _invalid()
        self._parse(data[: len(data) - len(rest)])
        if end < 0:
            return b""
        if not self.status:
            raise _invalid()
        if httpx.codes.is_informational(self.status):
            # It is no part of the reply, which begins behind it (RFC 9110, section 15.2).
            self._begin()
        return rest

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.complete and self._problem is None:
                self._problem = _invalid()
            self.keep_alive = False
        if self._problem is not None:
            raise self._problem

    def on_message_begin(self) -> None:
        """Note that a message begins. Behind a whole reply, it answers no request of this client."""
        self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and ignore trailers, which follow the body."""
        if not self.in_body:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the head as a whole."""
        if self.complete:
            return
        self.status = self._parser.get_status_code()
        self.version = self._parser.get_http_version()
        codings = [value.strip().lower() for name, value in self.headers if name.lower() == b"transfer-encoding"]
        is_known = self.version in _VERSIONS and self.status >= 100
        if not is_known or self.status == httpx.codes.SWITCHING_PROTOCOLS or codings not in ([], [b"chunked"]):
            self._problem = _invalid()
        if httpx.codes.is_informational(self.status):
            return
        self.in_body = True
        self.delimited = bool(codings) or any(name.lower() == b"content-length" for name, _value in self.headers)

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        if not self.complete:
            self.body += data
            if len(self.body) > MAX_BODY_BYTES:
                self._problem = NetworkFaultError("too_large", TOO_LARGE)

    def on_message_complete(self) -> None:
        """Note that the reply is whole, unless it is an informational one."""
        if self.in_body and not self.complete:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()


def _invalid() -> NetworkFaultError:
    return NetworkFaultError("protocol", INVALID)
