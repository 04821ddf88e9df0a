"""A small HTTP/2 server over TLS or in the clear, on the h2 library."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from email.utils import formatdate

import h2.config
import h2.connection
import h2.events

from tests.servers import BODY, Handler

Asked = tuple[h2.connection.H2Connection, int, dict[str, str]]


def requests(connection: socket.socket) -> Iterator[Asked]:
    """Give each request of a connection, with its stream and its fields, and send what was answered to it."""
    state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    state.initiate_connection()
    connection.sendall(state.data_to_send())
    while data := connection.recv(65536):
        for event in state.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                assert event.stream_id is not None
                yield state, event.stream_id, {str(name): str(value) for name, value in event.headers}
        connection.sendall(state.data_to_send())


def reply(state: h2.connection.H2Connection, stream: int, body: bytes = BODY) -> None:
    state.send_headers(stream, [(":status", "200"), ("date", formatdate(usegmt=True))])
    state.send_data(stream, body, end_stream=True)


def answer_http2(connection: socket.socket, fields: list[tuple[str, str]] | None = None) -> None:
    """Answer every request of a connection with the documented ping reply, and note its fields."""
    for state, stream, asked in requests(connection):
        if fields is not None:
            fields += asked.items()
        reply(state, stream)


def answer_api_http2(bodies: dict[str, bytes], seen: list[str]) -> Handler:
    """Answer each path, by its last part, with a body of its own and the time of day, and note what was asked for."""

    def handler(connection: socket.socket) -> None:
        for state, stream, asked in requests(connection):
            seen.append(asked[":path"].rpartition("/")[2])
            reply(state, stream, bodies[seen[-1]])

    return handler


def goaway_on_second(connection: socket.socket) -> None:
    """Answer one request, and end the connection in HTTP/2's own way at the next."""
    for number, (state, stream, _asked) in enumerate(requests(connection)):
        if number:
            state.close_connection(last_stream_id=stream - 2)
            connection.sendall(state.data_to_send())
            return
        reply(state, stream)


def goaway_when_idle(connection: socket.socket) -> None:
    """Answer one request, and end the connection in HTTP/2's own way when nothing more comes for a moment."""
    state, stream, _asked = next(requests(connection))
    reply(state, stream)
    connection.sendall(state.data_to_send())
    time.sleep(0.1)
    state.close_connection(last_stream_id=stream)
    connection.sendall(state.data_to_send())
