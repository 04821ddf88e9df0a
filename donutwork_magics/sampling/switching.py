"""How soon a busy Python thread lets another one run, while pings are taken beside it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PROMPT_S: Final = 0.0005
"""A tenth of the default: beside a computing cell, a reply waited some 5 ms for the interpreter, and now waits 1."""

_lock = threading.Lock()
_users = 0
_before_s = 0.0


@contextmanager
def prompt_switching() -> Iterator[None]:
    """Shorten the interpreter's switch interval; the last one to leave puts back what was there."""
    global _users, _before_s  # noqa: PLW0603 - the interval is one for the whole process
    with _lock:
        if not _users:
            _before_s = sys.getswitchinterval()
            sys.setswitchinterval(min(PROMPT_S, _before_s))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                sys.setswitchinterval(_before_s)
