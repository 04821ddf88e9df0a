"""Imports go down only: no circles, lazy imports counted, and no room imports one above it; see CONTRIBUTING.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "donutwork_magics"

MAY_IMPORT = {
    "network": set(),
    "client": {"network"},
    "sampling": {"client", "network"},
    "frame": {"sampling", "network", "analysis", "display"},
    "analysis": {"frame", "sampling"},
    "grammar": {"analysis", "sampling"},
    "sandbox": {"client", "grammar"},
    "display": {"analysis", "client", "frame", "sampling"},
}
"""The rooms below each. `frame` reaches up in its accessor only: so a table finds its analysis and its card."""


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in (ROOT / PACKAGE).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path
    return found


def imports(name: str) -> set[str]:
    """Return the modules of the package that a module imports anywhere, but for its types."""
    path = modules()[name]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return set(_imports(tree, package)) - {name}


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                if whole in modules() or base in modules():
                    yield whole if whole in modules() else base
        yield from _imports(node, package)


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 2 or (len(parts) > 1 and modules()[name].name == "__init__.py") else ""


def test_there_are_no_circles() -> None:
    graph = {name: imports(name) for name in modules() if name != PACKAGE}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"A circle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("above", MAY_IMPORT)
def test_a_room_imports_only_those_below_it(above: str) -> None:
    reached = {
        (name, imported)
        for name in modules()
        if room(name) == above
        for imported in imports(name)
        if room(imported) not in MAY_IMPORT[above] | {above, ""}
    }
    assert reached == set()


def test_the_accessor_alone_reaches_up() -> None:
    reaching = {
        name
        for name in modules()
        if room(name) == "frame" and {room(each) for each in imports(name)} & {"analysis", "display"}
    }
    assert reaching == {f"{PACKAGE}.frame.accessor"}


def test_the_prober_imports_neither_pandas_nor_ipython() -> None:
    below = {f"{PACKAGE}.sampling.__main__"}
    while more := {each for name in below for each in imports(name)} - below:
        below |= more
    heavy = {"pandas", "numpy", "IPython", "ipywidgets"}
    names = {
        alias.name.partition(".")[0]
        for name in below
        for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert names & heavy == set()
