"""Certificates of our own authorities, good and bad, for 127.0.0.1 and localhost."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Tls:
    """A server's context, and the root that a client needs for it."""

    server: ssl.SSLContext
    ca_pem: str


def trusted(host: str = "localhost", protocol: str = "http/1.1") -> Tls:
    """Make TLS for a host, with one ALPN protocol; localhost has its addresses in it."""
    authority = trustme.CA()
    names = (host, "127.0.0.1", "::1") if host == "localhost" else (host,)
    return Tls(_context(authority.issue_cert(*names), protocol), authority.cert_pem.bytes().decode())


def expired() -> Tls:
    """Make TLS whose certificate was good for a day, long ago."""
    authority = trustme.CA()
    certificate = authority.issue_cert(
        "localhost", not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2020, 1, 2, tzinfo=UTC)
    )
    return Tls(_context(certificate), authority.cert_pem.bytes().decode())


def self_signed() -> Tls:
    """Make TLS whose certificate nobody vouches for but itself; the root is another one."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "both.pem"
        file.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
        context.load_cert_chain(file)
    return Tls(context, trustme.CA().cert_pem.bytes().decode())


def named_in_the_subject_only() -> Tls:
    """Make TLS whose certificate has localhost as its common name only, beside an identity that is no host."""
    authority = trustme.CA()
    certificate = authority.issue_cert("someone@example.org", common_name="localhost")
    return Tls(_context(certificate), authority.cert_pem.bytes().decode())


def _context(certificate: trustme.LeafCert, protocol: str = "http/1.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.set_alpn_protocols([protocol])
    return context
