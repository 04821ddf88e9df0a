"""TLS for the servers of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.tls import Tls, trusted
from tests.support.in_process import in_process

__all__ = ["in_process"]

HANG_S = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give up on a test here long before the usual: what hangs is what these tests are about."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(HANG_S))


@pytest.fixture(scope="session")
def tls() -> Tls:
    """TLS for localhost, HTTP/1.1 only."""
    return trusted()


@pytest.fixture(scope="session")
def tls_http2() -> Tls:
    """TLS for localhost, with HTTP/2 offered."""
    return trusted(protocol="h2")
