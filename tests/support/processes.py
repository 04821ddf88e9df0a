"""Processes that the package starts, as the system sees them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

PATIENCE_S = 30.0
PROBER = "donutwork_magics.sampling"


def _listed() -> list[tuple[int, int, str, str]]:
    """List parent, number, state and command line of each process."""
    found = subprocess.run(
        ["ps", "-A", "-ww", "-o", "ppid=,pid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 3) for line in found.splitlines()]
    return [(int(parent), int(pid), state, args) for parent, pid, state, args in (row for row in rows if len(row) == 4)]


def probers_of(parent: int | None = None) -> list[int]:
    """List the probers of a process, by default of this one; one that has ended is not, also where nobody reaps it."""
    parent = os.getpid() if parent is None else parent
    return [pid for own, pid, state, args in _listed() if own == parent and PROBER in args and state[0] != "Z"]


def has_ended(pid: int) -> bool:
    """Tell whether a process has ended."""
    return not any(other == pid and state[0] != "Z" for _, other, state, _ in _listed())


def until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait for something."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
