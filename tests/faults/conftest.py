"""What hangs is what these tests are about: none of them is waited for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.in_process import in_process

__all__ = ["in_process"]

HANG_S = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(HANG_S))
