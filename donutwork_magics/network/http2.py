"""HTTP/2 (RFC 9113), on the state machine of h2.

What arrives is cut into frames at once. h2 parses them when the reply has ended, or when nothing has come for 2 ms: it
needs as long for a frame as a fast server for a reply, and a frame that arrived meanwhile would be timed late.
"""

from __future__ import annotations

import logging
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

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

_VERSION: Final = "2"
_MOST_UNPARSED: Final = 64
"""As many frames are kept without parsing, which bounds the memory that a server can fill."""
_MAX_FRAME_BYTES: Final = 16 * 1024
_WINDOW_BYTES: Final = 2**24
"""Far above `MAX_BODY_BYTES`, so that no server has to wait for a WINDOW_UPDATE within a reply."""

_HEAD: Final = struct.Struct(">HBBBL")
_DATA, _HEADERS, _RST_STREAM, _PUSH_PROMISE, _GOAWAY, _CONTINUATION = 0, 1, 3, 5, 7, 9
_END_STREAM, _END_HEADERS = 1, 4
_GOAWAY_BYTES: Final = 8
_STREAM_ID: Final = 2**31 - 1
_STATUS: Final = re.compile(rb"[1-9][0-9]{2}")
_HTTP1: Final = b"HTTP/1."

# h2 could look at every header, but refuses white space and capitals too, which other clients let pass.
_CONFIG: Final = h2.config.H2Configuration(validate_inbound_headers=False)
_SETTINGS: Final = {
    h2.settings.SettingCodes.ENABLE_PUSH: 0,
    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
    h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: h2.connection.H2Connection.DEFAULT_MAX_HEADER_LIST_SIZE,
}


class _Frame(NamedTuple):
    kind: int
    flags: int
    raw: bytes
    began_ns: int
    """When its first byte was received."""


