"""A kernel for a whole module: its tests leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.shell.watching import THREADS, until
from tests.support.kernel import ROOT, Kernel

KEY = "dw_test_Kx81mZq0vTnR57yE"
_SANDBOX = "getattr(__import__('donutwork_magics.client.target').client.target.SWITCH.sandbox, 'url', '')"
_IN_THE_KERNEL = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from donutwork_magics import probers
from tests.support.in_process import ThreadedChild
probers.Child = ThreadedChild
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel without a key, with the extension loaded."""
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        assert kernel.run("%load_ext donutwork_magics").ok
        yield kernel


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with a key, for a server that the test names; nothing listens where its calls go by default."""
    environ = {"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": "http://127.0.0.1:9"}
    with Kernel(tmp_path_factory.mktemp("kernel"), environ) as kernel:
        assert kernel.run("import os, pandas\n%load_ext donutwork_magics").ok
        yield kernel


@pytest.fixture(scope="module")
def sandboxed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel whose calls go to a sandbox."""
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        assert kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;").ok
        yield kernel


@pytest.fixture(scope="module")
def _with_its_prober(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        assert kernel.run(f"{_IN_THE_KERNEL}\n%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;").ok
        yield kernel


@pytest.fixture
def changeable(_with_its_prober: Kernel) -> Iterator[Kernel]:
    """A kernel whose calls go to a sandbox, and whose prober is a thread of its own: what a test changes, pings too."""
    _with_its_prober.widgets.clear()
    before = _with_its_prober.value(_SANDBOX)
    yield _with_its_prober
    _clean_up(_with_its_prober, before)


@pytest.fixture
def no_watch_left(sandboxed: Kernel) -> Iterator[None]:
    """Leave no watch behind, and a sandbox without faults in the place of one that a test took away."""
    before = sandboxed.value(_SANDBOX)
    yield
    _clean_up(sandboxed, before)


def _clean_up(kernel: Kernel, sandbox: str) -> None:
    # Only those that have not ended: one that is stopped again draws its card again.
    ended = kernel.run(
        "import gc, os\n"
        "for w in [w for w in gc.get_objects() if type(w).__name__ == 'Watch' and w._thread]: w.stop()\n"
        "for w in ('DONUTWORK_API_KEY', 'DONUTWORK_BASE_URL'): os.environ.pop(w, None)\n"
        "w = None"
    )
    assert ended.ok, ended.text
    until(kernel, f"{THREADS} == []")
    if kernel.value(_SANDBOX) != sandbox:
        assert kernel.run("%donutwork sandbox start --seed 1;").ok


@pytest.fixture
def panelled(sandboxed: Kernel) -> Kernel:
    """The kernel without the widgets of the tests before, for those of a single watch."""
    sandboxed.widgets.clear()
    return sandboxed
