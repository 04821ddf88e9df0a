"""A certificate authority of our own."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import pytest
import trustme


@dataclass(frozen=True)
class Tls:
    """A server's context, and the root that a client needs for it."""

    server: ssl.SSLContext
    ca_pem: str


@pytest.fixture(scope="session")
def tls() -> Tls:
    """TLS for localhost, HTTP/1.1 only."""
    return _tls("localhost", "http/1.1")


@pytest.fixture(scope="session")
def tls_http2() -> Tls:
    """TLS for localhost, with HTTP/2 offered."""
    return _tls("localhost", "h2")


@pytest.fixture(scope="session")
def tls_wrong_host() -> Tls:
    """TLS with a certificate for another name."""
    return _tls("elsewhere.example", "http/1.1")


def _tls(host: str, protocol: str) -> Tls:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    context.set_alpn_protocols([protocol])
    return Tls(context, authority.cert_pem.bytes().decode())
