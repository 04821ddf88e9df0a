"""HTTP/2 (RFC 9113) on one connection, one request at a time, by httpcore and h2."""

from __future__ import annotations

from typing import Final

import h2.events
import httpcore

from donutwork_magics.network.faults import NetworkFaultError
from donutwork_magics.network.marks import Marks
from donutwork_magics.network.message import MAX_BODY_BYTES, TOO_LARGE, Prepared, Reply, checked
from donutwork_magics.network.quiet import quiet
from donutwork_magics.network.stream import TimedStream

_VERSION: Final = "2"

_Event = h2.events.ResponseReceived | h2.events.DataReceived | h2.events.StreamEnded


class _StrictHttp2Connection(httpcore.HTTP2Connection):
    """A connection that wants one status, and no other pseudo-header, in a reply (RFC 9113, 8.3.2).

    h2 could look at every header, but refuses white space and capitals too, which other clients let pass.
    """

    def _receive_stream_event(self, request: httpcore.Request, stream_id: int) -> _Event:
        event = super()._receive_stream_event(request, stream_id)
        if isinstance(event, h2.events.ResponseReceived):
            names = [name for name, _value in event.headers or () if name.startswith(b":")]
            if names != [b":status"]:
                raise NetworkFaultError("protocol", "not valid HTTP")
        return event


class Http2Connection:
    """One connection that speaks HTTP/2.

    Parameters
    ----------
    stream
        Where it is written and read.
    origin
        Whose requests it takes.
    """

    def __init__(self, stream: TimedStream, origin: httpcore.Origin) -> None:
        self._origin = origin
        self._stream = stream
        self._http = _StrictHttp2Connection(origin, stream)

    def is_reusable(self) -> bool:
        """Tell whether a further request may be sent."""
        return self._http.is_idle() and not self._http.has_expired() and not self._stream.has_ended()

    def exchange(self, request: Prepared, authorization: bytes | None, marks: Marks) -> Reply:
        """Send a request, and read the reply to its end.

        Raises
        ------
        NetworkFaultError
            There is no whole reply, or it is none; exceptions of httpcore and h2 tell the same.
        """
        headers = list(request.headers)
        if authorization is not None:
            headers.append((b"Authorization", authorization))
        url = httpcore.URL(
            scheme=self._origin.scheme, host=self._origin.host, port=self._origin.port, target=request.target
        )
        with quiet():
            try:
                response = self._http.handle_request(httpcore.Request(request.method, url, headers=headers))
            except BaseException:
                # Frames of the connection itself (SETTINGS, GOAWAY) are no part of a reply.
                marks.first_byte_ns = 0
                raise
            # For the same reason the reply begins with the read that brought its headers.
            marks.first_byte_ns = marks.last_byte_ns
            try:
                body = _read_body(response)
            finally:
                response.close()
        return checked(Reply(response.status, response.headers, body, _VERSION), delimited=True)


def _read_body(response: httpcore.Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise NetworkFaultError("too_large", TOO_LARGE)
    return bytes(body)
