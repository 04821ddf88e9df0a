"""Given a signal handler that raises in the middle of our work, its exception passes unchanged, and no row is lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from donutwork_magics import Client, DonutworkError, check, collect, load
from donutwork_magics.client import settings
from donutwork_magics.client.settings import Target, sandbox_target
from donutwork_magics.interrupts import interruption, interrupts, uninterrupted
from donutwork_magics.network.caller import Caller
from tests.servers import Server, answer, answer_then_hang, hang, reply
from tests.support.tables import about

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timer signal")

KEY = "dw_test_Kx81mZq0vTnR57yE"
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
each_exception = pytest.mark.parametrize("raised", EXCEPTIONS, ids=lambda raised: type(raised).__name__)


@pytest.fixture(autouse=True)
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


def target_of(server: Server) -> Target:
    return sandbox_target(server.url, KEY, None)


def names_in(error: BaseException) -> list[str]:
    names, traceback = [], error.__traceback__
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return names


class TestSingleCall:
    @each_exception
    @pytest.mark.parametrize(
        "call",
        [
            lambda target: Client(target).ping(),
            lambda target: Client(target).connection(),
            lambda target: check(target=target),
        ],
        ids=["ping", "connection", "check"],
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


class TestSeries:
    @each_exception
    @pytest.mark.parametrize("concurrency", [1, 3])
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
