"""A small HTTP/2 server over TLS or in the clear, on the h2 library."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate

import h2.config
import h2.connection
import h2.events

from tests.servers import BODY, Handler


def answer_http2(connection: socket.socket, fields: list[tuple[str, str]] | None = None) -> None:
    """Answer every request of a connection with the documented ping reply, and note its fields."""
    state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    state.initiate_connection()
    connection.sendall(state.data_to_send())
    while data := connection.recv(65536):
        for event in state.receive_data(data):
            if fields is not None and isinstance(event, h2.events.RequestReceived):
                fields += [(name.decode(), value.decode()) for name, value in event.headers]
            if isinstance(event, h2.events.StreamEnded):
                assert event.stream_id is not None
                headers = [(":status", "200"), ("content-type", "application/json")]
                state.send_headers(event.stream_id, headers)
                state.send_data(event.stream_id, BODY, end_stream=True)
        connection.sendall(state.data_to_send())


def answer_api_http2(bodies: dict[str, bytes], seen: list[str]) -> Handler:
    """Answer each path, by its last part, with a body of its own and the time of day, and note what was asked for."""

    def handler(connection: socket.socket) -> None:
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        state.initiate_connection()
        connection.sendall(state.data_to_send())
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    assert event.stream_id is not None
                    path = dict(event.headers)[b":path"].decode().rpartition("/")[2]
                    seen.append(path)
                    headers = [(":status", "200"), ("date", formatdate(usegmt=True))]
                    state.send_headers(event.stream_id, headers)
                    state.send_data(event.stream_id, bodies[path], end_stream=True)
            connection.sendall(state.data_to_send())

    return handler


def goaway_on_second(connection: socket.socket) -> None:
    """Answer one request, and end the connection in HTTP/2's own way at the next."""
    state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    state.initiate_connection()
    connection.sendall(state.data_to_send())
    answered = 0
    while data := connection.recv(65536):
        for event in state.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                assert event.stream_id is not None
                answered += 1
                if answered > 1:
                    state.close_connection(last_stream_id=event.stream_id - 2)
                    connection.sendall(state.data_to_send())
                    return
                state.send_headers(event.stream_id, [(":status", "200")])
                state.send_data(event.stream_id, BODY, end_stream=True)
        connection.sendall(state.data_to_send())


def goaway_when_idle(connection: socket.socket) -> None:
    """Answer one request, and end the connection in HTTP/2's own way when nothing more comes for a moment."""
    state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    state.initiate_connection()
    connection.sendall(state.data_to_send())
    last = 0
    while not last:
        for event in state.receive_data(connection.recv(65536)):
            if isinstance(event, h2.events.StreamEnded):
                assert event.stream_id is not None
                last = event.stream_id
                state.send_headers(last, [(":status", "200")])
                state.send_data(last, BODY, end_stream=True)
        connection.sendall(state.data_to_send())
    time.sleep(0.1)
    state.close_connection(last_stream_id=last)
    connection.sendall(state.data_to_send())
