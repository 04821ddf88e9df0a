"""TLS: contexts that always verify and read nothing from the environment, and the handshake."""

from __future__ import annotations

import socket
import ssl
import traceback
from functools import lru_cache

import certifi

from donutwork_magics.network.faults import NetworkFaultError, os_reason
from donutwork_magics.network.timing import POLL_S, Deadline
from donutwork_magics.types import Http

ALPN: dict[Http, list[str]] = {"auto": ["h2", "http/1.1"], "1.1": ["http/1.1"], "2": ["h2"]}
"""What is offered to the server, by its registered names."""


@lru_cache(maxsize=16)
def tls_context(http: Http, ca_pem: str | None) -> ssl.SSLContext:
    """Make the context of a client, once for each pair of arguments, as loading the roots takes tens of milliseconds.

    `ssl.create_default_context` is not used: it writes the session's secrets to SSLKEYLOGFILE.

    Parameters
    ----------
    http
        The versions to offer.
    ca_pem
        The text of a PEM file of further roots, or None.

    Raises
    ------
    ssl.SSLError
        The text holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    if ca_pem is not None:
        context.load_verify_locations(cadata=ca_pem)
    # A host name in the subject alone does not count (RFC 9525, section 2).
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(ALPN[http])
    return context


def start_tls(sock: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline) -> ssl.SSLSocket:
    """Make the handshake.

    Raises
    ------
    NetworkFaultError
        ``tls`` or ``timeout``; the connection is closed.
    CallCancelledError
        The call was cancelled; the connection is closed.
    """
    failure: OSError | None = None
    try:
        encrypted = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    except OSError as error:
        # `wrap_socket` asks whether the socket is connected, and it was reset by then.
        _close_half_made(error)
        failure = error
    if failure is not None:
        sock.close()
        raise _fault(failure)
    try:
        while True:
            encrypted.settimeout(min(POLL_S, deadline.remaining_s()))
            try:
                encrypted.do_handshake()
            except TimeoutError:
                continue
            except OSError as error:
                failure = error
            break
    except BaseException:
        encrypted.close()
        raise
    if failure is not None:
        encrypted.close()
        raise _fault(failure)
    return encrypted


def _close_half_made(error: OSError) -> None:
    """Close the socket that a failed `wrap_socket` has made: before Python 3.13 it stays open, and is not returned."""
    for frame, _line in traceback.walk_tb(error.__traceback__):
        half_made = frame.f_locals.get("self")
        if isinstance(half_made, ssl.SSLSocket):
            half_made.close()


def _fault(error: OSError) -> NetworkFaultError:
    """Name a failed handshake: a certificate that is refused, or a peer that does not speak TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NetworkFaultError("tls", error.verify_message or "certificate refused")
    if isinstance(error, (ssl.SSLEOFError, ConnectionError)):
        return NetworkFaultError("tls", "the server closed the connection during the handshake")
    return NetworkFaultError("tls", os_reason(error))
