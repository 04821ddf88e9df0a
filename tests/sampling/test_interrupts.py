"""Given Ctrl-C, or a signal handler that raises, at any moment: it passes unchanged, and no row is lost."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pytest

from donutwork_magics import Client, DonutworkError, Interrupted, check, collect, load
from donutwork_magics.client import settings
from donutwork_magics.client.settings import Target
from donutwork_magics.interrupts import interruption, interrupts, uninterrupted
from donutwork_magics.network.caller import Caller
from donutwork_magics.probers import Prober
from donutwork_magics.sampling.rows import Rows
from tests.servers import Server, answer, answer_then_hang, hang, reply
from tests.support.processes import has_ended, until
from tests.support.recordings import KEY, is_free, target_of
from tests.support.tables import about

pytestmark = pytest.mark.slow


def interrupt_again_and_again(file: Path, first_s: float, for_s: float) -> threading.Thread:
    """Begin a while after the first rows are in the file: an earlier interrupt is not for the series."""

    def send() -> None:
        while not file.exists() or file.stat().st_size < 3000:
            time.sleep(0.01)
        time.sleep(first_s)
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.002)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_many_interrupts_lose_no_more_than_one(tmp_path: Path) -> None:
    chance = random.Random(1)
    with Server(answer(reply())) as server:
        target = target_of(server)
        for number in range(6):
            file = tmp_path / f"{number}.jsonl"
            with contextlib.suppress(KeyboardInterrupt), interrupts():
                # Those that come when the series has ended are not its business.
                thread = interrupt_again_and_again(file, chance.uniform(0.0, 0.1), 0.3)
                with pytest.raises(Interrupted, match=r"rows are kept in the df of this error\.$") as caught:
                    collect(10**6, rate_hz=200, concurrency=1 + number % 3, target=target, journal=file)
                thread.join()
            assert len(caught.value.df) > 5
            assert about(caught.value.df)["ended"] == "interrupted"
            assert load(file).equals(caught.value.df)


def test_one_that_comes_when_all_is_done_keeps_the_rows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from donutwork_magics.frame import table as module

    def interrupted(rows: Rows, runs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
        signal.raise_signal(signal.SIGINT)
        return made(rows, runs)

    made = module.table_of
    monkeypatch.setattr(module, "table_of", interrupted)
    with Server(answer(reply())) as server, pytest.raises(Interrupted, match="3 rows are kept") as caught:
        collect(3, rate_hz=None, target=target_of(server))
    assert len(caught.value.df) == 3
    assert about(caught.value.df)["ended"] is None


def test_what_was_there_before_is_there_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    held_back = []
    with contextlib.suppress(KeyboardInterrupt), interrupts() as seen:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        held_back.append(seen.is_set())
    assert held_back == [True]
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_another_thread_than_the_main_one_leaves_signals_alone() -> None:
    seen: list[bool] = []

    def enter() -> None:
        with interrupts() as came:
            seen.append(came.is_set())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [False]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_child_that_another_thread_forks_is_in_no_such_block() -> None:
    code = """
import os, signal, threading
from donutwork_magics.interrupts import interruption, interrupts
def fork():
    child = os.fork()
    if not child:
        restored = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        os._exit(not (restored and type(interruption()).current is None))
    print(os.waitpid(child, 0)[1])
with interrupts():
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout == "0\n"


