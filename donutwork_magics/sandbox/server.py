"""The sandbox's process: listens on 127.0.0.1, says so in one JSON line, and ends with a signal or its parent."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Final

from .api import Api, new_keys
from .behaviour import Behaviour, Stalls
from .http1 import Connection

HOST: Final = "127.0.0.1"
_PARENT_POLL_S: Final = 0.25


class ListenError(Exception):
    """The port cannot be had; the text says why, and what to do."""


def serve(
    behaviour: Behaviour,
    stalls: Stalls,
    *,
    seed: int,
    port: int,
    retry_after_s: int,
    for_s: float | None = None,
    parent_pipe: bool = False,
) -> None:
    """Answer until SIGINT, SIGTERM, the end of the time or the end of the parent.

    Parameters
    ----------
    behaviour, stalls
        What is injected.
    seed
        What `behaviour` was made from; reported in the JSON line.
    port
        The TCP port, 0 for a free one.
    retry_after_s
        What a ``rate_limited`` fault asks for.
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
    api = Api(keys, retry_after_s)
    connections: set[Connection] = set()
    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        began_s = loop.time()
        server = _listen(loop, lambda: Connection(api, behaviour, connections, stalls, began_s), port)
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
