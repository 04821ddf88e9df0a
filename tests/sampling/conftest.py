"""A prober that tests can change, for those that ask for it."""

from __future__ import annotations

from tests.support.in_process import in_process

__all__ = ["in_process"]
