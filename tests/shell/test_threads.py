"""Given a process that can start no further thread, a command says so in one line, and leaves nothing half started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server, answer, reply
from tests.shell.conftest import KEY
from tests.shell.watching import CHILDREN, THREADS, until
from tests.support.kernel import ABOUT, Cell, Kernel

SAYS = "no further thread"
# As the system does: some more can be started, and then none.
REFUSE = """
import itertools, threading
_start = threading.Thread.start
_more = itertools.count(1)
def refused(thread):
    if next(_more) > {more}:
        raise RuntimeError("can't start new thread")
    _start(thread)
threading.Thread.start = refused
try:
    get_ipython().{run}
finally:
    threading.Thread.start = _start
"""


@pytest.fixture(scope="module")
def _kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel(tmp_path_factory.mktemp("kernel"), {"DONUTWORK_API_KEY": KEY}) as kernel:
        assert kernel.run("import os\n%load_ext donutwork_magics").ok
        yield kernel


@pytest.fixture
def served(_kernel: Kernel) -> Iterator[tuple[Kernel, Server]]:
    """A kernel with a key, and a server for it that counts."""
    with Server(answer(reply())) as server:
        assert _kernel.run(f"os.environ['DONUTWORK_BASE_URL'] = {server.url!r}").ok
        assert _kernel.run("%donutwork ping -n 1 -q").ok
        server.connections = 0
        yield _kernel, server


def line(text: str, *, more: int = 0) -> str:
    return REFUSE.format(run=f"run_line_magic('donutwork', {text!r})", more=more)


def cell(body: str, header: str = "", *, more: int = 0) -> str:
    return REFUSE.format(run=f"run_cell_magic('donutwork', {header!r}, {body!r})", more=more)


def one_line(ended: Cell, ename: str = "OutOfThreadsError") -> None:
    assert ended.ename == ename, ended.text
    assert SAYS in ended.evalue
    assert ended.traceback == f"{ename}: {ended.evalue}"
    assert "\n" not in ended.evalue
    assert KEY not in ended.text


@pytest.fixture
def threaded(changeable: Kernel) -> Iterator[tuple[Kernel, Server]]:
    """A kernel that has the threads of its prober, too, and a server that counts."""
    with Server(answer(reply())) as server:
        assert changeable.run(
            "%donutwork sandbox stop\nimport os\n"
            f"os.environ.update(DONUTWORK_API_KEY={KEY!r}, DONUTWORK_BASE_URL={server.url!r})\n"
            "%donutwork ping -n 1 -q"
        ).ok
        server.connections = 0
        yield changeable, server


# A run has a thread of its own, and one that looks for pauses of the machine.
@pytest.mark.parametrize(("workers", "more"), [(1, 1), (1, 2), (4, 2), (4, 5)])
def test_a_series_pings_with_all_of_its_workers_or_with_none(
    threaded: tuple[Kernel, Server], workers: int, more: int
) -> None:
    kernel, server = threaded
    one_line(kernel.run(line(f"ping -n 50 -r 100 -c {workers} -o kept", more=more)), "SeriesError")
    assert server.connections == 0
    assert kernel.value(f"(len(kept), {ABOUT}(kept)['ended'])") == "(0, 'out_of_threads')"
    assert kernel.value(THREADS) == "[]"
    assert kernel.run("%donutwork ping -n 3 -r 100 -q -o kept").ok
    assert kernel.value("len(kept)") == "3"


def test_the_rows_of_the_lines_before_are_kept(threaded: tuple[Kernel, Server]) -> None:
    kernel, _server = threaded
    body = "a: ping -n 4 -r 100\nb: ping -n 4 -r 100 -c 2"
    one_line(kernel.run(cell(body, "-o kept", more=4)), "SeriesError")
    assert kernel.value("0 < len(kept) < 8 and kept.label.nunique() == 1") == "True"


@pytest.mark.parametrize("more", [0, 1])
def test_a_journal_is_given_free(threaded: tuple[Kernel, Server], tmp_path: Path, more: int) -> None:
    kernel, server = threaded
    file = tmp_path / "run.jsonl"
    one_line(kernel.run(line(f"ping -n 5 -r 100 -q --journal '{file}'", more=more)), "SettingsError")
    assert server.connections == 0
    assert kernel.run(f"%donutwork ping -n 5 -r 100 -q --journal '{file}'").ok
    assert kernel.value(THREADS) == "[]"


@pytest.mark.parametrize("more", [0, 1, 2])
def test_a_watch_does_not_begin(threaded: tuple[Kernel, Server], tmp_path: Path, more: int) -> None:
    kernel, server = threaded
    file = tmp_path / "watch.jsonl"
    one_line(kernel.run(line(f"watch --journal '{file}'", more=more)), "SettingsError" if more else "OutOfThreadsError")
    assert server.connections == 0
    assert kernel.value(THREADS) == "[]"
    assert kernel.run(f"w = %donutwork watch --journal '{file}' -r 20").ok
    assert kernel.run("w.stop()").ok


def test_a_watch_that_is_started_again_can_be_so_later(threaded: tuple[Kernel, Server], tmp_path: Path) -> None:
    kernel, _server = threaded
    assert kernel.run(f"w = %donutwork watch --journal '{tmp_path / 'watch.jsonl'}' -r 20\nw.stop()").ok
    for more in (0, 1, 2):
        cell = kernel.run(REFUSE.format(run="user_ns['w'].start()", more=more))
        one_line(cell, "SettingsError" if more else "OutOfThreadsError")
        until(kernel, f"{THREADS} == []")
        assert kernel.value("(w.state, 'no further thread' in w.problem)") == "('stopped', True)"
    assert kernel.run("w.start(); w.stop()").ok


def test_the_first_series_of_a_kernel(tmp_path: Path) -> None:
    with Server(answer(reply())) as server:
        environ = {"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": server.url}
        with Kernel(tmp_path, environ) as kernel:
            kernel.run("%load_ext donutwork_magics")
            one_line(kernel.run(line("ping -n 3 -r 100")))
            assert server.connections == 0
            assert kernel.value(CHILDREN) == "[]"
            assert kernel.run("df = %donutwork ping -n 3 -r 100").ok
            assert kernel.value("len(df)") == "3"


def test_the_next_one_needs_none(served: tuple[Kernel, Server]) -> None:
    kernel, _server = served
    assert kernel.run(line("ping -n 3 -r 100 -q -o kept")).ok
    assert kernel.value("len(kept)") == "3"


def test_a_single_call_needs_one_only_where_a_name_is_looked_up(served: tuple[Kernel, Server]) -> None:
    kernel, server = served
    assert kernel.run(line("ping")).ok
    assert server.connections == 1
    kernel.run("from donutwork_magics.network import sockets; sockets._resolver.begin_anew()")
    kernel.run("os.environ['DONUTWORK_BASE_URL'] = 'https://donutwork.invalid'")
    one_line(kernel.run(line("ping")), "DonutworkError")


def test_the_sandbox_does_not_start(served: tuple[Kernel, Server]) -> None:
    kernel, _server = served
    one_line(kernel.run(line("sandbox start")))
    assert "stopped" in kernel.run("%donutwork sandbox status").result["text/plain"]


def test_the_buttons_of_a_live_card_can_be_pressed_again(served: tuple[Kernel, Server]) -> None:
    kernel, _server = served
    kernel.widgets.clear()
    assert kernel.run("%donutwork ping --widget").ok
    kernel.run(
        "import threading\n_start = threading.Thread.start\n"
        'def refused(thread): raise RuntimeError("can\'t start new thread")\nthreading.Thread.start = refused'
    )
    kernel.click("Again")
    kernel.listen(1.0)
    kernel.run("threading.Thread.start = _start")
    again = kernel.widget(description="Again")
    assert again["disabled"] is False
    assert any(SAYS in str(widget.get("value")) for widget in kernel.widgets.values())
