"""Loading is light, and unloading leaves nothing behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.kernel import Kernel

HEAVY = ("httpx", "httpcore", "pandas", "numpy", "ipywidgets")
STATE = (
    "(sorted(k for m in get_ipython().magics_manager.magics.values() for k in m),"
    " len(get_ipython().configurables), sorted(get_ipython().magics_manager.registry),"
    " {e: len(c) for e, c in get_ipython().events.callbacks.items()},"
    " sorted(k for k in get_ipython().user_ns if 'donut' in k), len(get_ipython().Completer.custom_matchers))"
)


@pytest.fixture
def fresh(tmp_path: Path) -> Kernel:
    """A kernel in which nothing was loaded yet."""
    return Kernel(tmp_path)


def test_load_ext_imports_nothing_heavy_and_opens_no_socket(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("import sys, socket; made = []; _init = socket.socket.__init__")
        kernel.run("socket.socket.__init__ = lambda self, *a, **k: (made.append(a), _init(self, *a, **k))[1]")
        before = set(eval(kernel.value("sorted(sys.modules)")))
        assert kernel.run("%load_ext donutwork_magics").ok
        after = set(eval(kernel.value("sorted(sys.modules)")))
        assert kernel.value("made") == "[]"
    assert not (after - before) & set(HEAVY)
    assert "donutwork_magics.shell.magics" in after


def test_overview_and_help_need_no_pandas(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("%load_ext donutwork_magics\n%donutwork\n%donutwork help")
        assert kernel.value("'pandas' in __import__('sys').modules") == "False"


def test_unload_takes_everything_back(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("%unload_ext nothing")  # IPython registers its own magics for extensions when they are first used
        before = kernel.value(STATE)
        kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;\n%donutwork ping;")
        pid = int(
            kernel.value("_donutwork and __import__('donutwork_magics.client.target').client.target.SWITCH.sandbox.pid")
        )
        assert kernel.value(STATE) != before
        assert kernel.run("%unload_ext donutwork_magics").ok
        assert kernel.value(STATE) == before
        assert "not found" in kernel.run("%donutwork ping").stderr
    if sys.platform != "win32":
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_interrupt_of_unloading_leaves_nothing_behind_either(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("%unload_ext nothing")
        before = kernel.value(STATE)
        kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;\nw = %donutwork watch -r 50")
        kernel.run("from donutwork_magics.client.target import SWITCH\nsandbox = SWITCH.sandbox")
        kernel.run("from donutwork_magics.watch import Watch\nwait = Watch.wait")
        kernel.run("def interrupted(*_): raise KeyboardInterrupt\nWatch.wait = interrupted")
        assert kernel.run("%unload_ext donutwork_magics").ename == "KeyboardInterrupt"
        assert kernel.value(STATE) == before
        assert kernel.value("(wait(w, 5), sandbox.alive())") == "(True, False)"
        assert kernel.run("%unload_ext donutwork_magics\n%load_ext donutwork_magics\n%donutwork").ok


def test_reload_doubles_nothing(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("%load_ext donutwork_magics")
        once = kernel.value(STATE)
        for _ in range(3):
            assert kernel.run("%reload_ext donutwork_magics").ok
        assert kernel.value(STATE) == once
        assert kernel.run("%donutwork").ok


def test_a_variable_of_the_user_survives_unloading(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start;\nkept = %donutwork ping")
        kernel.run("%unload_ext donutwork_magics")
        assert kernel.value("kept.status") == "'success'"


def test_lazy_magics_load_it_when_first_used(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("get_ipython().magics_manager.register_lazy('donutwork', 'donutwork_magics')")
        assert "Commands" in kernel.run("%donutwork").result["text/plain"]


def test_the_accessor_comes_with_pandas_and_not_before(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("%load_ext donutwork_magics")
        kernel.run("import pandas as pd")
        assert kernel.value("hasattr(pd.DataFrame, 'donutwork')") == "True"
