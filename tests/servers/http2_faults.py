"""An HTTP/2 server, frame by frame, that breaks the protocol or its promises as a test tells it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.servers import BODY, Handler

Headers = Iterable[tuple[str, str]]
OK: Headers = ((":status", "200"), ("content-type", "application/json"))

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_MAX_CONCURRENT_STREAMS, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 3, 4, 5


def settings(values: dict[int, int] | None = None, *, ack: bool = False) -> bytes:
    """Return a SETTINGS frame."""
    return SettingsFrame(0, settings=values or {}, flags=["ACK"] if ack else []).serialize()


def headers(stream: int, fields: Headers = OK, *, end: bool = False) -> bytes:
    """Return a HEADERS frame, with a block that needs no state of the connection."""
    return _headers(stream, block(fields), ["END_HEADERS", *(["END_STREAM"] if end else [])])


def block(fields: Headers) -> bytes:
    """Return a header block of literals."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(list(fields), huffman=False)


def data(stream: int, body: bytes = BODY, *, end: bool = True) -> bytes:
    """Return a DATA frame."""
    return DataFrame(stream, body, flags=["END_STREAM"] if end else []).serialize()


def goaway(last_stream: int, code: int = 0) -> bytes:
    """Return a GOAWAY frame."""
    return GoAwayFrame(0, last_stream_id=last_stream, error_code=code).serialize()


def raw_frame(kind: int, flags: int, stream: int, payload: bytes, length: int | None = None) -> bytes:
    """Return any frame, whatever the protocol says about it."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


class Peer:
    """The server's side of one connection: reads requests, and writes what it is told."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def send(self, *frames: bytes) -> None:
        self._connection.sendall(b"".join(frames))

    def request(self) -> int:
        """Read on to the next request, and return its stream's number; 0 where the client has closed."""
        while True:
            while (frame := self._frame()) is not None:
                if isinstance(frame, HeadersFrame):
                    return frame.stream_id
            more = self._connection.recv(65536)
            if not more:
                return 0
            self._buffer += more

    def frame(self) -> tuple[int, int]:
        """Read the next frame, and return its kind, and whether it acknowledges one (1 or 0)."""
        while (frame := self._frame()) is None:
            more = self._connection.recv(65536)
            assert more, "closed"
            self._buffer += more
        return frame.type or 0, int("ACK" in frame.flags)

    def wait(self) -> None:
        """Read on, and answer nothing."""
        while self._connection.recv(65536):
            pass

    def _frame(self) -> Frame | None:
        self._buffer = self._buffer.removeprefix(_PREFACE)
        if len(self._buffer) < 9 or self._buffer.startswith(b"PRI"):
            return None
        frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
        if len(self._buffer) < 9 + length:
            return None
        frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
        self._buffer = self._buffer[9 + length :]
        return frame


def on_request(act: Callable[[Peer, int], None], initial: bytes = settings()) -> Handler:
    """Say the server's SETTINGS, and do this at each request."""

    def handler(connection: socket.socket) -> None:
        peer = Peer(connection)
        peer.send(initial)
        while stream := peer.request():
            act(peer, stream)

    return handler


def say(make: Callable[[int], bytes]) -> Handler:
    """Answer each request with these frames; the connection stays open."""
    return on_request(lambda peer, stream: peer.send(make(stream)))


def say_and_close(make: Callable[[int], bytes]) -> Handler:
    """Answer the first request with these frames, and close."""

    def handler(connection: socket.socket) -> None:
        peer = Peer(connection)
        peer.send(settings())
        peer.send(make(peer.request()))

    return handler


def flood(make: Callable[[int], bytes], first: Callable[[int], bytes] | None = None, every_s: float = 0.0) -> Handler:
    """Answer the first request with these frames again and again, for ever."""

    def act(peer: Peer, stream: int) -> None:
        if first is not None:
            peer.send(first(stream))
        frames = make(stream)
        while True:
            peer.send(frames)
            time.sleep(every_s)

    return on_request(act)


