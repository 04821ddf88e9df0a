"""Where calls go from a notebook: whatever fails, is interrupted or is loaded again, never to the API by accident."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leaks.test_changes import CLICK
from tests.servers import Server, answer, closed_port, reply
from tests.shell.conftest import KEY
from tests.shell.watching import kill_sandbox, until
from tests.support.kernel import Kernel

ENDED = "This card was made on a sandbox that is no longer on. Run its cell again."
SHORTER = (
    "import dataclasses, donutwork_magics.shell.invocation as magics\n"
    "magics._MEASURE = dataclasses.replace(magics._MEASURE, count=3, rate_hz=100)"
)
INTERRUPT = """
import signal, threading
def interrupt_in(seconds):
    global timer
    timer = threading.Timer(seconds, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    timer.start()
"""
SERIES_IN_A_THREAD = """
import threading
from donutwork_magics import Interrupted, collect, probers
errors = []
def measure():
    try:
        collect(100_000, rate_hz=50)
    except Interrupted as error:
        errors.append(error)
thread = threading.Thread(target=measure)
thread.start()
"""
SWITCH = "from donutwork_magics.client.target import SWITCH"


@pytest.fixture
def api() -> Iterator[Server]:
    """What the environment variables name: the real API, as far as a test can have it."""
    with Server(answer(reply())) as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        assert kernel.run(f"import os, sys\n{CLICK}\n{SWITCH}\n%load_ext donutwork_magics\n{SHORTER}").ok
        yield kernel


@pytest.fixture
def kernel(home: Kernel, api: Server) -> Iterator[Kernel]:
    """A kernel with a key and the API's address, and the sandbox on."""
    assert home.run(
        f"os.environ.update(DONUTWORK_API_KEY={KEY!r}, DONUTWORK_BASE_URL={api.url!r})\n"
        "%load_ext donutwork_magics\n%donutwork sandbox start;"
    ).ok
    yield home
    home.run("for one in list(_instances.values()):\n    one.close()")
    assert home.run("%load_ext donutwork_magics\n%donutwork watch stop\n%donutwork sandbox stop;").ok


def test_a_start_that_fails_leaves_the_sandbox_on(kernel: Kernel, api: Server) -> None:
    with closed_port() as taken:
        failed = kernel.run(f"%donutwork sandbox start --port {taken}")
    assert (failed.ename, "is in use" in failed.evalue) == ("SettingsError", True)
    assert "Every call goes to the sandbox" in str(kernel.run("%donutwork sandbox status").result)
    assert "[sandbox]" in str(kernel.run("%donutwork ping").result)
    assert api.connections == 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupt_of_a_start_leaves_a_sandbox_on(kernel: Kernel, api: Server) -> None:
    for after_s in (0.01, 0.02, 0.03, 0.05, 0.08, 0.12):
        # From within the cell: an interrupt that comes between two cells is the kernel's own.
        cell = kernel.run(f"{INTERRUPT}\ninterrupt_in({after_s})\n%donutwork sandbox start\ntimer.join()")
        assert cell.ename in {"Interrupted", "KeyboardInterrupt"}
        assert "[sandbox]" in str(kernel.run("%donutwork ping").result)
    assert api.connections == 0


def test_scripts_in_the_notebook_call_the_sandbox_too(kernel: Kernel, api: Server) -> None:
    kernel.run("from donutwork_magics import Client, check, collect, sandbox\nclient = Client()")
    assert kernel.value("(client.ping().sandbox, check().sandbox, len(collect(2, rate_hz=100)))") == "(True, True, 2)"
    assert api.connections == 0
    kernel.run("client.close()\n%donutwork sandbox stop;")
    assert kernel.value("check().sandbox") == "False"
    assert api.connections == 1


def test_scripts_are_refused_where_the_sandbox_has_died(kernel: Kernel, api: Server) -> None:
    kernel.run("from donutwork_magics import Client, check, collect")
    kill_sandbox(kernel)
    for code in ("Client()", "check()", "collect(1)", "%donutwork ping", "%donutwork watch", "%donutwork check"):
        cell = kernel.run(code)
        assert (cell.ename, "sandbox has ended" in cell.evalue) == ("SettingsError", True)
    assert api.connections == 0
    assert "[sandbox]" in str(kernel.run("%donutwork sandbox start;\n%donutwork ping").result)


def test_loading_again_keeps_the_sandbox_and_the_watches(kernel: Kernel, api: Server) -> None:
    before = kernel.value("SWITCH.sandbox.url")
    kernel.run("w = %donutwork watch -r 50")
    assert kernel.run("%reload_ext donutwork_magics").ok
    assert kernel.value("(SWITCH.sandbox.url, w.running)") == f"({before}, True)"
    assert "one watch" in str(kernel.run("%donutwork").result)
    assert "[sandbox]" in str(kernel.run("%donutwork ping").result)
    assert "Stopped one watch." in kernel.run("%donutwork watch stop").stdout
    assert api.connections == 0


def test_a_paused_watch_of_the_api_is_not_started_while_a_sandbox_is_on(kernel: Kernel, api: Server) -> None:
    kernel.run("%donutwork sandbox stop;\nw = %donutwork watch -r 50")
    until(kernel, "w.rows.total > 3")
    started = kernel.run("%donutwork sandbox start")
    place = api.url.removeprefix("http://")
    assert f"A watch goes on calling {place}: %donutwork watch stop ends every watch." in started.stdout
    kernel.run("import time\nw.pause(); time.sleep(0.3)")
    assert kernel.run("%donutwork sandbox start").stdout == ""
    before = api.connections
    cell = kernel.run("w.start()")
    assert cell.ename == "SettingsError"
    assert cell.evalue.startswith("A sandbox is on, and this watch calls localhost:")
    kernel.run("w.change(rate_hz=10, http='1.1'); time.sleep(0.3)")
    assert (kernel.value("w.running"), api.connections) == ("False", before)
    kernel.run("%donutwork sandbox stop;\nw.start()")
    assert kernel.value("w.running") == "True"


@pytest.mark.parametrize("start", ["w.start()", "click('Start')"])
def test_a_watch_that_is_started_after_loading_again_is_known(kernel: Kernel, start: str) -> None:
    kernel.run("%donutwork sandbox stop;\nw = %donutwork watch -r 50\n%unload_ext donutwork_magics")
    assert kernel.run(f"%load_ext donutwork_magics\n{start}").ok
    assert "<Watch running: localhost:" in kernel.run("%donutwork watch status").stdout
    assert "one watch" in str(kernel.run("%donutwork").result)
    assert "A watch goes on calling localhost:" in kernel.run("%donutwork sandbox start").stdout
    assert kernel.run("%donutwork watch stop").stdout == "Stopped one watch.\n"
    kernel.run("%donutwork sandbox stop;\nw.start()\n%unload_ext donutwork_magics")
    assert kernel.value("w.state") == "'stopped'"


def test_series_that_go_on_are_said_at_a_start_and_end_at_unloading(kernel: Kernel, api: Server) -> None:
    place = api.url.removeprefix("http://")
    goes_on = (
        f"A series goes on calling {place}: wait for the end, or %unload_ext donutwork_magics ends every series.\n"
    )
    assert kernel.run(f"%donutwork sandbox stop;\n{SERIES_IN_A_THREAD}").ok
    until(kernel, "probers.runs() and probers.runs()[0][1].done > 3")
    started = kernel.run("w = %donutwork watch -r 50\n%donutwork watch stop\n%donutwork sandbox start")
    assert started.stdout == f"Stopped one watch.\n{goes_on}"
    assert kernel.run("%unload_ext donutwork_magics").ok
    assert kernel.value("probers.runs()") == "[]"
    assert kernel.run("thread.join(20)\n[error] = errors").ok
    assert kernel.value("(type(error).__name__, len(error.df) > 3)") == "('Interrupted', True)"


def test_the_sandbox_ends_with_the_last_shell_that_has_the_extension(tmp_path: Path) -> None:
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "from donutwork_magics.client.target import SWITCH\n"
        "shells = [InteractiveShell(), InteractiveShell()]\n"
        "for shell in shells: shell.extension_manager.load_extension('donutwork_magics')\n"
        "shells[0].run_line_magic('donutwork', 'sandbox start')\n"
        "for shell in shells:\n"
        "    shell.extension_manager.unload_extension('donutwork_magics')\n"
        "    print(SWITCH.sandbox is not None)\n"
    )
    environ = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("True\nFalse\n", 0), done.stderr