FORKING = """
import os, signal, sys, threading, time
from donutwork_magics import collect
from donutwork_magics.client.settings import sandbox_target
url, key, file, how = sys.argv[1:]

def fork_while_it_pings():
    while not os.path.exists(file) or os.path.getsize(file) < 3000:
        time.sleep(0.01)
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    print(pid, flush=True)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)

forking = threading.Thread(target=fork_while_it_pings)
forking.start()
target = sandbox_target(url, key, None)
collect(200, rate_hz=100, target=target, journal=file)
forking.join()
print(len(collect(3, rate_hz=100, target=target, journal=file)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.parametrize("how", ["ended", "killed"])
def test_a_forked_child_keeps_no_journal_to_itself(tmp_path: Path, how: str) -> None:
    file = tmp_path / "run.jsonl"
    command = [sys.executable, "-W", "ignore", "-c", FORKING]
    with (
        Server(answer(reply())) as server,
        subprocess.Popen([*command, server.url, KEY, file, how], stdout=subprocess.PIPE, text=True) as parent,
    ):
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert parent.wait(60) == (0 if how == "ended" else -signal.SIGKILL)
            # Where it was killed, its prober notices, though the child has the pipes to it.
            until(lambda: is_free(file))
            assert not has_ended(child)
            if how == "ended":
                # The child has the pipe too, so that there is no end to be read.
                assert parent.stdout.readline() == "3\n"
        finally:
            os.kill(child, signal.SIGKILL)
    rows = len(load(file))
    assert rows == 203 if how == "ended" else rows > 3


class TimeLimitError(Exception):
    """Raised into a thread by another one, as libraries do that limit the time of a call."""


def raise_in(thread: int | None, file: Path) -> None:
    while not file.exists() or file.stat().st_size < 3000:
        time.sleep(0.01)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread or 0), ctypes.py_object(TimeLimitError))


def test_what_another_thread_raises_passes_with_the_rows(tmp_path: Path) -> None:
    for number in range(3):
        file = tmp_path / f"{number}.jsonl"
        limit = threading.Thread(target=raise_in, args=(threading.get_ident(), file))
        limit.start()
        with Server(answer(reply())) as server, pytest.raises(TimeLimitError) as caught:
            collect(10**6, rate_hz=100, target=target_of(server), journal=file)
        limit.join()
        df = caught.value.df  # type: ignore[attr-defined]
        assert len(df) > 5
        assert about(df)["ended"] == "interrupted"
        assert load(file).equals(df)
        assert "_look_on" not in names_in(caught.value)


def test_what_is_raised_before_the_run_begins_passes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = TimeLimitError()

    def limited(*_: object, **__: object) -> None:
        raise raised

    with Server(answer(reply())) as server:
        with monkeypatch.context() as patch:
            patch.setattr(Prober, "begin", limited)
            with pytest.raises(TimeLimitError) as caught:
                collect(3, target=target_of(server))
        assert caught.value is raised
        assert server.connections == 0
        assert len(collect(3, rate_hz=None, target=target_of(server))) == 3


posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timer signal")

PATIENCE_S = 5.0


class OfTheUserError(Exception):
    pass


EXCEPTIONS = [
    OfTheUserError("mine"),
    OSError(5, "mine"),
    TimeoutError("mine"),
    ConnectionResetError("mine"),
    ValueError("mine"),
    StopIteration("mine"),
    SystemExit(3),
    KeyboardInterrupt("mine"),
]


@pytest.fixture
def _no_alarm_left() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def raise_soon(raised: BaseException, after_s: float = 0.3) -> Callable[[int, object], None]:
    def handler(_number: int, _frame: object) -> None:
        raise raised

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, after_s)
    return handler


def names_in(error: BaseException) -> list[str]:
    names, traceback = [], error.__traceback__
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return names


@posix_only
@pytest.mark.usefixtures("_no_alarm_left")
class TestSingleCall:
    @pytest.mark.parametrize(
        ("call", "raised"),
        [
            *((lambda target: Client(target).ping(), raised) for raised in EXCEPTIONS),
            (lambda target: Client(target).connection(), OSError(5, "mine")),
            (lambda target: check(target=target), OSError(5, "mine")),
        ],
        ids=[*(f"ping, {type(raised).__name__}" for raised in EXCEPTIONS), "connection", "check"],
    )
    def test_it_passes_as_it_is(self, call: Callable[[Target], object], raised: BaseException) -> None:
        with Server(hang) as server:
            handler = raise_soon(raised)
            began_s = time.monotonic()
            with pytest.raises(type(raised)) as caught:
                call(target_of(server))
        assert caught.value is raised
        assert raised.__context__ is raised.__cause__ is None
        # Straight from the block that held it back to the handler: none of the frames that send, wait and read.
        assert names_in(raised)[-2:] == ["__exit__", "handler"]
        assert time.monotonic() - began_s < PATIENCE_S
        assert signal.getsignal(signal.SIGALRM) is handler

    def test_the_connection_is_closed_and_the_client_works_again(self) -> None:
        handlers = iter([hang, answer(reply())])
        closed = threading.Event()

        def next_one(connection: object) -> None:
            next(handlers)(connection)  # type: ignore[arg-type]
            closed.set()

        with Server(next_one) as server, Client(target_of(server)) as client:
            raise_soon(OfTheUserError())
            with pytest.raises(OfTheUserError):
                client.ping()
            assert closed.wait(PATIENCE_S)
            assert client.ping().status == "success"

    def test_ctrl_c_is_a_plain_interrupt(self) -> None:
        signal.signal(signal.SIGALRM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
        with Server(hang) as server, Client(target_of(server)) as client:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(KeyboardInterrupt) as caught:
                client.ping()
        assert type(caught.value) is KeyboardInterrupt
        assert caught.value.__context__ is None

    def test_a_handler_that_sets_itself_again_is_still_held_back(self) -> None:
        raised = OSError(5, "mine")
        came: list[int] = []

        def handler(number: int, _frame: object) -> None:
            signal.signal(number, handler)
            came.append(number)
            if len(came) == 3:
                raise raised

        signal.signal(signal.SIGALRM, handler)
        with Server(hang) as server:
            signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
            with pytest.raises(OSError, match="mine") as caught:
                Client(target_of(server), timeout_s=PATIENCE_S).ping()
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert caught.value is raised
        assert signal.getsignal(signal.SIGALRM) is handler

    def test_a_failure_at_the_same_time_does_not_swallow_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        measured = Caller._measured

        def at_the_end(*args: object, **kwargs: object) -> object:
            signal.raise_signal(signal.SIGALRM)
            return measured(*args, **kwargs)  # type: ignore[arg-type]

        raised = OfTheUserError()
        raise_soon(raised, 60)
        monkeypatch.setattr(Caller, "_measured", at_the_end)
        with Server(answer(b"nonsense")) as server, pytest.raises(OfTheUserError) as caught:
            Client(target_of(server)).ping()
        assert caught.value is raised

    def test_a_handler_that_does_not_raise_disturbs_nothing(self) -> None:
        came: list[float] = []
        signal.signal(signal.SIGALRM, lambda _number, _frame: came.append(time.monotonic()))
        with Server(hang) as server, Client(target_of(server), timeout_s=0.5) as client:
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            with pytest.raises(DonutworkError) as caught:
                client.ping()
        assert caught.value.kind == "timeout"
        assert len(came) > 2


@posix_only
@pytest.mark.usefixtures("_no_alarm_left")
class TestSettings:
    @pytest.mark.parametrize("make", [Client, lambda: collect(1), check], ids=["client", "collect", "check"])
    def test_none_of_its_frames_shows_the_environment(
        self, make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def proxies(_environ: object) -> tuple[str, ...]:
            signal.raise_signal(signal.SIGALRM)
            return ()

        monkeypatch.setenv("DONUTWORK_API_KEY", KEY)
        monkeypatch.setattr(settings, "proxies", proxies)
        raised = OfTheUserError()
        raise_soon(raised, 60)
        with pytest.raises(OfTheUserError):
            make()
        # The first frame is of this test.
        traceback = raised.__traceback__ and raised.__traceback__.tb_next
        while traceback is not None:
            assert KEY not in repr(traceback.tb_frame.f_locals)
            traceback = traceback.tb_next


@posix_only
@pytest.mark.usefixtures("_no_alarm_left")
class TestSeries:
    @pytest.mark.parametrize(
        ("raised", "concurrency"),
        [(OfTheUserError("mine"), 1), (OSError(5, "mine"), 3), (SystemExit(3), 1), (KeyboardInterrupt("mine"), 3)],
        ids=["of the user", "OSError", "SystemExit", "KeyboardInterrupt"],
    )
    def test_it_passes_with_the_rows(self, tmp_path: Path, raised: BaseException, concurrency: int) -> None:
        file = tmp_path / "run.jsonl"
        # Tests before this one may have left threads that are kept, such as the resolver's.
        before = set(threading.enumerate())
        with Server(answer(reply())) as server:
            raise_soon(raised, 0.5)
            with pytest.raises(type(raised)) as caught:
                collect(10**6, rate_hz=100, concurrency=concurrency, target=target_of(server), journal=file)
        assert caught.value is raised
        assert raised.__context__ is None
        df = raised.df  # type: ignore[attr-defined]
        assert len(df) > 5
        assert df.error.isna().all()
        assert about(df)["ended"] == "interrupted"
        assert load(file).equals(df)
        # The prober that answered is kept for the next series, and no other thread is.
        added = {thread.name for thread in set(threading.enumerate()) - before}
        assert {name for name in added if name.startswith("donutwork")} <= {"donutwork-reader"}

    def test_it_does_so_while_no_ping_ends(self) -> None:
        raised = OfTheUserError()
        with Server(answer_then_hang(reply(), 3)) as server:
            raise_soon(raised, 0.8)
            began_s = time.monotonic()
            with pytest.raises(OfTheUserError):
                collect(99, rate_hz=20, target=target_of(server), timeout_s=60)
        assert time.monotonic() - began_s < PATIENCE_S
        assert len(raised.df) == 3  # type: ignore[attr-defined]

    def test_ctrl_c_twice_to_stop_keeps_the_rows(self) -> None:
        def first(number: int, _frame: object) -> None:
            signal.signal(number, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, 0.3)

        signal.signal(signal.SIGALRM, first)
        with Server(answer(reply())) as server:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(KeyboardInterrupt) as caught:
                collect(10**6, rate_hz=20, target=target_of(server))
        assert len(caught.value.df) > 5  # type: ignore[attr-defined]
        assert signal.getsignal(signal.SIGALRM) is signal.default_int_handler

    def test_one_that_takes_no_further_attribute_passes_all_the_same(self) -> None:
        class Closed(Exception):  # noqa: N818
            def __setattr__(self, name: str, value: object) -> None:
                raise RuntimeError("closed")

        raised = Closed()
        with Server(answer(reply())) as server:
            raise_soon(raised)
            with pytest.raises(Closed) as caught:
                collect(10**6, rate_hz=20, target=target_of(server))
        assert caught.value is raised


@posix_only
@pytest.mark.usefixtures("_no_alarm_left")
class TestLoad:
    @pytest.mark.parametrize("raised", [OSError("mine"), ValueError("mine"), OfTheUserError()], ids=repr)
    def test_it_is_not_taken_for_a_file_that_cannot_be_read(
        self, tmp_path: Path, raised: BaseException, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from donutwork_magics.sampling import journal_reader as module

        lines = module._lines

        def slowly(file: BinaryIO) -> Iterator[bytes]:
            for line in lines(file):
                time.sleep(0.05)
                yield line

        monkeypatch.setattr(module, "_lines", slowly)
        file = tmp_path / "run.jsonl"
        with Server(answer(reply())) as server:
            collect(50, rate_hz=None, target=target_of(server), journal=file)
        raise_soon(raised)
        with pytest.raises(type(raised)) as caught:
            load(file)
        assert caught.value is raised

    def test_a_pipe_that_nobody_writes_to_is_refused(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        # A writer in the end, so that the test fails rather than waits.
        writer = threading.Timer(3.0, lambda: os.close(os.open(pipe, os.O_RDWR)))
        writer.start()
        began_s = time.monotonic()
        with pytest.raises(DonutworkError, match=r"^The file is a pipe: [^\n]*$"):
            load(pipe)
        assert time.monotonic() - began_s < 2
        writer.cancel()


@uninterrupted
def handle_something() -> None:
    try:
        raise LookupError(KEY)
    except LookupError:
        signal.raise_signal(signal.SIGALRM)


@uninterrupted
def send(*numbers: int) -> bool:
    for number in numbers:
        signal.raise_signal(number)
    return interruption().is_set()


@posix_only
@pytest.mark.usefixtures("_no_alarm_left")
class TestBlock:
    def test_what_we_were_handling_is_not_its_context(self) -> None:
        raised = OfTheUserError()
        raise_soon(raised, 60)
        with pytest.raises(OfTheUserError):
            handle_something()
        assert raised.__context__ is None

    def test_what_the_handler_was_handling_is(self) -> None:
        def handler(_number: int, _frame: object) -> None:
            try:
                raise LookupError("of the user")
            except LookupError:
                raise OfTheUserError  # noqa: B904

        signal.signal(signal.SIGALRM, handler)
        with pytest.raises(OfTheUserError) as caught:
            handle_something()
        context = caught.value.__context__
        assert isinstance(context, LookupError)
        assert context.__context__ is None

    def test_that_of_another_handler_takes_the_place_of_ctrl_c(self) -> None:
        raise_soon(SystemExit(3), 60)
        with pytest.raises(SystemExit):
            send(signal.SIGINT, signal.SIGALRM, signal.SIGINT)

    def test_lifted_it_comes_at_once(self) -> None:
        with interrupts() as seen:
            with seen.lifted(), pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            assert not seen.is_set()

    def test_a_handler_that_was_set_meanwhile_stays(self) -> None:
        raise_soon(OfTheUserError(), 60)
        with interrupts():
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
