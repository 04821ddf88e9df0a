"""What all tests share: nothing of the developer's settings reaches a test, or a kernel that nbval starts."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
from jupyter_client.connect import ConnectionFileMixin

from tests.support.notebooks import ROOT, Runs, run_notebook

KERNEL_MODULES = {
    "test_any_command",
    "test_changes",
    "test_measured",
    "test_notebooks",
    "test_surface",
    "test_sweep",
    "test_terminal",
    "test_typed",
}
"""Those whose tests start kernels without the fixtures of `KERNEL_FIXTURES`."""
KERNEL_FIXTURES = {"kernel", "sandboxed", "notebook_runs"}


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith(("DONUTWORK_", "JUPYTER", "IPYTHON"))]:
        del os.environ[name]
    # Windows keeps the history database locked for a moment after a kernel has ended.
    home = tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    for name, directory in (
        ("IPYTHONDIR", "ipython"),
        ("JUPYTER_CONFIG_DIR", "config"),
        ("JUPYTER_DATA_DIR", "data"),
        ("JUPYTER_RUNTIME_DIR", "runtime"),
    ):
        os.environ[name] = str(Path(home.name).resolve() / directory)
    if sys.platform == "linux":
        # A port that is free when a kernel is started may be taken by another test before the kernel binds it. (On
        # other systems the path of a socket may be shorter than that of a temporary directory.)
        ConnectionFileMixin.transport.default_value = "ipc"
        directory = Path(os.environ["JUPYTER_CONFIG_DIR"])
        directory.mkdir()
        (directory / "jupyter_config.json").write_text(json.dumps({"KernelManager": {"transport": "ipc"}}))
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Else each of the many processes here would compile pandas and IPython anew.
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(home.name).resolve() / "compiled")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if item.path.suffix == ".ipynb" or item.path.stem in KERNEL_MODULES or fixtures & KERNEL_FIXTURES:
            item.add_marker("kernel")


@pytest.fixture(scope="session")
def notebook_runs() -> Runs:
    """Each notebook, run once as by the last step of the README's first command.

    One after the other: a kernel binds the ports that were free when it was asked for, and nothing else may take them.
    """
    return cache(lambda path: run_notebook(path.relative_to(ROOT).as_posix()))