def test_unloading_ends_the_sandbox_also_after_loading_again(kernel: Kernel) -> None:
    kernel.run("kept = SWITCH.sandbox\n%reload_ext donutwork_magics\n%unload_ext donutwork_magics")
    assert kernel.value("(SWITCH.sandbox, kept.alive())") == "(None, False)"


class TestBlock:
    def test_magics_in_a_block_call_its_sandbox_and_leave_it_on(self, kernel: Kernel, api: Server) -> None:
        kernel.run("from contextlib import ExitStack\nfrom donutwork_magics import sandbox\nstack = ExitStack()")
        kernel.run("before = SWITCH.sandbox.url\nbox = stack.enter_context(sandbox(seed=4))")
        assert "4" in str(card := kernel.run("%donutwork sandbox").result["text/plain"])
        assert "Every call goes to the sandbox until its `with` block ends." in card
        assert "[sandbox]" in str(kernel.run("%donutwork ping").result)
        for action in ("start", "stop"):
            assert "until the block ends" in kernel.run(f"%donutwork sandbox {action}").evalue
        kernel.run("%unload_ext donutwork_magics")
        assert kernel.value("(box.alive(), SWITCH.sandbox is box)") == "(True, True)"
        kernel.run("%load_ext donutwork_magics\nstack.close()")
        assert kernel.value("(box.alive(), SWITCH.sandbox)") == "(False, None)"
        assert api.connections == 0

    def test_a_watch_that_goes_on_elsewhere_is_named(self, kernel: Kernel, api: Server) -> None:
        def told() -> list[str]:
            shown = " ".join(kernel.run("%donutwork").result["text/plain"].split())
            return re.findall(r"A watch goes on calling .*?ends every watch\.", shown)

        kernel.run("from contextlib import ExitStack\nfrom donutwork_magics import sandbox\nstack = ExitStack()")
        kernel.run("%donutwork sandbox stop;\nw = %donutwork watch -r 50")
        assert told() == []
        kernel.run("box = stack.enter_context(sandbox())\ninner = %donutwork watch -r 50")
        place = api.url.removeprefix("http://")
        line = f"A watch goes on calling {place}: %donutwork watch stop ends every watch."
        assert told() == [line]
        assert kernel.run("%donutwork sandbox status").stdout == f"{line}\n"
        kernel.run("w.pause(); import time; time.sleep(0.3)")
        assert told() == []
        url = kernel.run("print(box.url)").stdout.strip()
        kernel.run("stack.close()")
        [line] = told()
        assert f"A watch goes on calling {url.removeprefix('http://')} (sandbox): " in line
        kernel.run("%donutwork watch stop")
        assert told() == []


