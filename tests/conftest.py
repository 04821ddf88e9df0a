"""What all tests share: nothing of the developer's settings reaches a test, or a kernel that nbval starts."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.support.notebooks import ROOT, Runs, run_notebook


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
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Else each of the many processes here would compile pandas and IPython anew.
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(home.name).resolve() / "compiled")


@pytest.fixture(scope="session")
def notebook_runs() -> Runs:
    """Each notebook, run once as by the last step of the README's first command.

    One after the other: a kernel binds the ports that were free when it was asked for, and nothing else may take them.
    """
    return cache(lambda path: run_notebook(path.relative_to(ROOT).as_posix()))