class Http2:
    """The `Driver` of HTTP/2."""

    lull_s: Final = 0.002

    def __init__(self) -> None:
        self._h2 = h2.connection.H2Connection(_CONFIG)
        # h2 applies settings that are set before `initiate_connection` at once, and later ones once acknowledged.
        self._h2.local_settings = h2.settings.Settings(client=True, initial_values=_SETTINGS)
        # Some servers refuse a setting that they do not know.
        del self._h2.local_settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL]
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW_BYTES)
        self._cut_off = b""
        """The beginning of a frame whose rest has not come yet."""
        self._cut_off_ns = 0
        self._unparsed: list[_Frame] = []
        self._is_decided = False
        """Whether a frame that is not parsed yet ends the reply or the connection."""
        self._in_block = False
        """Whether a header block goes on in the next frame."""
        self._block_ns = self._block_bytes = 0
        self._broken = ""
        """Why what follows cannot be cut into frames."""
        self._usable = True
        self._stream_id = 0
        self._status = 0
        self._headers: list[Header] = []
        self._body = bytearray()
        self._is_whole = True
        self.first_byte_ns = 0

    def request(self, prepared: Prepared, authorization: bytes | None) -> bytes:
        """Begin a call, and return what is to be sent: acknowledgements first."""
        fields = list(prepared.http2)
        if authorization is not None:
            # h2 marks this field as never indexed, so neither side keeps it in its HPACK table.
            fields.append((b"authorization", authorization))
        self._status, self._headers, self._body, self._is_whole = 0, [], bytearray(), False
        self.first_byte_ns = 0
        with _quiet():
            try:
                self._stream_id = self._h2.get_next_available_stream_id()
                self._h2.send_headers(self._stream_id, fields, end_stream=True)
            except h2.exceptions.ProtocolError:
                raise NetworkFaultError("connection_lost", "the server takes no more requests on it") from None
            return self._h2.data_to_send()

    def receive(self, data: bytes, now_ns: int) -> bool:
        """Keep a piece that has arrived, and tell whether a further one is to be waited for."""
        self._cut(data, now_ns)
        return not self._is_decided and len(self._unparsed) < _MOST_UNPARSED

    def parse(self, *, ended: bool) -> Reply | None:  # noqa: ARG002
        """Parse what was received, and return the reply once it is whole."""
        self._parse()
        if not self._is_whole:
            return None
        return checked(Reply(self._status, self._headers, bytes(self._body), _VERSION), delimited=True)

    def to_send(self) -> bytes:
        """Return answers to SETTINGS and PING, and what opens the window again."""
        return self._h2.data_to_send()

    def is_reusable(self, idle: bytes) -> bool:
        """Tell whether a further request may be sent."""
        # SETTINGS, PING and GOAWAY may come at any time.
        self._cut(idle, 0)
        self._parse()
        # The rest of a frame that began before the request would give the reply a first byte before the request.
        return self._usable and not self._cut_off

    def _cut(self, data: bytes, now_ns: int) -> None:
        """Cut what was received into frames."""
        began_ns = self._cut_off_ns if self._cut_off else now_ns
        data = self._cut_off + data
        at = 0
        while len(data) - at >= _HEAD.size:
            high, low, kind, flags, stream_id = _HEAD.unpack_from(data, at)
            length = (high << 8) + low
            if length > _MAX_FRAME_BYTES:
                # h2 would wait for the whole of it, which can be megabytes.
                self._broken = "the server does not speak HTTP/2" if data.startswith(_HTTP1, at) else INVALID
                self._is_decided = True
                break
            end = at + _HEAD.size + length
            if end > len(data):
                break
            self._unparsed.append(_Frame(kind, flags, data[at:end], began_ns))
            ends_stream = kind == _RST_STREAM or (kind in {_DATA, _HEADERS} and flags & _END_STREAM)
            if kind == _GOAWAY or (ends_stream and stream_id & _STREAM_ID == self._stream_id):
                self._is_decided = True
            at, began_ns = end, now_ns
        self._cut_off, self._cut_off_ns = data[at:], began_ns

    def _parse(self) -> None:
        """Take the frames that were received; a fault after a whole reply only keeps the connection from reuse."""
        frames, self._unparsed, self._is_decided = self._unparsed, [], False
        try:
            with _quiet():
                for frame in frames:
                    self._take(frame)
            if self._broken:
                raise NetworkFaultError("protocol", self._broken)
        except NetworkFaultError:
            self._usable = False
            if not self._is_whole:
                raise

    def _take(self, frame: _Frame) -> None:
        if frame.kind == _GOAWAY and not self._in_block:
            self._go_away(frame.raw)
            return
        if frame.kind == _HEADERS:
            self._block_ns = frame.began_ns
        if frame.kind in {_HEADERS, _PUSH_PROMISE, _CONTINUATION}:
            self._in_block = not frame.flags & _END_HEADERS
            self._block_bytes = len(frame.raw) + (self._block_bytes if frame.kind == _CONTINUATION else 0)
            if self._block_bytes > MAX_HEAD_BYTES:
                # hpack would work on it beyond the deadline.
                raise NetworkFaultError("protocol", INVALID)
        try:
            events = self._h2.receive_data(frame.raw)
        except Exception:
            # h2, hpack and hyperframe raise many classes of exceptions on invalid input.
            raise NetworkFaultError("protocol", INVALID) from None
        for event in events:
            if not self._is_whole and getattr(event, "stream_id", None) == self._stream_id:
                self._note(event)

    def _go_away(self, raw: bytes) -> None:
        """Handle a GOAWAY without h2, which would refuse every later frame, also those of the reply.

        nginx sends it before the last reply of a connection. Envoy and Go send it first with the highest possible
        stream number. The server has not processed requests above that number, and answers the others (RFC 9113, 6.8).
        """
        _high, _low, _kind, _flags, stream_id = _HEAD.unpack_from(raw)
        # The first bit is reserved, and ignored (RFC 9113, section 4.1).
        if stream_id & _STREAM_ID or len(raw) < _HEAD.size + _GOAWAY_BYTES:
            raise NetworkFaultError("protocol", INVALID)
        self._usable = False
        last_stream_id = int.from_bytes(raw[_HEAD.size : _HEAD.size + 4], "big") & _STREAM_ID
        if last_stream_id < self._stream_id:
            raise NetworkFaultError("connection_lost", "closed by the server", unprocessed=True)

    def _note(self, event: h2.events.Event) -> None:
        """Take a part of the reply."""
        match event:
            case h2.events.ResponseReceived(headers=fields):
                # SETTINGS or an informational reply may have come before.
                self.first_byte_ns = self._block_ns
                pseudo = [(name, value) for name, value in fields if name.startswith(b":")]
                # One status, and nothing else (RFC 9113, section 8.3.2).
                if [name for name, _value in pseudo] != [b":status"] or not _STATUS.fullmatch(pseudo[0][1]):
                    raise NetworkFaultError("protocol", INVALID)
                self._status = int(pseudo[0][1])
                self._headers = [(name, value) for name, value in fields if not name.startswith(b":")]
            case h2.events.DataReceived(data=data, flow_controlled_length=length):
                self._h2.acknowledge_received_data(length, self._stream_id)
                self._body += data
                if len(self._body) > MAX_BODY_BYTES:
                    raise NetworkFaultError("too_large", TOO_LARGE)
            case h2.events.StreamEnded():
                self._is_whole = True
            case h2.events.StreamReset(error_code=code):
                refused = code == h2.errors.ErrorCodes.REFUSED_STREAM
                raise NetworkFaultError("connection_lost", "the server cancelled the request", unprocessed=refused)


class _OwnCalls(threading.local):
    active = False


_own_calls: Final = _OwnCalls()


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what hpack logs in this thread, at every level, and leave its loggers as they are for all other calls.

    It logs the header block of a request, which decodes back to the key, and the headers of a reply, in which a server
    may repeat the key.
    """
    _own_calls.active = True
    try:
        yield
    finally:
        _own_calls.active = False


for _name in ("hpack.hpack", "hpack.table"):
    logging.getLogger(_name).addFilter(lambda _record: not _own_calls.active)
