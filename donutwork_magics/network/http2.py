"""HTTP/2 as httpcore speaks it, which takes a reply without a status for a 200."""

from __future__ import annotations

import h2.events
import httpcore

from donutwork_magics.network.faults import NetworkFaultError

_Event = h2.events.ResponseReceived | h2.events.DataReceived | h2.events.StreamEnded


class Http2Connection(httpcore.HTTP2Connection):
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
