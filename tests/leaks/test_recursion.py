"""An error may rise anywhere in a call, as after an endless recursion: no frame that it shows holds the key."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import walk_tb
from types import CodeType, FrameType
from typing import Any

import httpx
import pytest

import donutwork_magics
from donutwork_magics import Client, TimedTransport
from donutwork_magics.interrupts import Interruption
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.series import Begin, Series, encode_command
from donutwork_magics.session import Session
from tests.leaks import KEY
from tests.leaks.search import Search
from tests.servers import Server, answer, reply
from tests.support.kernel import Kernel
from tests.support.recordings import recording_of

pytestmark = pytest.mark.slow

REPEATING = b'{"status": "success", "env": "staging", "RRT": "%s"}' % KEY.encode()

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
    errors = iter((risen(call, room) for room in range(8, 99)).__next__, None)
    risings = len([show(error) for error in errors])
"""


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    with Server(answer(reply(REPEATING))) as server:
        yield {"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": server.url}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Iterator[Kernel]:
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
def test_at_any_depth(kernel: Kernel, call: str) -> None:
    cell = kernel.run(f"sweep({call})")
    assert cell.ok
    assert int(kernel.value("risings")) > 10
    assert Search(KEY).text(cell.stdout) == set()


class OfAnotherThreadError(BaseException):
    """What a thread may raise in another one, at any moment."""


Place = tuple[CodeType, int]


def traced(call: Callable[[], object], meet: Callable[[Place], None]) -> BaseException | None:
    """Make a call; `meet` gets each line of the package that it comes to. What it raises is returned."""
    package, usual = str(Path(donutwork_magics.__file__).parent), sys.gettrace()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            meet((frame.f_code, frame.f_lineno))
        return trace if frame.f_code.co_filename.startswith(package) else None

    sys.settrace(trace)
    try:
        call()
    except BaseException as error:
        return error
    finally:
        sys.settrace(usual)
    return None


@pytest.fixture
def _signals_as_before() -> Iterator[None]:
    """Take the handlers back that a block could not, where the error rose at its very end."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    Interruption.current = None
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def calls(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], object]]]:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with (
        Client() as client,
        TimedTransport() as transport,
        httpx.Client(transport=transport, base_url=transport.base_url) as http,
    ):
        seen = recording_of([Series(Plan(count=1), client.target)])
        begin = Begin(seen.run, seen.lines, seen.segments, seen.attrs, reached=False)
        yield [
            Client,
            client.ping,
            lambda: http.get("/2026-02-01/ping.json"),
            lambda: Session().overview(()),
            lambda: encode_command(begin),
        ]


@pytest.mark.usefixtures("_signals_as_before")
# Where a connection is being made, that leaves it open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("number", "least"), [*enumerate((50, 50, 50, 20, 5))], ids=["client", "ping", "transport", "overview", "command"]
)
def test_in_any_line(number: int, least: int, calls: list[Callable[[], object]]) -> None:
    call, places, risings = calls[number], dict[Place, None](), 0
    assert traced(call, places.setdefault) is None
    for place in places:

        def meet(met: Place, place: Place = place) -> None:
            if met == place:
                raise OfAnotherThreadError

        error = traced(call, meet)
        # What is made once, such as a connection, does not come there again.
        risings += error is not None
        while error is not None:
            # The first frame is one of this test's.
            for frame, _line in [*walk_tb(error.__traceback__)][1:]:
                holding = [name for name, value in frame.f_locals.items() if KEY in repr(value)]
                assert not holding, (place, frame.f_code)
            error = error.__context__
    assert risings >= least
