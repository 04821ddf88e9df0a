"""Work that an interrupt must not cut in half."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Final

_SLICE_S: Final = 0.1


def shielded(work: Callable[[], None]) -> None:
    """Do the work in a thread of its own, to its end, and let an interrupt take effect only then.

    An interrupt reaches the main thread only. Within `import pandas` it would leave numpy half loaded, which no later
    import makes good: the kernel would have to be restarted.

    Raises
    ------
    KeyboardInterrupt
        There was an interrupt meanwhile; the work is done all the same.
    """
    failures: list[BaseException] = []

    def carry_out() -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(carry_out,), daemon=True)
    thread.start()
    interrupted = False
    while thread.is_alive():
        try:
            thread.join(_SLICE_S)
        except KeyboardInterrupt:
            interrupted = True
    if failures:
        raise failures[0]
    if interrupted:
        raise KeyboardInterrupt