def no_streams(*, answers: int) -> Handler:
    """Answer so many requests, and allow none afterwards (MAX_CONCURRENT_STREAMS of 0)."""

    def handler(connection: socket.socket) -> None:
        peer = Peer(connection)
        peer.send(settings({_MAX_CONCURRENT_STREAMS: 0 if answers == 0 else 100}))
        for _ in range(answers):
            stream = peer.request()
            peer.send(settings({_MAX_CONCURRENT_STREAMS: 0}), headers(stream), data(stream))
        peer.wait()

    return handler


def streams_go_up_and_down(peer: Peer, stream: int) -> None:
    """Change the number of streams that are allowed, within one reply and for the next."""
    for allowed in (100, 1, 50, 2, 0, 1):
        peer.send(settings({_MAX_CONCURRENT_STREAMS: allowed}))
    peer.send(headers(stream), settings({_MAX_CONCURRENT_STREAMS: 7}), data(stream))


def many_settings(_stream: int) -> bytes:
    return settings({_MAX_CONCURRENT_STREAMS: 5}) * 500 + settings() * 500


def pings(_stream: int) -> bytes:
    return PingFrame(0, opaque_data=b"12345678").serialize() * 500


def window_updates(_stream: int) -> bytes:
    return WindowUpdateFrame(0, window_increment=1).serialize() * 500


def window_overflow(stream: int) -> bytes:
    return WindowUpdateFrame(stream, window_increment=2**31 - 1).serialize() * 2


def window_of_nothing(stream: int) -> bytes:
    return raw_frame(8, 0, stream, b"\x00\x00\x00\x00")


def window_settings_overflow(_stream: int) -> bytes:
    return settings({_INITIAL_WINDOW_SIZE: 2**32 - 1})


def frame_size_of_nothing(_stream: int) -> bytes:
    return settings({_MAX_FRAME_SIZE: 0})


def reset_stream(code: int) -> Callable[[int], bytes]:
    return lambda stream: RstStreamFrame(stream, error_code=code).serialize()


def push(stream: int) -> bytes:
    promised = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "localhost")]
    frame = PushPromiseFrame(stream, promised_stream_id=2, data=block(promised), flags=["END_HEADERS"])
    return frame.serialize()


def continuation_flood(stream: int) -> bytes:
    """Return a header block that never ends."""
    first = HeadersFrame(stream, block(OK)).serialize()
    more = ContinuationFrame(stream, block([("x", "y" * 100)])).serialize()
    return first + more * 5000


def large_headers(stream: int) -> bytes:
    """Return headers of 200 KB, in frames of a size that is allowed."""
    encoded = block([*OK, *((f"x-{number}", "y" * 1000) for number in range(200))])
    parts = [encoded[start : start + 16000] for start in range(0, len(encoded), 16000)]
    frames = [HeadersFrame(stream, parts[0]).serialize()]
    frames += [ContinuationFrame(stream, part).serialize() for part in parts[1:-1]]
    return b"".join([*frames, ContinuationFrame(stream, parts[-1], flags=["END_HEADERS"]).serialize()])


def table_size_updates(stream: int) -> bytes:
    """Return a reply whose headers come after 200 KB that only say again and again how large their table is."""
    updates = b"\x20" * 16_000
    first = raw_frame(1, 0, stream, updates) + raw_frame(9, 0, stream, updates) * 12
    return first + raw_frame(9, 4, stream, block(OK)) + data(stream)


def header_bomb(stream: int) -> bytes:
    """Return a small block that unpacks to megabytes: one large entry of the table, and many references to it."""
    encoder = hpack.Encoder()
    bomb = encoder.encode([(":status", "200"), ("x", "y" * 3900)], huffman=False)
    # 0xBE is the newest entry of the dynamic table (RFC 7541, 6.1).
    return _headers(stream, bomb + b"\xbe" * 10_000, ["END_HEADERS", "END_STREAM"])


def endless_body(stream: int) -> bytes:
    return data(stream, b"x" * 16_384, end=False)


def _headers(stream: int, encoded: bytes, flags: list[str]) -> bytes:
    return HeadersFrame(stream, encoded, flags=flags).serialize()
