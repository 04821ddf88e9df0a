"""What all tests share: nothing of the developer's settings reaches a test, or a kernel that nbval starts."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.notebooks import NOTEBOOKS, ROOT, run_notebook


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
def notebook_runs() -> Iterator[dict[Path, Future[subprocess.CompletedProcess[str]]]]:
    """Each notebook, run as by the last step of the README's first command; side by side, as they mostly wait."""
    with ThreadPoolExecutor(len(NOTEBOOKS)) as aside:
        yield {path: aside.submit(run_notebook, path.relative_to(ROOT).as_posix()) for path in NOTEBOOKS}