class TestCardWithButtons:
    """A card belongs to the target that it was made on."""

    def refused(self, kernel: Kernel, line: str) -> None:
        for button in ("Again", "Measure 50"):
            assert kernel.run(f"click({button!r})").ok
            assert line in kernel.value("shown()")

    @pytest.mark.parametrize(
        "code",
        [
            "%donutwork sandbox stop;",
            "%donutwork sandbox start;",
            "%unload_ext donutwork_magics",
            "%donutwork sandbox stop;\ndel os.environ['DONUTWORK_API_KEY']",
            "url = SWITCH.sandbox.url\n%donutwork sandbox stop;\nos.environ['DONUTWORK_BASE_URL'] = url",
        ],
        ids=["stop", "restart", "unload", "no key", "its address as the API's"],
    )
    def test_one_of_a_sandbox_that_has_ended_calls_nothing(self, kernel: Kernel, api: Server, code: str) -> None:
        assert kernel.run("%donutwork ping --widget").ok
        kernel.run("click('Again')\nclick('Measure 50')")
        assert "✗" not in kernel.value("shown()")
        assert kernel.run(code).ok
        self.refused(kernel, ENDED)
        assert api.connections == 0

    def test_one_of_the_api_does_not_call_the_sandbox_or_another_address(self, kernel: Kernel, api: Server) -> None:
        kernel.run("%donutwork sandbox stop;\n%donutwork ping --widget")
        before = api.connections
        kernel.run("%donutwork sandbox start;")
        line = f"This card was made on localhost:{api.port}, and calls go elsewhere now. Run its cell again."
        self.refused(kernel, line)
        with Server(answer(reply())) as other:
            kernel.run(f"%donutwork sandbox stop;\nos.environ['DONUTWORK_BASE_URL'] = {other.url!r}")
            self.refused(kernel, line)
            kernel.run("os.environ['DONUTWORK_BASE_URL'] = 'nonsense'")
            self.refused(kernel, "DONUTWORK_BASE_URL is not a valid URL")
            assert (other.connections, api.connections) == (0, before)
            kernel.run(f"os.environ['DONUTWORK_BASE_URL'] = {api.url!r}\nclick('Again')")
            assert api.connections == before + 1
            assert "✗" not in kernel.value("shown()")


def test_nothing_that_the_session_holds_is_a_key_or_the_environment(kernel: Kernel) -> None:
    look = """
import gc, os, types
session = get_ipython().magics_manager.registry["DonutworkMagics"].session
def reached(one, depth=6, seen=None):
    seen = {} if seen is None else seen
    if id(one) not in seen and depth and not isinstance(one, (type, types.ModuleType, types.FunctionType)):
        seen[id(one)] = one
        for inner in gc.get_referents(one):
            reached(inner, depth - 1, seen)
    return seen.values()
found = [type(one) for one in reached(session) if one is os.environ or isinstance(one, str) and SECRET in one]
"""
    assert kernel.run(f"%donutwork\nSECRET = {KEY!r}\n{look}").ok
    assert kernel.value("found") == "[]"
    assert KEY not in kernel.value("vars(session)")
