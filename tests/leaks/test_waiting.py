"""While a worker waits for a reply, the key that it has sent is in no local variable, nor in anything below one."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import time
import types
from collections.abc import Iterator

import httpx
import pytest

from donutwork_magics import Client
from donutwork_magics.client.key import ApiKey
from donutwork_magics.client.settings import Target, Variables
from donutwork_magics.network.connection import Connection
from donutwork_magics.network.exchange import CallCancelledError
from donutwork_magics.network.sockets import start_tls
from tests.leaks import KEY
from tests.leaks.search import Search
from tests.servers import Handler, Server, answer_then_hang, hang, reply
from tests.servers import http2_faults as h2
from tests.servers.tls import trusted

pytestmark = pytest.mark.slow

# A function may hold the key in its closure, which is where it is kept.
CLOSED = (types.FunctionType, types.MethodType, types.ModuleType, types.FrameType, types.CodeType, type)


def target_of(server: Server, ca_pem: str | None, scheme: str | None = None) -> Target:
    variables = Variables("DONUTWORK_API_KEY", "DONUTWORK_BASE_URL")
    url = httpx.URL(server.url)
    return Target(url.copy_with(scheme=scheme or url.scheme), ApiKey(KEY, variables.key), variables, ca_pem=ca_pem)


def frames_of(thread: threading.Thread) -> list[types.FrameType]:
    assert thread.ident is not None
    frame: types.FrameType | None = sys._current_frames()[thread.ident]
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


def reachable(*roots: object) -> Iterator[object]:
    """Give everything that is in these, or in anything in them."""
    seen: set[int] = set()
    rest = list(roots)
    while rest:
        each = rest.pop()
        if id(each) in seen or isinstance(each, CLOSED):
            continue
        seen.add(id(each))
        yield each
        rest += gc.get_referents(each)


def findings(frames: list[types.FrameType]) -> set[str]:
    """Return the local variables in or below which the key is, as it is or in a header block."""
    search = Search(KEY)
    return {
        f"{frame.f_code.co_qualname}: {name}"
        for frame in frames
        for name, value in frame.f_locals.items()
        for each in reachable(value)
        if isinstance(each, str | bytes | bytearray)
        and search.text(repr(bytes(each) if isinstance(each, bytearray) else each))
    }


def call_until_cancelled(client: Client) -> None:
    with contextlib.suppress(CallCancelledError):
        client.sample()


def wait_for(thread: threading.Thread, code: types.CodeType) -> list[types.FrameType]:
    """Return the frames of a thread once it is in a function, and has been for a while."""
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        time.sleep(0.1)
        frames = frames_of(thread)
        if any(frame.f_code is code for frame in frames):
            return frames
    raise AssertionError("it never came there")


def answer_one_over_http2() -> Handler:
    def act(peer: h2.Peer, stream: int) -> None:
        if stream == 1:
            peer.send(h2.headers(stream), h2.data(stream))

    return h2.on_request(act)


@pytest.mark.parametrize("answered", [0, 1], ids=["first call", "second call"])
@pytest.mark.parametrize("version", ["plain", "1.1", "2"])
def test_the_key_is_nowhere_while_a_worker_waits(version: str, answered: int) -> None:
    over_http2 = answer_one_over_http2() if answered else h2.on_request(lambda _peer, _stream: None)
    handler = over_http2 if version == "2" else answer_then_hang(reply(), answered)
    tls = None if version == "plain" else trusted(protocol="h2" if version == "2" else "http/1.1")
    with (
        Server(handler, tls=tls.server if tls else None) as server,
        Client(target_of(server, tls.ca_pem if tls else None), timeout_s=30.0) as client,
    ):
        for _ in range(answered):
            assert client.sample().error is None
        waiting = threading.Thread(target=call_until_cancelled, args=(client,))
        waiting.start()
        try:
            frames = wait_for(waiting, Connection._receive.__code__)
            assert findings(frames) == set()
        finally:
            client.cancel()
            waiting.join()


def test_the_key_is_nowhere_while_the_connection_is_being_opened() -> None:
    tls = trusted()
    # It accepts, and never says a word of TLS.
    with (
        Server(hang) as server,
        Client(target_of(server, tls.ca_pem, "https"), timeout_s=30.0) as client,
    ):
        waiting = threading.Thread(target=call_until_cancelled, args=(client,))
        waiting.start()
        try:
            frames = wait_for(waiting, start_tls.__code__)
            assert findings(frames) == set()
        finally:
            client.cancel()
            waiting.join()


def test_the_search_finds_it_while_the_request_is_being_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    found: set[str] = set()
    write = Connection._write

    def look(connection: Connection, buffer: bytes) -> tuple[int, str]:
        # Not pytest's own, below which is everything.
        ours = [each for each in frames_of(threading.current_thread()) if "donutwork" in each.f_globals["__name__"]]
        found.update(findings(ours))
        return write(connection, buffer)

    monkeypatch.setattr(Connection, "_write", look)
    tls = trusted(protocol="h2")
    with (
        Server(answer_one_over_http2(), tls=tls.server) as server,
        Client(target_of(server, tls.ca_pem), timeout_s=60.0) as client,
    ):
        assert client.sample().error is None
    assert "Connection.send: data" in found
