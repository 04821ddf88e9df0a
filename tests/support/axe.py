"""axe-core over parts of a page: the rules of accessibility that a machine can check."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from playwright.sync_api import Page


@dataclass(frozen=True)
class Findings:
    """What the rules said of some elements."""

    broken: list[str]
    """A line for each element that breaks a rule, or of which axe cannot tell."""
    kept: set[str]
    """The rules that something was tested by, and that it keeps."""


def look(page: Page, elements: str) -> Findings:
    """Test elements, with all that is in them.

    Parameters
    ----------
    elements
        A JavaScript expression, an array of them.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_script())
    found = page.evaluate(f"async () => axe.run({elements})")
    broken = [
        f"{rule['impact']}: {rule['help']}: {node['html'][:200]}"
        for rule in found["violations"] + found["incomplete"]
        for node in rule["nodes"]
    ]
    return Findings(broken, {rule["id"] for rule in found["passes"]})


@cache
def _script() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
