"""What makes a process stand still, as a machine that is suspended does."""

from __future__ import annotations

import os
import re
import signal
import time


def backtrack_for(seconds: float) -> None:
    """Keep the interpreter lock for at least so long in one piece; each letter doubles the time."""
    letters, took_s = 18, 0.0
    while took_s < seconds:
        letters += 1 if took_s < seconds / 2 else 2
        began_s = time.monotonic()
        re.match("(a+)+$", "a" * letters + "b")
        took_s = time.monotonic() - began_s


def stop_for(pid: int, seconds: float) -> None:
    """Stop another process for a while."""
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
