"""Loading is light, and unloading leaves nothing behind."""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def _unloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        kernel.run("%unload_ext nothing")  # IPython registers its own magics for extensions when they are first used
        yield kernel


@pytest.fixture
def unloaded(_unloaded: Kernel) -> Iterator[Kernel]:
    """A kernel without the extension, which is as it was when it is unloaded."""
    before = _unloaded.value(STATE)
    yield _unloaded
    _unloaded.run("%unload_ext donutwork_magics")
    assert _unloaded.value(STATE) == before
    until(_unloaded, f"{CHILDREN} == []")


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
        # Pandas comes when it is needed.
        assert kernel.run("%donutwork\n%donutwork help").ok
        assert kernel.value("'pandas' in sys.modules") == "False"
        assert kernel.run("%donutwork sandbox start;\n%donutwork ping;").ok
        assert kernel.value(CHILDREN) == "['donutwork_magics.sandbox']"
        assert kernel.value("'pandas' in sys.modules") == "False"
        kernel.run("import pandas as pd")
        assert kernel.value("hasattr(pd.DataFrame, 'donutwork')") == "True"
    assert not (after - before) & {*HEAVY, "donutwork_magics.grammar.completion"}
    assert "donutwork_magics.shell.magics" in after


def test_unload_takes_everything_back(unloaded: Kernel) -> None:
    before = unloaded.value(STATE)
    unloaded.run("%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;\nkept = %donutwork ping")
    unloaded.run("%donutwork ping -n 2 -q;\nw = %donutwork watch\n%donutwork ping -n 2 -q;")
    assert unloaded.value(STATE) != before
    assert unloaded.value(CHILDREN) == str(["donutwork_magics.sampling"] * 2 + ["donutwork_magics.sandbox"])
    assert unloaded.run("%unload_ext donutwork_magics").ok
    assert unloaded.value(STATE) == before
    assert unloaded.value(CHILDREN) == "[]"
    assert "not found" in unloaded.run("%donutwork ping").stderr
    assert unloaded.value("kept.status") == "'success'"


def test_an_interrupt_of_unloading_leaves_nothing_behind_either(unloaded: Kernel) -> None:
    before = unloaded.value(STATE)
    unloaded.run("%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;\nw = %donutwork watch -r 50")
    unloaded.run("from donutwork_magics.client.target import SWITCH\nsandbox = SWITCH.sandbox")
    unloaded.run("from donutwork_magics.watch import Watch\nwait = Watch.wait")
    unloaded.run("def interrupted(*_): raise KeyboardInterrupt\nWatch.wait = interrupted")
    ended = unloaded.run("%unload_ext donutwork_magics")
    unloaded.run("Watch.wait = wait")
    assert ended.ename == "KeyboardInterrupt"
    assert unloaded.value(STATE) == before
    assert unloaded.value("(w.wait(5), sandbox.alive())") == "(True, False)"
    until(unloaded, f"{CHILDREN} == []")
    assert unloaded.run("%unload_ext donutwork_magics\n%load_ext donutwork_magics\n%donutwork").ok


def test_reload_doubles_nothing(unloaded: Kernel) -> None:
    unloaded.run("%load_ext donutwork_magics")
    once = unloaded.value(STATE)
    for _ in range(3):
        assert unloaded.run("%load_ext donutwork_magics\n%reload_ext donutwork_magics").ok
    assert unloaded.value(STATE) == once
    assert unloaded.run("%donutwork").ok
    unloaded.run("%donutwork sandbox start;\n%donutwork ping -n 2 -q;\n%reload_ext donutwork_magics")
    assert unloaded.run("%donutwork ping -n 2 -q;").ok
    assert unloaded.value(CHILDREN) == "['donutwork_magics.sampling', 'donutwork_magics.sandbox']"


def test_lazy_magics_load_it_when_first_used(unloaded: Kernel) -> None:
    unloaded.run("get_ipython().magics_manager.register_lazy('donutwork', 'donutwork_magics')")
    assert "Commands" in unloaded.run("%donutwork").result["text/plain"]
    unloaded.run("get_ipython().magics_manager.lazy_magics.clear()")


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


def test_the_prober_starts_before_pandas_is_imported(fresh: Kernel) -> None:
    with fresh as kernel:
        kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start;")
        looking = "class Look:\n def find_spec(*names):\n  if 'pandas' in names: there.extend(" + CHILDREN + ")"
        kernel.run(f"import sys; there = []\n{looking}\nsys.meta_path.insert(0, Look())")
        assert kernel.run("%donutwork ping -n 2 -q;").ok
        assert kernel.value("sorted(there)") == "['donutwork_magics.sampling', 'donutwork_magics.sandbox']"
