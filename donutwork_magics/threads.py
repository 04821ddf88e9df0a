"""Starting threads, of which a process may have no more."""

from __future__ import annotations

import threading

from donutwork_magics.errors import OutOfThreadsError


def start_thread(thread: threading.Thread) -> None:
    """Start a thread.

    Raises
    ------
    OutOfThreadsError
        The system gives this process no further one.
    """
    try:
        thread.start()
    except RuntimeError:
        pass
    else:
        return
    raise OutOfThreadsError
