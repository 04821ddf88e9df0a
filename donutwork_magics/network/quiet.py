"""Silence for hpack while it holds the key: it logs the header block of a request, which decodes back to the key.

It logs the reply's headers too, which an echoing server fills with the key. The loggers stay as they are for everybody
else's calls.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("hpack.hpack", "hpack.table")


class _OwnCalls(threading.local):
    active = False


_own_calls = _OwnCalls()


class _QuietForOwnCalls(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return not _own_calls.active


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what these loggers emit in this thread, at every level."""
    _own_calls.active = True
    try:
        yield
    finally:
        _own_calls.active = False


for _name in _LOGGERS:
    _logger = logging.getLogger(_name)
    if not any(isinstance(present, _QuietForOwnCalls) for present in _logger.filters):
        _logger.addFilter(_QuietForOwnCalls())
