"""Interrupts as a wish to stop, so that none of them hits a row, a table or a file half way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Set an event at Ctrl-C or the stop button, also a second and a third time, where else Python would raise.

    An exception can come between any two instructions: after the last ping, while the table is made, or while the
    journal is closed. Python lets the main thread handle signals only; in another one nothing is changed.
    """
    came = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield came
        return

    def note(_number: int, _frame: object) -> None:
        came.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
