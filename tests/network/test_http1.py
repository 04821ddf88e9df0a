"""Given an HTTP/1.1 reply cut at any byte, what is said of it does not depend on where it was cut."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from donutwork_magics import Client
from donutwork_magics.client.results import Sample
from donutwork_magics.network.connection import Connection
from tests.faults.calls import target_of
from tests.servers import BODY, Server, answer, read_request, reply

PAUSE_S = 0.002
Receive = Callable[[Connection, float | None], bytes | None]
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


class Cut:
    """A server that sends a reply in pieces, each only when the one before has been read, and a client of it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._was_read = threading.Semaphore(0)

    def serve(self, connection: socket.socket) -> None:
        while read_request(connection):
            was_read = self._was_read = threading.Semaphore(0)
            for number, piece in enumerate(self.pieces):
                if number:
                    while not was_read.acquire(timeout=0.1):
                        # The client has refused what it got, and calls on another connection.
                        if was_read is not self._was_read:
                            return
                    time.sleep(PAUSE_S)
                connection.sendall(piece)

    def end(self) -> None:
        self._was_read = threading.Semaphore(0)

    def note(self, receive: Receive, connection: Connection, patience_s: float | None) -> bytes | None:
        data = receive(connection, patience_s)
        if data:
            self._was_read.release()
        return data


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Cut:
    cut = Cut()
    receive = Connection._receive
    monkeypatch.setattr(Connection, "_receive", lambda self, patience_s: cut.note(receive, self, patience_s))
    return cut


@pytest.fixture
def client(cut: Cut) -> Iterator[Client]:
    with Server(cut.serve) as server, Client(target_of(server.url), timeout_s=5.0) as client:
        yield client
        cut.end()


def sample_of(cut: Cut, client: Client, raw: bytes, at: int) -> Sample:
    """Send the bytes in two pieces."""
    cut.pieces = [piece for piece in (raw[:at], raw[at:]) if piece]
    return client.sample()


@pytest.mark.parametrize(
    "announced", [b"", HINTS, HINTS + b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["none", "103", "two"]
)
def test_the_first_byte_is_that_of_the_reply_wherever_it_is_cut(cut: Cut, client: Client, announced: bytes) -> None:
    raw = announced + reply()
    for at in range(1, len(raw)):
        sample = sample_of(cut, client, raw, at)
        assert sample.error is None, at
        phases = sample.exchange.phases
        if at <= len(announced):
            # It came with the last, in one piece.
            assert phases.ttfb_ms >= PAUSE_S * 1e3, at
            assert phases.receive_ms == 0, at
        else:
            assert phases.receive_ms >= PAUSE_S * 1e3, at


def test_byte_by_byte(cut: Cut, client: Client) -> None:
    raw = HINTS + reply()
    cut.pieces = [bytes((byte,)) for byte in raw]
    sample = client.sample()
    assert sample.error is None
    assert sample.exchange.phases.ttfb_ms >= len(HINTS) * PAUSE_S * 1e3
    assert sample.exchange.phases.receive_ms >= (len(reply()) - 1) * PAUSE_S * 1e3


@pytest.mark.parametrize("announced", [b"", HINTS], ids=["none", "103"])
@pytest.mark.parametrize(
    "wrong",
    [
        reply().replace(b"HTTP/1.1", b"RTSP/1.0"),
        reply().replace(b"HTTP/1.1", b"ICE/1.0"),
        reply().replace(b"HTTP/1.1", b"HTTX/1.1"),
        b"\r\n" + reply(),
        b"\n" + reply(),
        b"\r\n\r\n" + reply(),
        b" " + reply(),
    ],
    ids=["RTSP", "ICE", "HTTX", "CRLF", "LF", "CRLF CRLF", "space"],
)
def test_what_does_not_begin_as_http_does_is_refused_wherever_it_is_cut(
    cut: Cut, client: Client, announced: bytes, wrong: bytes
) -> None:
    raw = announced + wrong
    for at in range(1, len(raw)):
        assert sample_of(cut, client, raw, at).error == "protocol", at
    cut.pieces = [bytes((byte,)) for byte in raw]
    assert client.sample().error == "protocol"
    cut.pieces = [raw]
    assert client.sample().error == "protocol"


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (HINTS.replace(b"Link: </x>", b"Content-Length: 5") + reply(), None),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 57\r\n\r\n", "redirect"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 57\r\n\r\n", "unexpected_status"),
    ],
    ids=["announcement with a length", "304 with the length of another reply", "204 with a length"],
)
def test_what_has_no_body_has_none_whatever_its_length_says(raw: bytes, error: str | None) -> None:
    with Server(answer(raw)) as server, Client(target_of(server.url), timeout_s=5.0) as client:
        samples = [client.sample() for _ in range(3)]
    assert [sample.error for sample in samples] == [error] * 3
    assert server.connections == 1


def test_a_whole_reply_is_taken_whatever_stands_behind_it_and_the_connection_is_not() -> None:
    with (
        Server(answer(reply() + b"HTTP/1.0 500 No\r\n\r\n")) as server,
        Client(target_of(server.url), timeout_s=5.0) as client,
    ):
        for _ in range(3):
            sample = client.sample()
            assert (sample.error, sample.body_bytes) == (None, len(BODY))
            assert sample.exchange.http_version == "1.1"
    assert server.connections == 3
