"""What the network can do to a call, told apart by name before httpx, h11 or ssl give it theirs."""

from __future__ import annotations

import socket
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
    """The call was given up from our side: it is no outcome, and makes no row."""


def os_reason(error: OSError) -> str:
    """Say an operating system or OpenSSL error in its own words, without what Python adds to some."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLError):
        return ssl_reason(error)
    return (error.strerror or type(error).__name__).strip()


def ssl_reason(error: ssl.SSLError) -> str:
    """Say an OpenSSL error in words, without Python's source line."""
    return (error.reason or "bad record").replace("_", " ").lower()


def dns_fault(error: Exception) -> NetworkFaultError:
    """Name a failed name resolution; a host that cannot be a name (``a..b``) raises UnicodeError."""
    reason = os_reason(error) if isinstance(error, socket.gaierror) else "not a valid host name"
    return NetworkFaultError("dns", reason)


def tls_fault(error: OSError) -> NetworkFaultError:
    """Name a failed TLS handshake: a certificate that is refused, or a peer that does not speak TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NetworkFaultError("tls", error.verify_message or "certificate refused")
    if isinstance(error, (ssl.SSLEOFError, ConnectionError)):
        return NetworkFaultError("tls", "the server closed the connection during the handshake")
    if isinstance(error, ssl.SSLError):
        return NetworkFaultError("tls", ssl_reason(error))
    return NetworkFaultError("tls", os_reason(error))
