"""An error may rise at any depth of a call, as after an endless recursion: no frame that it shows holds the key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.leaks import KEY
from tests.leaks.search import Search
from tests.servers import Server, answer, reply
from tests.support.kernel import Kernel

pytestmark = pytest.mark.slow

# Each error rises one frame deeper than the one before. What was shown of an earlier one is not shown again: IPython
# takes its time for each frame.
SWEEP = r"""
import httpx, sys
from traceback import walk_tb
from donutwork_magics import Client, TimedTransport, check, collect
shell = get_ipython()
shown = set()

def timed():
    with TimedTransport() as transport, httpx.Client(transport=transport, base_url=transport.base_url) as client:
        client.get("/2026-02-01/ping.json")

def client():
    with Client() as client:
        client.ping()

def depth():
    frame, depth = sys._getframe(1), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth

def risen(call, room):
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(depth() + room)
    try:
        call()
    except RecursionError as error:
        return error
    except Exception:
        pass
    finally:
        sys.setrecursionlimit(usual)

def show(error):
    while error is not None:
        # The first two frames are this cell's.
        traceback = error.__traceback__.tb_next and error.__traceback__.tb_next.tb_next
        places = [(frame.f_code, line) for frame, line in walk_tb(traceback)]
        while places and places[0] in shown:
            del places[0]
            traceback = traceback.tb_next
        if places:
            shown.update(places)
            print(*shell.InteractiveTB.structured_traceback(type(error), error, traceback), sep="\n")
        error = error.__context__

def sweep(call):
    global risings
    call()
    shown.clear()
    errors = [risen(call, room) for room in range(8, 50)]
    risings = len([show(error) for error in errors if error is not None])
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Server(answer(reply())) as server:
        environ = {"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": server.url}
        home = tmp_path_factory.mktemp("kernel")
        with Kernel(home, environ | {"HOME": str(home)}) as kernel:
            assert kernel.run(f"%load_ext donutwork_magics\n%xmode Verbose\n{SWEEP}").ok
            yield kernel


@pytest.mark.parametrize(
    "call",
    [
        "client",
        "timed",
        "check",
        "lambda: collect(1)",
        "lambda: shell.run_line_magic('donutwork', '')",
        "lambda: shell.run_line_magic('donutwork', 'ping')",
        "lambda: shell.run_line_magic('donutwork', 'ping -n 1 --journal ~/rows.jsonl')",
    ],
)
def test_no_frame_of_an_error_shows_it(kernel: Kernel, call: str) -> None:
    cell = kernel.run(f"sweep({call})")
    assert cell.ok
    assert int(kernel.value("risings")) > 10
    assert Search(KEY).text(cell.stdout) == set()
