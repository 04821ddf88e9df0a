"""Loading is light, and unloading leaves nothing behind."""

from __future__ import annotations

import ast
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.shell.watching import CHILDREN, PATIENCE_S, rows_in, until, until_free
from tests.support.kernel import Kernel

HEAVY = ("httpx", "httpcore", "pandas", "numpy", "ipywidgets")
STATE = (
    "(sorted(k for m in get_ipython().magics_manager.magics.values() for k in m),"
    " len(get_ipython().configurables), sorted(get_ipython().magics_manager.registry),"
    " {e: len(c) for e, c in get_ipython().events.callbacks.items()},"
    " sorted(k for k in get_ipython().user_ns if 'donut' in k), len(get_ipython().Completer.custom_matchers))"
)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; where nobody takes note of its end, it stays a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def fresh(tmp_path: Path) -> Kernel:
    """A kernel in which nothing was loaded yet."""
    return Kernel(tmp_path)


def test_load_ext_imports_nothing_heavy_opens_no_socket_and_starts_nothing(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("import sys, socket; made = []; _init = socket.socket.__init__")
        kernel.run("socket.socket.__init__ = lambda self, *a, **k: (made.append(a), _init(self, *a, **k))[1]")
        kernel.run("import psutil, threading; threads = threading.active_count()")
        before = set(eval(kernel.value("sorted(sys.modules)")))
        assert kernel.run("%load_ext donutwork_magics").ok
        after = set(eval(kernel.value("sorted(sys.modules)")))
        assert kernel.value("made") == "[]"
        assert kernel.value(f"({CHILDREN}, threading.active_count() - threads)") == "([], 0)"
        assert kernel.run("%donutwork sandbox start;\n%donutwork ping;").ok
        assert kernel.value(CHILDREN) == "['donutwork_magics.sandbox']"
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
        kernel.run("%donutwork ping -n 2 -q;\nw = %donutwork watch\n%donutwork ping -n 2 -q;")
        assert kernel.value(STATE) != before
        assert kernel.value(CHILDREN) == str(["donutwork_magics.sampling"] * 2 + ["donutwork_magics.sandbox"])
        assert kernel.run("%unload_ext donutwork_magics").ok
        assert kernel.value(STATE) == before
        assert kernel.value(CHILDREN) == "[]"
        assert "not found" in kernel.run("%donutwork ping").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("end", ["shutdown", "killed"])
def test_no_process_outlives_the_kernel(fresh: Kernel, tmp_path: Path, end: str) -> None:
    files = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    with fresh as kernel:
        kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start;")
        kernel.run(f"w = %donutwork watch -r 50 --journal {files[0]}\nv = %donutwork watch --journal {files[1]}")
        pids = ast.literal_eval(kernel.value("[child.pid for child in __import__('psutil').Process().children()]"))
        if end == "killed":
            kernel.kill_during("w.wait()", when=lambda: rows_in(files[0]) > 20)
    assert len(pids) == 3
    for file in files:
        until_free(file)
    deadline_s = time.monotonic() + PATIENCE_S
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline_s, "a process is left"
        time.sleep(0.05)


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
        until(kernel, f"{CHILDREN} == []")
        assert kernel.run("%unload_ext donutwork_magics\n%load_ext donutwork_magics\n%donutwork").ok


def test_reload_doubles_nothing(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("%load_ext donutwork_magics")
        once = kernel.value(STATE)
        for _ in range(3):
            assert kernel.run("%reload_ext donutwork_magics").ok
        assert kernel.value(STATE) == once
        assert kernel.run("%donutwork").ok
        kernel.run("%donutwork sandbox start;\n%donutwork ping -n 2 -q;\n%reload_ext donutwork_magics")
        assert kernel.run("%donutwork ping -n 2 -q;").ok
        assert kernel.value(CHILDREN) == "['donutwork_magics.sampling', 'donutwork_magics.sandbox']"


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


def test_the_prober_starts_before_pandas_is_imported(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start;")
        looking = "class Look:\n def find_spec(*names):\n  if 'pandas' in names: there.extend(" + CHILDREN + ")"
        kernel.run(f"import sys; there = []\n{looking}\nsys.meta_path.insert(0, Look())")
        assert kernel.run("%donutwork ping -n 2 -q;").ok
        assert kernel.value("sorted(there)") == "['donutwork_magics.sampling', 'donutwork_magics.sandbox']"
