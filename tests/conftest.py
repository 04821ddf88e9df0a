"""What all tests share: nothing of the developer's settings reaches a test, or a kernel that nbval starts."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.workermanage import WorkerController

from tests.servers.tls import Tls, trusted
from tests.support.lanes import TIMED, LaneScheduling, sort_into_lanes
from tests.support.notebooks import ROOT, Runs, run_notebook

_TIMED_FILE = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    # Ignored where a shell has put us in the background, and then in kernels too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith(("DONUTWORK_", "JUPYTER", "IPYTHON"))]:
        del os.environ[name]
    # Windows keeps the history database locked for a moment after a kernel has ended.
    home = tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    config.stash[_TIMED_FILE] = Path(home.name) / "timed.json"
    for name, directory in (
        ("IPYTHONDIR", "ipython"),
        ("JUPYTER_CONFIG_DIR", "config"),
        ("JUPYTER_DATA_DIR", "data"),
        ("JUPYTER_RUNTIME_DIR", "runtime"),
    ):
        os.environ[name] = str(Path(home.name).resolve() / directory)
    # Else each of the many processes here would compile pandas, IPython and these tests anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_configure_node(node: WorkerController) -> None:
    node.workerinput[TIMED] = str(node.config.stash[_TIMED_FILE])


def pytest_xdist_auto_num_workers() -> int:
    # Half of a test's time is waiting: for a reply, a kernel, a page.
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    timed = sort_into_lanes(items)
    if hasattr(config, "workerinput"):
        Path(config.workerinput[TIMED]).write_text(json.dumps(timed))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LaneScheduling:
    return LaneScheduling(config, log, config.stash[_TIMED_FILE])


@pytest.fixture(scope="session")
def notebook_runs() -> Runs:
    """Each notebook, run once as by the last step of the README's first command."""
    return cache(lambda path: run_notebook(path.relative_to(ROOT).as_posix()))


@pytest.fixture(scope="session")
def tls() -> Tls:
    """TLS for localhost, HTTP/1.1 only."""
    return trusted()


@pytest.fixture(scope="session")
def tls_http2() -> Tls:
    """TLS for localhost, with HTTP/2 offered."""
    return trusted(protocol="h2")
