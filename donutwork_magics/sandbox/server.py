"""The sandbox's process: listens on 127.0.0.1, says so in one JSON line, and ends with a signal or its parent.

Not a general server: it is fast, takes honest times, and can also reset a connection or never answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
import secrets
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final, cast

from ..grammar.commands import SandboxOptions
from .api import Api, Behaviour, Draw, Reply, Request, new_keys, rrt_text

HOST: Final = "127.0.0.1"
_PARENT_POLL_S: Final = 0.25

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_BODY_BYTES: Final = 64 * 1024
_MAX_BUFFERED_BYTES: Final = MAX_HEAD_BYTES + MAX_BODY_BYTES
_LINGER_S: Final = 1.0

_REQUEST_LINE: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/(1\.[01])")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")
_BARE_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?![\n]|\Z)")
_ONCE: Final = frozenset({"host", "authorization", "content-length"})


class MalformedError(Exception):
    """The bytes are no request that we take; the text says why."""


def take_request(buffer: bytearray, peer: str) -> Request | None:
    """Remove the first request from `buffer` and return it, or None where it is not whole yet.

    Raises
    ------
    MalformedError
        If the bytes cannot become a request (RFC 9112), or become too large; the connection is then of no more use.
    """
    while buffer.startswith(b"\r\n"):
        del buffer[:2]
    end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    if end < 0:
        if _BARE_LINE_END.search(buffer):
            raise MalformedError("a line does not end in CRLF")
        if len(buffer) >= MAX_HEAD_BYTES:
            raise MalformedError("the head is too large")
        return None
    request = _parse_head(buffer[:end].decode("latin-1"), peer)
    whole = end + 4 + _body_bytes(request)
    if len(buffer) < whole:
        return None
    del buffer[:whole]
    return request


def _parse_head(head: str, peer: str) -> Request:
    first, *lines = head.split("\r\n")
    start = _REQUEST_LINE.fullmatch(first)
    if start is None:
        raise MalformedError("the first line is no HTTP/1.1 request")
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise MalformedError("a header is malformed")
        name = match[1].lower()
        if name in headers and name in _ONCE:
            raise MalformedError("a header comes twice")
        value = match[2].strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    method, path, http_version = start.groups()
    if http_version == "1.1" and "host" not in headers:
        raise MalformedError("the Host header is missing")
    return Request(method, path, http_version, headers, peer)


def _body_bytes(request: Request) -> int:
    if "transfer-encoding" in request.headers:
        raise MalformedError("a body needs a Content-Length here")
    length = request.headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > MAX_BODY_BYTES:
        raise MalformedError("the Content-Length is malformed or too large")
    return int(length)


def _is_last(request: Request) -> bool:
    options = {option.strip().lower() for option in request.headers.get("connection", "").split(",")}
    return "close" in options or (request.http_version == "1.0" and "keep-alive" not in options)


def _encode(reply: Reply, *, with_body: bool, last: bool) -> bytes:
    headers = (
        ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(reply.body))),
        ("Connection", "close" if last else "keep-alive"),
        *reply.headers,
    )
    lines = (f"{name}: {value}\r\n" for name, value in headers)
    head = f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\n{''.join(lines)}\r\n"
    return head.encode("latin-1") + (reply.body if with_body else b"")


class Connection(asyncio.Protocol):
    """Answers the requests of one connection one after the other (asyncio has set TCP_NODELAY).

    Callbacks instead of a task: a task's switch costs as much as the whole answer.
    """

    def __init__(self, api: Api, behaviour: Behaviour, connections: set[Connection], began_s: float) -> None:
        self._api = api
        self._behaviour = behaviour
        self._connections = connections
        self._began_s = began_s
        self._buffer = bytearray()
        self._busy = False
        self._reading = True
        self._ended = False
        self._peer_ended = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._peer: str = transport.get_extra_info("peername")[0]
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002, D102
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def eof_received(self) -> bool:
        """Keep our half open while an answer is due; return whether to."""
        self._peer_ended = True
        return self._busy and not self._ended

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if self._ended:
            return
        self._buffer += data
        if not self._busy:
            self._serve(time.perf_counter_ns())
        elif len(self._buffer) > _MAX_BUFFERED_BYTES:
            self._reading = False
            self._transport.pause_reading()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def _serve(self, read_ns: int) -> None:
        """Answer what the buffer holds, until a request has to wait for its time or is not whole."""
        while not self._busy and not self._ended:
            try:
                request = take_request(self._buffer, self._peer)
            except MalformedError as error:
                self._write(Reply(400, b'{"error": "Bad request: %b"}' % str(error).encode()), last=True)
                return
            if request is None:
                self._wait_for_more()
                return
            self._busy = True
            draw = self._behaviour.draw()
            if draw.latency_s:
                self._after(draw.latency_s, partial(self._receive, request, draw))
            else:
                self._receive(request, draw, read_ns)
            read_ns = time.perf_counter_ns()

    def _wait_for_more(self) -> None:
        if self._peer_ended:
            self._transport.close()
        elif not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _after(self, delay_s: float, step: Callable[[], None]) -> None:
        """Take a step later, and go on with what has come meanwhile."""

        def late() -> None:
            step()
            self._serve(time.perf_counter_ns())

        self._timer = self._loop.call_later(delay_s, late)

    def _receive(self, request: Request, draw: Draw, received_ns: int | None = None) -> None:
        received_ns = time.perf_counter_ns() if received_ns is None else received_ns
        if draw.server_time_s:
            self._after(draw.server_time_s, partial(self._answer, request, draw, received_ns))
        else:
            self._answer(request, draw, received_ns)

    def _answer(self, request: Request, draw: Draw, received_ns: int) -> None:
        stalled_s = self._behaviour.stalled_s(self._loop.time() - self._began_s)
        if stalled_s:
            self._after(stalled_s, partial(self._answer, request, draw, received_ns))
        elif draw.fault == "connection_lost":
            self._reset()
        elif draw.fault == "timeout":
            self._hang()
        else:
            # The time that passed, not the one drawn: timers overshoot by most of a millisecond.
            reply = self._api.answer(request, lambda: rrt_text(time.perf_counter_ns() - received_ns), fault=draw.fault)
            self._busy = False
            self._write(reply, with_body=request.method != "HEAD", last=_is_last(request))

    def _write(self, reply: Reply, *, with_body: bool = True, last: bool) -> None:
        self._transport.write(_encode(reply, with_body=with_body, last=last))
        if last:
            self._end_gently()

    def _end_gently(self) -> None:
        """Close our half and read on a while: closing on unread bytes would reset the reply away (RFC 9112, 9.6)."""
        self._ended = True
        self._buffer.clear()
        # The client may have reset the connection just now.
        with contextlib.suppress(OSError):
            self._transport.write_eof()
        self._after(_LINGER_S, self._transport.abort)
        self._wait_for_more()

    def _hang(self) -> None:
        self._ended = True
        self._buffer.clear()
        self._wait_for_more()

    def _reset(self) -> None:
        self._ended = True
        # Linger on, for 0 s: closing sends RST. Winsock's struct has shorts where the others have ints.
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()


class ListenError(Exception):
    """The port cannot be had; the text says why, and what to do."""


def serve(options: SandboxOptions, *, for_s: float | None = None, parent_pipe: bool = False) -> None:
    """Answer until SIGINT, SIGTERM, the end of the time or the end of the parent.

    Parameters
    ----------
    for_s
        For how long to answer; None for no limit.
    parent_pipe
        End when stdin does, or when the parent changes.

    Raises
    ------
    ListenError
        If the port cannot be had.
    """
    keys = new_keys()
    api = Api(keys, options.retry_after_s)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    behaviour = Behaviour(options, seed)
    connections: set[Connection] = set()
    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        began_s = loop.time()
        server = _listen(loop, lambda: Connection(api, behaviour, connections, began_s), options.port)
        _stop_on_signals(loop)
        if parent_pipe:
            _stop_with_parent(loop)
        if for_s is not None:
            loop.call_later(for_s, loop.stop)
        url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
        print(json.dumps({"url": url, "keys": keys, "seed": seed, "pid": os.getpid()}), flush=True)
        loop.run_forever()
        # A connection that was accepted just now gets its transport in the next turns of the loop: asyncio of Python
        # 3.13 prints a traceback where the server is closed before.
        for _turn in range(2):
            loop.run_until_complete(asyncio.sleep(0))
        server.close()
        for connection in connections:
            connection.abort()
        # One more turn, in which the aborted transports close their sockets.
        loop.run_until_complete(asyncio.sleep(0))


def _listen(loop: asyncio.AbstractEventLoop, factory: Callable[[], Connection], port: int) -> asyncio.Server:
    try:
        return loop.run_until_complete(loop.create_server(factory, HOST, port, backlog=128))
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else "cannot be listened on"
    raise ListenError(f"port {port} {reason}; choose another with --port, or --port 0 for a free one")


def _stop_on_signals(loop: asyncio.AbstractEventLoop) -> None:
    # Not add_signal_handler, which Windows lacks.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: loop.call_soon_threadsafe(loop.stop))


def _stop_with_parent(loop: asyncio.AbstractEventLoop) -> None:
    threading.Thread(target=_stop_at_end_of_stdin, args=(loop,), daemon=True).start()
    if sys.platform != "win32":
        _stop_when_orphaned(loop, os.getppid())


def _stop_at_end_of_stdin(loop: asyncio.AbstractEventLoop) -> None:
    # os.read, not sys.stdin: a thread that waits inside the buffered reader holds its lock, which the interpreter
    # wants at its end.
    while os.read(0, 4096):
        pass
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(loop.stop)


def _stop_when_orphaned(loop: asyncio.AbstractEventLoop, parent: int) -> None:
    """Poll the parent: the pipe stays open when the parent is killed while a process that it forked holds it."""
    if os.getppid() == parent:
        loop.call_later(_PARENT_POLL_S, _stop_when_orphaned, loop, parent)
    else:
        loop.stop()
