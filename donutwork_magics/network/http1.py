"""HTTP/1.1 (RFC 9112) on one connection: a request out, a reply in, and between the two nothing but the wait.

The parser is llhttp, Node.js's own, by way of httptools. A parser in Python takes a tenth of a millisecond, and while
it looks back at the request, a fast reply would lie unread: its time to the first byte would be the client's.
"""

from __future__ import annotations

from typing import Any, Final

import httptools
import httpx

from donutwork_magics.network.faults import NetworkFaultError
from donutwork_magics.network.marks import Marks
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

_MAX_HEAD_BYTES: Final = 100 * 1024
"""Beyond what any server sends before a body."""
_MAX_BYTES: Final = 1024 * 1024
"""Of a body in the smallest chunks, and trailers without end."""
_VERSIONS: Final = ("1.0", "1.1")
_STARTS_WITH: Final = b"HTTP/"
_HEAD_END: Final = b"\r\n\r\n"


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
        self._reading = _Reading(self._stream.marks)
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
        reading = self._reading
        while not reading.complete:
            data = self._stream.read()
            if data:
                reading.feed(data)
            elif reading.ends_with_connection:
                break
            else:
                raise NetworkFaultError("connection_lost", failure or CUT_OFF)
        self._keep = reading.keep_alive and not failure
        return reading.reply()


class _Reading:
    """The reply that is being read; its methods ``on_...`` are the parser's callbacks.

    Parameters
    ----------
    marks
        Gets the moment of the reply's first byte.
    """

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._body = bytearray()
        self._all_bytes = 0
        self._in_body = False
        self._delimited = False
        self._problem: NetworkFaultError | None = None
        self.complete = False
        self.keep_alive = False
        """Whether the connection may be used again; known when it is complete."""
        self._begin()

    def _begin(self) -> None:
        """Prepare for the next head, with a new parser, so that an informational reply leaves no state behind."""
        self._parser: Any = httptools.HttpResponseParser(self)
        self._head = b""
        self._headers: list[Header] = []
        self._status = 0
        self._version = ""
        self._marks.first_byte_ns = 0

    def feed(self, data: bytes) -> None:
        """Parse what was received.

        Raises
        ------
        NetworkFaultError
            ``protocol``: it is not valid HTTP/1.1; ``too_large``.
        """
        while data and not self._in_body:
            data = self._feed_head(data)
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

    def _feed_head(self, data: bytes) -> bytes:
        """Parse one head at most, and return the bytes after it.

        The parser skips line breaks before a message and does not tell at which byte it begins, so the end of each head
        is looked for here.
        """
        if not self._head:
            self._marks.first_byte_ns = self._marks.last_byte_ns
        searched = max(0, len(self._head) - len(_HEAD_END) + 1)
        self._head = head = self._head + data
        end = head.find(_HEAD_END, searched)
        rest = b"" if end < 0 else head[end + len(_HEAD_END) :]
        # llhttp takes RTSP and ICE too.
        is_http = head.startswith(_STARTS_WITH) or _STARTS_WITH.startswith(head)
        if not is_http or len(head) - len(rest) > _MAX_HEAD_BYTES:
            raise _invalid()
        self._parse(data[: len(data) - len(rest)])
        if end < 0:
            return b""
        if not self._status:
            raise _invalid()
        if httpx.codes.is_informational(self._status):
            # The reply has not begun: this is no part of it (RFC 9110, section 15.2).
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
        reply = Reply(self._status, self._headers, bytes(self._body), self._version)
        return checked(reply, delimited=self.complete)

    def on_message_begin(self) -> None:
        """Note that a reply begins: behind a whole one it is to no request of ours."""
        self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; behind the body stand trailers, which nobody asked for."""
        if not self._in_body:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Look at the head as a whole."""
        if self.complete:
            return
        self._status = self._parser.get_status_code()
        self._version = self._parser.get_http_version()
        codings = [value.strip().lower() for name, value in self._headers if name.lower() == b"transfer-encoding"]
        is_known = self._version in _VERSIONS and self._status >= 100
        if not is_known or self._status == httpx.codes.SWITCHING_PROTOCOLS or codings not in ([], [b"chunked"]):
            self._problem = _invalid()
        if httpx.codes.is_informational(self._status):
            return
        self._in_body = True
        self._delimited = bool(codings) or any(name.lower() == b"content-length" for name, _value in self._headers)

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        if not self.complete:
            self._body += data
            if len(self._body) > MAX_BODY_BYTES:
                self._problem = NetworkFaultError("too_large", TOO_LARGE)

    def on_message_complete(self) -> None:
        """Note that the reply is whole, unless it is one of those that only announce it."""
        if self._in_body and not self.complete:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()


def _invalid() -> NetworkFaultError:
    return NetworkFaultError("protocol", INVALID)
