"""The HTTP libraries' own exceptions, renamed: none of them, nor its text, may reach the user."""

from __future__ import annotations

import h2.errors
import h2.events
import h2.exceptions
import httpcore

from donutwork_magics.network.faults import NetworkFaultError, os_reason


def http_fault(error: Exception, *, ended: bool) -> NetworkFaultError:
    """Name what an HTTP library raised while it read hostile or broken input.

    Parameters
    ----------
    ended
        The peer has closed its side, which explains everything that is missing.
    """
    if isinstance(error, OSError):
        # Where no connection came to be at all, as when this process has too many files open.
        return NetworkFaultError("connect", os_reason(error))
    if isinstance(error, httpcore.NetworkError):
        return NetworkFaultError("connection_lost", str(error))
    if isinstance(error, httpcore.ConnectionNotAvailable):
        return NetworkFaultError("connection_lost", "closed by the server")
    # httpcore wraps HTTP/2's events and exceptions into its own.
    match error.args:
        case (h2.events.StreamReset(error_code=code), *_):
            refused = code == h2.errors.ErrorCodes.REFUSED_STREAM
            return NetworkFaultError("connection_lost", "the server gave the request up", unprocessed=refused)
        case (h2.exceptions.TooManyStreamsError(), *_):
            return NetworkFaultError("connection_lost", "the server takes no more requests on it")
        case (h2.events.ConnectionTerminated(), *_):
            ended = True
    if ended:
        return NetworkFaultError("connection_lost", "closed before the reply was complete")
    # The rest is h11, h2, hpack and hyperframe on what they cannot parse, in many classes.
    return NetworkFaultError("protocol", "not valid HTTP")
