"""Run a notebook in this very Python, and print it as a reader of a terminal would like it.

``python notebooks/run.py notebooks/01_first_ping.ipynb``; with ``--save`` the outputs are written into the notebook.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

CELL_TIMEOUT_S = 120


class _ThisPython(KernelSpecManager):
    """Offers one kernel, the running Python, whatever is installed as ``python3``."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def execute(notebook: nbformat.NotebookNode, directory: Path) -> None:
    """Run all cells in place; the notebooks work on the sandbox, so that no key of the user's gets in.

    Raises
    ------
    CellExecutionError
        A cell failed; the outputs up to it are in the notebook.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DONUTWORK_")}
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, record_timing=False, store_widget_state=False)
    client.create_kernel_manager().kernel_spec_manager = _ThisPython()
    client.execute(cwd=str(directory), env=environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"})


def text_of(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """Give the code cells that were run, each with its input and what it printed or showed, as text."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.execution_count is not None:
            prompt = f"In [{cell.execution_count}]: "
            yield prompt + cell.source.replace("\n", "\n" + " " * len(prompt))
            yield from filter(None, map(_text_of_output, cell.outputs))
            yield ""


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook without what differs from machine to machine."""
    notebook.metadata.language_info = {"name": "python"}
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, path)


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks that are named, and return the exit code."""
    # The output has characters that an old code page lacks: better a ? than a traceback.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(description="Run notebooks and print them as text.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--save", action="store_true", help="write the outputs into the notebook")
    options = parser.parse_args(arguments)
    for path in options.notebooks:
        notebook = nbformat.read(path, as_version=4)
        failure = ""
        try:
            execute(notebook, path.resolve().parent)
        except CellExecutionError as error:
            failure = f"{error.ename}: {error.evalue}"
        print("\n".join(text_of(notebook)))
        if failure:
            print(f"{path} stopped at a cell that failed. {failure}")
            return 1
        if options.save:
            save(notebook, path)
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    print(f"The same in JupyterLab:\n  {shown} -m jupyterlab {options.notebooks[-1]}")
    return 0


def _text_of_output(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text).rstrip("\n")
    return str(output.get("data", {}).get("text/plain", "")).rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
