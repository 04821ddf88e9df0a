"""HTTP/1.1 (RFC 9112) on one connection: a request out, a reply in, and between the two nothing but the wait.

The parser is llhttp, Node.js's own, by way of httptools. A parser in Python takes a tenth of a millisecond, and while
it looks back at the request, a fast reply would lie unread: its time to the first byte would be the client's.
"""

from __future__ import annotations

from typing import Any, Final

import httptools
import httpx

from donutwork_magics.network.faults import NetworkFaultError
from donutwork_magics.network.message import (
    CUT_OFF,
    INVALID,
    MAX_BODY_BYTES,
    TOO_LARGE,
    Header,
    Prepared,
    Reply,
    checked,
)
from donutwork_magics.network.stream import TimedStream

_READ_BYTES: Final = 65536
_MAX_HEAD_BYTES: Final = 100 * 1024
"""Beyond what any server sends before a body."""
_MAX_BYTES: Final = 1024 * 1024
"""Of a body in the smallest chunks, and trailers without end."""
_VERSIONS: Final = ("1.0", "1.1")
_STARTS_WITH: Final = b"HTTP/"


class Http1Connection:
    """One connection that speaks HTTP/1.1.

    Parameters
    ----------
    stream
        Where it is written and read.
    """

    def __init__(self, stream: TimedStream) -> None:
        self._stream = stream
        self._reading: _Reading
        self._keep = False

    def is_reusable(self) -> bool:
        """Tell whether a further request may be sent."""
        return self._keep and self._stream.waiting() is None

    def request(self, prepared: Prepared, authorization: bytes | None) -> bytes:
        """Serialise a request, and be ready for its reply, which may be there as soon as it is sent."""
        self._reading = _Reading()
        last = b"\r\n" if authorization is None else b"Authorization: " + authorization + b"\r\n\r\n"
        return prepared.http1 + last

    def reply(self, failure: str) -> Reply:
        """Read the reply to its end.

        Parameters
        ----------
        failure
            Why the request could not be sent in full, or nothing.

        Raises
        ------
        NetworkFaultError
            There is no whole reply, or it is none.
        """
        reading, marks = self._reading, self._stream.marks
        while not reading.complete:
            data = self._stream.read()
            if data:
                if not marks.first_byte_ns:
                    marks.first_byte_ns = marks.last_byte_ns
                reading.feed(data)
                if reading.only_announced:
                    # The reply has not begun: what came was no part of it (RFC 9110, section 15.2).
                    marks.first_byte_ns = 0
            elif reading.ends_with_connection:
                break
            else:
                raise NetworkFaultError("connection_lost", failure or CUT_OFF)
        self._keep = reading.keep_alive and not failure
        return reading.reply()


class _Reading:
    """The reply that is being read; its methods ``on_...`` are the parser's callbacks."""

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._all_bytes = 0
        self.only_announced = False
        """Whether all that came yet were informational replies."""
        self._body = bytearray()
        self._status = 0
        self._in_body = False
        self._delimited = False
        self._problem: NetworkFaultError | None = None
        self.complete = False
        self.keep_alive = False
        """Whether the connection may be used again; known when it is complete."""

    def feed(self, data: bytes) -> None:
        """Parse what was received.

        Raises
        ------
        NetworkFaultError
            ``protocol``: it is not valid HTTP/1.1; ``too_large``.
        """
        # llhttp takes RTSP and ICE too.
        is_valid = bool(self._all_bytes) or _STARTS_WITH.startswith(data[: len(_STARTS_WITH)])
        self._all_bytes += len(data)
        self.only_announced = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            is_valid = False
        if self._problem is None and not self.complete:
            if self._all_bytes > _MAX_BYTES and not httpx.codes.is_informational(self._status):
                self._problem = NetworkFaultError("too_large", TOO_LARGE)
            self._head_bytes += 0 if self._in_body else len(data)
            if not is_valid or self._head_bytes > _MAX_HEAD_BYTES:
                self._problem = _invalid()
        if self._problem is not None:
            raise self._problem
        # What follows a whole reply does not spoil it, but on this connection nothing more can be asked.
        self.keep_alive = self.keep_alive and is_valid

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is that of the reply, as nothing else marks it."""
        return self._in_body and not self._delimited

    def reply(self) -> Reply:
        """Return the whole reply.

        Raises
        ------
        NetworkFaultError
            ``invalid_body``: it cannot be trusted, or read.
        """
        version: str = self._parser.get_http_version()
        return checked(Reply(self._status, self._headers, bytes(self._body), version), delimited=self.complete)

    def on_message_begin(self) -> None:
        """Note that a reply begins: behind a whole one it is to no request of ours."""
        self.keep_alive = self.only_announced = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; behind the body stand trailers, which nobody asked for."""
        if not self._in_body and not self.complete:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Look at the head as a whole."""
        if self.complete:
            return
        self._status = self._parser.get_status_code()
        self._in_body = True
        names = [name.lower() for name, _value in self._headers]
        codings = [value for name, value in self._headers if name.lower() == b"transfer-encoding"]
        self._delimited = b"content-length" in names or bool(codings)
        is_known = self._parser.get_http_version() in _VERSIONS and self._status >= 100
        if (
            not is_known
            or self._status == httpx.codes.SWITCHING_PROTOCOLS
            or [coding.strip().lower() for coding in codings] not in ([], [b"chunked"])
        ):
            self._problem = _invalid()

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        if not self.complete:
            self._body += data
            if len(self._body) > MAX_BODY_BYTES:
                self._problem = NetworkFaultError("too_large", TOO_LARGE)

    def on_message_complete(self) -> None:
        """Note that the reply is whole, unless it is one of those that only announce it (RFC 9110, section 15.2)."""
        if self.complete:
            return
        if httpx.codes.is_informational(self._status):
            self._headers, self._head_bytes, self._in_body, self.only_announced = [], 0, False, True
            return
        self.complete = True
        self.keep_alive = self._parser.should_keep_alive()


def _invalid() -> NetworkFaultError:
    return NetworkFaultError("protocol", INVALID)
