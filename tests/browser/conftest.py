"""One server and one browser for all tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.jupyter import JupyterServer, chromium, jupyter_server

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """JupyterLab, with a directory of its own."""
    with jupyter_server(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; its event loop runs in this thread, and must not outlive the tests that look at pages."""
    with chromium() as browser:
        yield browser


def put_notebook(server: JupyterServer, name: str, *cells: str) -> str:
    """Write a notebook of these code cells into the server's directory."""
    notebook = {
        "cells": [
            {"cell_type": "code", "execution_count": None, "id": f"c{i}", "metadata": {}, "outputs": [], "source": cell}
            for i, cell in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (server.root / name).write_text(json.dumps(notebook))
    return name


def put_copy(server: JupyterServer, notebook: str, name: str, *, outputs: bool = False) -> str:
    """Copy one of the project's notebooks into the server's directory, with its saved outputs or without."""
    content = json.loads((NOTEBOOKS / notebook).read_text("utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "code" and not outputs:
            cell |= {"outputs": [], "execution_count": None}
    (server.root / name).write_text(json.dumps(content))
    return name
