"""Run a notebook in this very Python, and print it as a reader of a terminal would like it.

``python notebooks/run.py notebooks/01_first_ping.ipynb``; with ``--save`` the outputs are written into the notebook.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

CELL_TIMEOUT_S = 120


class _ThisPython(KernelSpecManager):
    """Offers one kernel, the running Python, whatever is installed as ``python3``."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=CRITICAL"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def execute(notebook: nbformat.NotebookNode, directory: Path, done: Callable[[nbformat.NotebookNode], None]) -> None:
    """Run all cells in place; the notebooks work on the sandbox, so that no key of the user's gets in.

    Parameters
    ----------
    directory
        Where the kernel runs.
    done
        Called with each cell as soon as its outputs are there, also with one that fails.

    Raises
    ------
    CellExecutionError, CellTimeoutError, DeadKernelError
        A cell failed, took too long, or ended its kernel; the outputs up to it are in the notebook.
    """
    # pyzmq's advice to Windows users is for whoever chooses the event loop, and here nobody does.
    warnings.filterwarnings("ignore", "Proactor event loop", RuntimeWarning)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DONUTWORK_")}
    # Else debugpy warns that Python's own modules are frozen.
    environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, record_timing=False, coalesce_streams=True)
    client.create_kernel_manager().kernel_spec_manager = _ThisPython()
    # What a kernel says there is not the notebook's: when it is ended it may complain of its own closed sockets.
    with client.setup_kernel(cwd=str(directory), env=environ, stderr=subprocess.DEVNULL):
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index)
            finally:
                done(cell)


def text_of(cell: nbformat.NotebookNode) -> str:
    """Give a code cell's input and what it printed or showed, as text."""
    prompt = f"In [{cell.execution_count or ' '}]: "
    source = cell.source.replace("\n", "\n" + " " * len(prompt))
    return "\n".join([prompt + source, *filter(None, map(_text_of_output, cell.outputs)), ""])


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
        if not path.is_file():
            parser.error(f"there is no notebook {path}")
        notebook = nbformat.read(path, as_version=4)
        if failure := _failure_of(notebook, path):
            print(f"{path} stopped: {failure}")
            return 1
        if options.save:
            save(notebook, path)
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    # Jupyter refuses to run as root, as one is in most containers, unless told so.
    root = " --allow-root" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    print(f"The same in JupyterLab:\n  {shown} -m jupyterlab{root} {options.notebooks[-1]}")
    return 0


def _failure_of(notebook: nbformat.NotebookNode, path: Path) -> str:
    try:
        execute(notebook, path.resolve().parent, _show)
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        return f"a cell took more than {CELL_TIMEOUT_S} s."
    except DeadKernelError:
        return "the kernel ended."
    except KeyboardInterrupt:
        return "interrupted."
    return ""


def _show(cell: nbformat.NotebookNode) -> None:
    if cell.cell_type == "code":
        print(text_of(cell), flush=True)


def _text_of_output(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text).rstrip("\n")
    return str(output.get("data", {}).get("text/plain", "")).rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
