"""Waiting for what a watch does in a kernel."""

from __future__ import annotations

import ast
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.kernel import Kernel

PATIENCE_S: Final = 20.0
HTML: Final = "text/html"
VIEW: Final = "application/vnd.jupyter.widget-view+json"
# The one that resolves names is parked for the next lookup, and one prober is kept, with the one that reads its lines.
THREADS: Final = (
    "(lambda names: (names.remove('donutwork-reader') if 'donutwork-reader' in names else None, names)[1])("
    "sorted(t.name for t in __import__('threading').enumerate() "
    "if t.name.startswith('donutwork') and t.name not in {'donutwork-resolver', 'donutwork-output'}))"
)

# The processes that a kernel has started. One that has ended is none.
CHILDREN: Final = (
    "sorted(child.cmdline()[4] for child in __import__('psutil').Process().children() "
    "if child.is_running() and child.status() != 'zombie')"
)


def until(kernel: Kernel, condition: str) -> None:
    """Wait until an expression is true in the kernel, which has to be free for it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while kernel.value(f"bool({condition})") != "True":
        assert time.monotonic() < deadline_s, f"{condition} did not come true: {kernel.value('w')}"
        kernel.listen(0.1)


def until_free(file: Path) -> None:
    """Wait until no process writes to a journal any more."""
    # Windows has no such module, and kills no kernel here.
    import fcntl

    deadline_s = time.monotonic() + PATIENCE_S
    with file.open("rb") as taken:
        while True:
            try:
                fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                assert time.monotonic() < deadline_s, "the prober goes on without its kernel"
                time.sleep(0.05)


def rows_in(file: Path) -> int:
    """Count the rows of a journal, without reading it as the package does."""
    return file.read_bytes().count(b'\n{"label":')


def number(kernel: Kernel, expression: str) -> int:
    return int(ast.literal_eval(kernel.value(f"int({expression})")))


def seen(kernel: Kernel, condition: Callable[[], bool]) -> None:
    """Wait until a widget is as it should be."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, str(kernel.widgets)[-3000:]
        kernel.listen(0.2)


def card(kernel: Kernel) -> str:
    """The HTML of the panel's card: the one that is not empty."""
    [value] = [
        str(widget["value"])
        for widget in kernel.widgets.values()
        if widget.get("_model_name") == "HTMLModel" and widget.get("value")
    ]
    return value


def kill_sandbox(kernel: Kernel) -> None:
    """Let the sandbox that is on die, as when the system ends it."""
    assert kernel.run("from donutwork_magics.client.target import SWITCH\nbox = SWITCH.sandbox").ok
    os.kill(number(kernel, "box.pid"), signal.SIGTERM)
    until(kernel, "not box.alive()")
