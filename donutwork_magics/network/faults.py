"""What the network can do to a call, by name, before ssl, httptools, h2 or httpx give it theirs."""

from __future__ import annotations

import ssl
from typing import Literal

NetworkKind = Literal["timeout", "dns", "connect", "tls", "connection_lost", "protocol", "too_large", "invalid_body"]
"""Those of `donutwork_magics.errors.KINDS` that are decided beneath HTTP's status."""


class NetworkFaultError(Exception):
    """A call ended without a usable reply.

    Parameters
    ----------
    kind
        The outcome's name.
    reason
        A few words of ours, or of the operating system or OpenSSL; never text that the server sent.
    unprocessed
        The server itself said that it did nothing with the request.
    """

    def __init__(self, kind: NetworkKind, reason: str = "", *, unprocessed: bool = False) -> None:
        super().__init__(kind, reason)
        self.kind: NetworkKind = kind
        self.reason = reason
        self.unprocessed = unprocessed


class CallCancelledError(Exception):
    """The call was cancelled by this process: it has no outcome, and makes no row."""


def os_reason(error: OSError) -> str:
    """Say an error of the operating system or of OpenSSL in its own words, without what Python adds to some."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "bad record").replace("_", " ").lower()
    return (error.strerror or type(error).__name__).strip()
