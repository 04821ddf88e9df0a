"""Waiting for what a watch does in a kernel."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable
from typing import Final

from tests.support.kernel import Kernel

PATIENCE_S: Final = 20.0
HTML: Final = "text/html"
VIEW: Final = "application/vnd.jupyter.widget-view+json"
# The one that resolves names is parked for the next lookup.
THREADS: Final = (
    "sorted(t.name for t in __import__('threading').enumerate() "
    "if t.name.startswith('donutwork') and t.name != 'donutwork-resolver')"
)


def until(kernel: Kernel, condition: str) -> None:
    """Wait until an expression is true in the kernel, which has to be free for it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while kernel.value(f"bool({condition})") != "True":
        assert time.monotonic() < deadline_s, f"{condition} did not come true: {kernel.value('w')}"
        kernel.listen(0.1)


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
