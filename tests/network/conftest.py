"""TLS for the servers of these tests."""

from __future__ import annotations

import pytest

from tests.servers.tls import Tls, trusted


@pytest.fixture(scope="session")
def tls() -> Tls:
    """TLS for localhost, HTTP/1.1 only."""
    return trusted()


@pytest.fixture(scope="session")
def tls_http2() -> Tls:
    """TLS for localhost, with HTTP/2 offered."""
    return trusted(protocol="h2")
