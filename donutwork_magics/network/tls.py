"""TLS contexts: verified always, and deaf to the environment."""

from __future__ import annotations

import ssl
from functools import lru_cache

import certifi

from donutwork_magics.types import Http

ALPN: dict[Http, list[str]] = {"auto": ["h2", "http/1.1"], "1.1": ["http/1.1"], "2": ["h2"]}
"""What is offered to the server, by its registered names."""


@lru_cache(maxsize=16)
def tls_context(http: Http, ca_pem: str | None) -> ssl.SSLContext:
    """Make the context of a client, once for each pair of arguments, as loading the roots takes tens of milliseconds.

    It is made by hand because `ssl.create_default_context` writes the session's secrets to SSLKEYLOGFILE.

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
    # A name in the subject alone vouches for nothing (RFC 9525, section 2).
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(ALPN[http])
    return context
