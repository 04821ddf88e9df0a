"""The bridge from a result to its picture: a result says what it is, `donutwork_magics.display` knows how it looks."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Displayed:
    """A value that Jupyter shows as a static card, and a terminal as text.

    Only ``text/plain`` and ``text/html`` are offered: a widget view in a saved notebook would be dead when it is
    opened again.
    """

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        bundle: dict[str, str] = import_module("donutwork_magics.display").mimebundle(self)
        return bundle
