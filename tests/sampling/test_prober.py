"""Given a series, a process of its own pings, and is seen by nobody: it keeps no key, and is never left behind."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from donutwork_magics import Interrupted, SeriesError, SettingsError, collect, load, probers
from donutwork_magics.child import Child
from donutwork_magics.measure import measure
from donutwork_magics.probers import LOST, Recording
from donutwork_magics.sampling import __main__ as prober_module
from donutwork_magics.sampling.__main__ import Output, Prober
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.rows import Rows
from donutwork_magics.sampling.schedule import SharedMemory
from donutwork_magics.sampling.series import Begin, Series, encode_command
from donutwork_magics.watch import Watch
from tests.servers import Server, answer, answer_then_hang, read_request, reply
from tests.support.notebooks import ROOT
from tests.support.processes import has_ended, probers_of, until
from tests.support.recordings import KEY, PATIENCE_S, recording_of, running, table, target_of
from tests.support.tables import about

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes and signals")

pytestmark = [posix_only, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    probers.end_idle()
    assert probers_of() == []
    yield
    probers.end_idle()
    assert probers_of() == []


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(answer(reply())) as server:
        yield server


def endless(server: Server, *, journal: Path | None = None, rate_hz: float | None = 200) -> Series:
    return Series(Plan(rate_hz=rate_hz, endless=True), target_of(server), journal=journal)


def the_prober() -> int:
    [pid] = probers_of()
    return pid


SCRIPT = """
import os, signal, sys, threading, time
from donutwork_magics import Interrupted, SeriesError, collect
from donutwork_magics.client.settings import sandbox_target
from tests.support.processes import probers_of
target = sandbox_target(sys.argv[1], sys.argv[2], None)
"""


def command(code: str, server: Server, *arguments: object) -> list[str]:
    # Python 3.12 warns of a fork beside other threads.
    python = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT + textwrap.dedent(code)]
    return [*python, server.url, KEY, *map(str, arguments)]


def run(code: str, server: Server, *arguments: object) -> list[str]:
    """Run a script, and return the lines that it prints."""
    done = subprocess.run(
        command(code, server, *arguments), capture_output=True, text=True, timeout=90, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


class TestSecrecy:
    @pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it")
    def test_neither_its_environment_nor_its_arguments_hold_a_key(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        probers.end_idle()
        monkeypatch.setenv("FROM_THE_VAULT", f"token={KEY}")
        # It is started before that is a key.
        collect(1, target=target_of(server))
        monkeypatch.setenv("DONUTWORK_API_KEY", KEY)
        monkeypatch.setenv("DONUTWORK_BASE_URL", server.url)
        before = the_prober()
        assert len(collect(3, rate_hz=100)) == 3
        assert the_prober() == before
        proc = Path("/proc") / str(the_prober())
        environment, arguments = (proc / "environ").read_bytes(), (proc / "cmdline").read_bytes()
        assert b"PATH=" in environment
        assert b"donutwork_magics.sampling" in arguments
        assert KEY.encode() not in environment + arguments
        assert b"DONUTWORK_" not in environment
        # Nor has it a file of ours but its pipes and the memory of the limits.
        files = [os.readlink(file) for file in (proc / "fd").iterdir()]  # noqa: PTH115 - a pipe is no path
        assert sum(not file.startswith(("pipe:", "/memfd:donutwork", "/dev/null")) for file in files) == 0

    def test_no_variable_of_any_of_its_threads_holds_the_key_during_a_run_or_after_it(self) -> None:
        asked, go_on = threading.Event(), threading.Event()

        def handler(connection: socket.socket) -> None:
            while read_request(connection):
                asked.set()
                go_on.wait(PATIENCE_S)
                connection.sendall(reply())

        commands, stdin = os.pipe()
        stdout, output = os.pipe()
        prober = Prober(Output(output), SharedMemory())
        with Server(handler) as server, os.fdopen(commands, "rb") as lines, os.fdopen(stdout, "rb") as told:
            begin = begin_of(Series(Plan(count=1), target_of(server)))
            serving = threading.Thread(target=prober.serve, args=(lines,))
            serving.start()
            try:
                os.write(stdin, encode_command(begin))
                assert asked.wait(PATIENCE_S)
                assert {"serve", "_carry_out", "_ping"} <= set(frames_of_others())
                # The server may have the request before the call that sends it has returned.
                until(lambda: all(KEY not in shown for shown in frames_of_others().values()))
                go_on.set()
                while b'"ended"' not in told.readline().split(b",")[0]:
                    pass
                until(lambda: "_carry_out" not in frames_of_others())
                assert "serve" in frames_of_others()
                assert all(KEY not in shown for shown in frames_of_others().values())
            finally:
                go_on.set()
                os.close(stdin)
                serving.join(PATIENCE_S)


def begin_of(series: Series) -> Begin:
    """Make the command that begins a run of one line."""
    seen = recording_of([series])
    return Begin(seen.run, seen.lines, seen.segments, seen.attrs, reached=False)


def frames_of_others() -> dict[str, str]:
    """Return what a debugger shows of the variables of the other threads in the package, by their functions."""
    shown: dict[str, str] = {}
    for thread, top in sys._current_frames().items():
        frame = None if thread == threading.get_ident() else top
        while frame is not None:
            if "donutwork_magics" in frame.f_code.co_filename:
                name = frame.f_code.co_name
                shown[name] = shown.get(name, "") + repr(dict(frame.f_locals))
            frame = frame.f_back
    return shown


class TestInterrupt:
    def test_that_of_a_terminal_does_not_reach_it(self, server: Server) -> None:
        import pexpect  # type: ignore[import-untyped]

        code = """
        print("ready", flush=True)
        try:
            collect(10**6, rate_hz=100, target=target)
        except Interrupted as error:
            print("kept", len(error.df) > 3, error.df.error.isna().all(), flush=True)
        before = probers_of()
        print("then", len(collect(3, rate_hz=100, target=target)), len(before), probers_of() == before, flush=True)
        """
        python, *arguments = command(code, server)
        terminal = pexpect.spawn(python, arguments, cwd=str(ROOT), timeout=60, encoding="utf-8")
        try:
            terminal.expect("ready")
            until(lambda: server.connections > 0)
            time.sleep(0.5)
            terminal.sendintr()
            terminal.expect("kept True True")
            terminal.expect("then 3 1 True")
            terminal.expect(pexpect.EOF)
        finally:
            terminal.close(force=True)

    def test_it_is_in_a_session_of_its_own_and_ignores_one(self, server: Server) -> None:
        with running(endless(server)) as seen:
            assert os.getsid(the_prober()) != os.getsid(0)
            os.kill(the_prober(), signal.SIGINT)
            done = seen.done
            until(lambda: seen.done > done + 20)

    @pytest.mark.parametrize("concurrency", [1, 4])
    def test_it_ends_a_run_within_two_seconds_with_all_completed_rows(self, concurrency: int) -> None:
        answered, lock = [0], threading.Lock()

        def handler(connection: socket.socket) -> None:
            # At the interrupt, one of the workers waits.
            while read_request(connection):
                with lock:
                    answered[0] += 1
                    number = answered[0]
                if number == 300:
                    told_s[0] = time.monotonic()
                    signal.raise_signal(signal.SIGINT)
                    time.sleep(10)
                    return
                connection.sendall(reply())

        told_s = [0.0]
        with Server(handler) as server, pytest.raises(Interrupted, match="rows are kept") as caught:
            collect(10**6, rate_hz=None, concurrency=concurrency, target=target_of(server))
        took_s = time.monotonic() - told_s[0]
        df = caught.value.df
        # The server is left within the time too.
        assert took_s < 4
        assert answered[0] >= 299
        assert 0 <= answered[0] - len(df) <= concurrency
        assert df["error"].isna().all()
        assert about(df)["ended"] == "interrupted"


class TestLoss:
    def test_one_that_is_killed_is_named_and_costs_no_row(self, server: Server, tmp_path: Path) -> None:
        file = tmp_path / "run.jsonl"

        def kill() -> None:
            until(lambda: file.exists() and file.read_bytes().count(b"\n") > 40)
            os.kill(the_prober(), signal.SIGKILL)

        killing = threading.Thread(target=kill)
        killing.start()
        with pytest.raises(
            SeriesError, match=r"^The series ended early: \d+ rows are kept[^\n]*prober[^\n]*$"
        ) as caught:
            collect(10**6, rate_hz=100, target=target_of(server), journal=file)
        killing.join()
        df, journal = caught.value.df, load(file)
        assert about(df)["ended"] == LOST
        assert about(journal)["ended"] == "unfinished"
        assert len(journal) >= len(df) > 3
        # What it had not sent yet is in the journal only.
        assert journal["duration_ms"].tolist()[: len(df)] == df["duration_ms"].tolist()
        assert len(journal) - len(df) < 100
        assert len(collect(3, rate_hz=100, target=target_of(server), journal=file)) == 3
        assert load(file)["run"].nunique() == 2

    def test_one_that_is_killed_while_it_is_idle_is_replaced(self, server: Server) -> None:
        collect(1, target=target_of(server))
        killed = the_prober()
        os.kill(killed, signal.SIGKILL)
        # A process is listed as a zombie while threads of it are still to end, and no wait for it returns yet.
        until(lambda: "donutwork-reader" not in [thread.name for thread in threading.enumerate()])
        assert len(collect(3, rate_hz=100, target=target_of(server))) == 3
        assert the_prober() != killed

    def test_one_that_is_lost_before_it_is_told_to_begin_keeps_nobody_waiting(self, server: Server) -> None:
        prober = probers.acquire()
        try:
            os.kill(prober.pid, signal.SIGKILL)
            until(lambda: prober.lost)
            seen = recording_of([endless(server)])
            prober.begin(seen)
            assert seen.over.wait(PATIENCE_S)
            assert (seen.begun.is_set(), seen.attrs["ended"]) == (True, LOST)
        finally:
            probers.release(prober)

    def test_one_that_was_stopped_does_not_keep_an_interrupt_waiting(self, server: Server) -> None:
        interrupted_s = [0.0]

        def stop_and_interrupt() -> None:
            until(lambda: server.connections > 0)
            time.sleep(0.5)
            os.kill(the_prober(), signal.SIGSTOP)
            time.sleep(0.2)
            interrupted_s[0] = time.monotonic()
            signal.raise_signal(signal.SIGINT)

        stopping = threading.Thread(target=stop_and_interrupt)
        stopping.start()
        with pytest.raises(Interrupted, match="rows are kept") as caught:
            collect(10**6, rate_hz=100, target=target_of(server))
        assert time.monotonic() - interrupted_s[0] < 8
        stopping.join()
        assert len(caught.value.df) > 3
        assert about(caught.value.df)["ended"] == "interrupted"
        assert probers_of() == []
        assert len(collect(3, rate_hz=100, target=target_of(server))) == 3

    def test_those_that_stand_still_are_named_and_cost_no_row_and_one_that_waits_is_left_alone(
        self, server: Server
    ) -> None:
        target = target_of(server)
        watch = Watch(endless(server), keep=10_000)
        with ThreadPoolExecutor(2) as pool:
            patient = pool.submit(collect, 2, rate_hz=1 / 8, target=target)
            until(lambda: server.connections == 1)
            waiting = the_prober()
            series = pool.submit(collect, 10**6, rate_hz=100, target=target)
            watch.start()
            until(lambda: server.connections == 3 and watch.rows.total > 3)
            time.sleep(0.2)
            stopped = set(probers_of()) - {waiting}
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            with pytest.raises(SeriesError, match=r"rows are kept [^\n]* did not answer [^\n]*$") as caught:
                series.result(PATIENCE_S)
            assert watch.wait(PATIENCE_S)
            assert patient.result(PATIENCE_S)["error"].isna().tolist() == [True, True]
        assert len(caught.value.df) > 3
        assert about(caught.value.df)["ended"] == about(watch.df)["ended"] == LOST
        assert watch.problem.startswith("The watch ended: The prober, the process that pings, did not answer")
        assert "\n" not in watch.problem
        assert len(watch.df) > 3
        assert not stopped & set(probers_of())

    def test_one_that_is_stopped_while_it_is_idle_is_replaced(self, server: Server) -> None:
        collect(1, target=target_of(server))
        stopped = the_prober()
        os.kill(stopped, signal.SIGSTOP)
        until(lambda: has_ended(stopped))
        assert len(collect(3, rate_hz=100, target=target_of(server))) == 3

    def test_one_that_stands_still_is_given_up_where_a_plan_does_not_fit_into_the_pipe(self, server: Server) -> None:
        target = target_of(server)
        collect(1, target=target)
        os.kill(the_prober(), signal.SIGSTOP)
        with pytest.raises(SeriesError, match="prober"):
            collect(3, target=replace(target, ca_pem="#" * 2**20))
        assert len(collect(3, rate_hz=100, target=target)) == 3

    def test_a_plan_that_it_cannot_read_is_refused_and_the_next_one_carried_out(self, server: Server) -> None:
        series = Series(Plan(count=3, rate_hz=None), target_of(server))
        prober = probers.acquire()
        try:
            for unreadable in (b"nonsense", b'{"type":"begin","run":5}', b'{"type":"later"}', b"\xff"):
                refused = recording_of([series])
                prober.recording = refused
                os.write(prober._child.stdin.number, unreadable + b"\n")
                assert refused.over.wait(PATIENCE_S)
                assert re.fullmatch(r"The prober cannot read its plan \(\w+\)\. Restart the kernel\.", refused.refused)
            readable = recording_of([series])
            prober.begin(readable)
            assert readable.over.wait(PATIENCE_S)
            assert (readable.done, readable.refused) == (3, "")
        finally:
            probers.release(prober)

    def test_what_cannot_be_read_of_it_ends_the_run_in_one_line(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def decode(line: bytes) -> object:
            raise msgspec.ValidationError("of another version")

        monkeypatch.setattr(probers, "decode", decode)
        with pytest.raises(SeriesError, match=r"^The series ended early: 0 rows are kept[^\n]*$") as caught:
            collect(10**6, rate_hz=100, target=target_of(server))
        assert about(caught.value.df)["ended"] == LOST
        assert probers_of() == []

    def test_one_that_does_not_start_is_said_in_one_line(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", os.devnull)
        with pytest.raises(SettingsError, match=r"^The prober, the process that pings, did not start: [^\n]*$"):
            collect(3, target=target_of(server))
        assert server.connections == 0

    def test_one_that_ends_at_once_is_said_in_one_line(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\nexit 3\n")
        python.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(python))

        def start(reader: threading.Thread) -> None:
            # As soon as that: its reader has seen the end before anything else is done.
            reader.start()
            reader.join(PATIENCE_S)

        monkeypatch.setattr(probers, "start_thread", start)
        with pytest.raises(SeriesError, match=r"^The series ended early: 0 rows are kept[^\n]*$"):
            collect(3, target=target_of(server))
        assert server.connections == 0


class TestPool:
    def test_one_is_kept_and_used_again(self, server: Server) -> None:
        collect(3, rate_hz=100, target=target_of(server))
        first = the_prober()
        for _ in range(3):
            collect(3, rate_hz=100, target=target_of(server))
            assert probers_of() == [first]

    def test_runs_at_once_have_one_each_and_one_is_kept(self, server: Server) -> None:
        seen: set[int] = set()
        with ThreadPoolExecutor() as runs:
            dfs = [runs.submit(collect, duration_s=3.0, rate_hz=50, target=target_of(server)) for _ in range(3)]
            until(lambda: server.connections == 3)
            seen.update(probers_of())
        assert len(seen) == 3
        assert all(len(df.result()) > 50 for df in dfs)
        until(lambda: len(probers_of()) == 1)
        assert the_prober() in seen

    def test_none_is_started_before_the_first_series_and_none_is_left_without_the_extension(
        self, server: Server
    ) -> None:
        code = """
        import donutwork_magics
        from donutwork_magics import *
        from donutwork_magics.measure import measure
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config
        print(probers_of(os.getpid()))
        shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
        os.environ.update(DONUTWORK_API_KEY=sys.argv[2], DONUTWORK_BASE_URL=sys.argv[1])
        shell.run_line_magic("load_ext", "donutwork_magics")
        shell.run_line_magic("donutwork", "ping")
        shell.run_line_magic("donutwork", "check")
        print(probers_of())
        shell.run_line_magic("donutwork", "ping -n 3 -r 20 -q")
        print(len(probers_of()))
        shell.run_line_magic("unload_ext", "donutwork_magics")
        print(probers_of())
        """
        assert [line for line in run(code, server) if re.fullmatch(r"\[.*\]|\d", line)] == ["[]", "[]", "1", "[]"]

    def test_one_whose_run_was_left_by_an_exception_ends_the_run_and_is_kept(self, server: Server) -> None:
        class OfTheDisplayError(Exception):
            pass

        def observe(seen: Recording) -> None:
            if seen.done > 5:
                raise OfTheDisplayError

        with pytest.raises(OfTheDisplayError) as caught:
            measure([endless(server)], keep=lambda _df: "nowhere", observer=observe)
        assert probers.runs() == []
        assert len(caught.value.df) > 5  # type: ignore[attr-defined]
        df = collect(3, rate_hz=100, label="next", target=target_of(server))
        assert df["label"].tolist() == ["next"] * 3

    def test_a_late_stop_is_not_for_the_next_run(self, server: Server) -> None:
        chance = random.Random(1)
        prober = probers.acquire()
        try:
            for _ in range(25):
                short = recording_of([Series(Plan(count=30, rate_hz=None), target_of(server))])
                prober.begin(short)
                time.sleep(chance.uniform(0.0, 0.03))
                prober.stop("interrupted")
                assert short.over.wait(PATIENCE_S)
                prober.stop("interrupted")
                whole = recording_of([Series(Plan(count=5, rate_hz=None), target_of(server))])
                prober.begin(whole)
                assert whole.over.wait(PATIENCE_S)
                assert (whole.done, whole.attrs["ended"], whole.rows.parts[0].run) == (5, None, whole.run)
                assert short.attrs["ended"] == ("interrupted" if short.done < 30 else short.attrs["ended"])
                assert set(table(whole)["run"]) == {whole.run}
        finally:
            probers.release(prober)

    def test_a_reader_that_cannot_be_started_leaves_nothing_behind(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(thread: threading.Thread) -> None:
            raise SettingsError("no further thread")

        collect(1, target=target_of(server))
        probers.end_idle()
        before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - a Path would open one more
        monkeypatch.setattr(probers, "start_thread", refuse)
        for _ in range(3):
            with pytest.raises(SettingsError, match="no further thread"):
                collect(1, target=target_of(server))
        assert probers_of() == []
        assert len(os.listdir("/dev/fd")) <= before  # noqa: PTH208

    def test_nothing_is_left_of_one_that_has_ended(self, server: Server) -> None:
        collect(1, target=target_of(server))
        probers.end_idle()
        until(lambda: "donutwork-reader" not in [thread.name for thread in threading.enumerate()])
        before = len(os.listdir("/dev/fd"))  # noqa: PTH208
        for _ in range(3):
            collect(1, target=target_of(server))
            probers.end_idle()
        until(lambda: "donutwork-reader" not in [thread.name for thread in threading.enumerate()])
        assert len(os.listdir("/dev/fd")) <= before  # noqa: PTH208


ENDS = {
    "return": "",
    "_exit": "os._exit(0)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
}


class TestParent:
    @pytest.mark.parametrize(
        ("end", "pings"),
        [
            ("return", False),
            ("_exit", False),
            ("SIGKILL", False),
            ("return", True),
            ("SIGTERM", True),
            ("SIGKILL", True),
        ],
    )
    def test_it_ends_with_its_parent_in_whatever_way(self, server: Server, end: str, pings: bool) -> None:
        code = f"""
        collect(3, rate_hz=100, target=target)
        if {pings}:
            endless = dict(rate_hz=100, target=target)
            threading.Thread(target=collect, args=(10**6,), kwargs=endless, daemon=True).start()
            time.sleep(0.3)
        print(*probers_of(), flush=True)
        {ENDS[end]}
        """
        with subprocess.Popen(command(code, server), stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
            assert parent.stdout is not None
            prober = int(parent.stdout.readline())
            parent.wait(60)
        until(lambda: has_ended(prober))

    def test_also_where_a_forked_child_of_it_keeps_the_pipes_open(self, server: Server) -> None:
        code = """
        collect(3, rate_hz=100, target=target)
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        print(*probers_of(), child, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
        with subprocess.Popen(command(code, server), stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
            assert parent.stdout is not None
            prober, child = map(int, parent.stdout.readline().split())
            parent.wait(60)
            try:
                until(lambda: has_ended(prober))
                assert not has_ended(child)
            finally:
                os.kill(child, signal.SIGKILL)

    @pytest.mark.parametrize("after_s", [0.0, 0.1], ids=["at once", "a little later"])
    def test_also_where_its_parent_ends_as_a_run_begins(self, server: Server, after_s: float) -> None:
        memory = SharedMemory()
        child = Child("donutwork_magics.sampling", memory.handle, inherited=[memory.file])
        try:
            # So many clients take their time.
            plan = Plan(rate_hz=5, concurrency=256, endless=True)
            os.write(child.stdin.number, encode_command(begin_of(Series(plan, target_of(server)))))
            if after_s:
                until(lambda: server.connections > 0)
                time.sleep(after_s)
            child.stdin.close()
            until(lambda: has_ended(child.pid))
        finally:
            child.end()

    def test_a_plain_script_needs_no_guard(self, server: Server, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            "import sys\n"
            "print('once')\n"
            "from donutwork_magics import collect\n"
            "from donutwork_magics.client.settings import sandbox_target\n"
            "print(len(collect(3, rate_hz=100, target=sandbox_target(sys.argv[1], sys.argv[2], None))))\n"
        )
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, script, server.url, KEY],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environ,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "once\n3\n", "")

    def test_a_forked_child_has_one_of_its_own(self, server: Server) -> None:
        code = """
        collect(3, rate_hz=100, target=target)
        own = probers_of()
        if not os.fork():
            print(len(collect(5, rate_hz=100, target=target)), len(probers_of()), probers_of() == own)
            sys.exit()
        assert os.wait()[1] == 0
        print(len(collect(3, rate_hz=100, target=target)), probers_of() == own)
        """
        assert run(code, server) == ["5 1 False", "3 True"]


class TestDaemon:
    """What becomes a daemon closes all of its numbers of files (PEP 3143), and opens files of its own."""

    @pytest.mark.parametrize("forks", [False, True])
    def test_it_begins_anew_and_leaves_files_of_others_alone(self, server: Server, tmp_path: Path, forks: bool) -> None:
        code = f"""
        import gc
        from donutwork_magics import probers, sandbox
        collect(3, rate_hz=100, target=target)
        before = set(probers_of())
        if {forks} and os.fork():
            sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
        os.closerange(3, 256)
        files = [open(os.path.join(sys.argv[3], str(number)), "w+b", buffering=0) for number in range(12)]
        for _ in range(2):
            print(len(collect(3, rate_hz=100, target=target)), len(set(probers_of()) - before))
        with sandbox():
            print(len(collect(3, rate_hz=100)))
        probers.end_idle()
        while "donutwork-reader" in [thread.name for thread in threading.enumerate()]:
            time.sleep(0.01)
        gc.collect()
        for file in files:
            assert file.read() == b""
            file.write(b"own")
        """
        assert run(code, server, tmp_path) == ["3 1", "3 1", "3"]
        assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"own"}

    def test_a_sandbox_that_was_on_leaves_them_alone_too(self, server: Server, tmp_path: Path) -> None:
        code = """
        from donutwork_magics import sandbox
        with sandbox():
            os.closerange(3, 256)
            files = [open(os.path.join(sys.argv[3], str(number)), "wb", buffering=0) for number in range(12)]
        for file in files:
            file.write(b"own")
        """
        assert run(code, server, tmp_path) == []
        assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"own"}


class SlowRows(Rows):
    """Rows that are taken in only once they may be."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()

    def extend(self, rows: object) -> None:
        self.may.wait(PATIENCE_S)
        super().extend(rows)  # type: ignore[arg-type]


class TestReader:
    def test_a_parent_that_stands_still_for_a_while_loses_nothing_and_moves_nothing(self, server: Server) -> None:
        code = """
        print("ready", flush=True)
        df = collect(800, rate_hz=200, concurrency=2, target=target)
        [about] = df.attrs["donutwork"]["runs"].values()
        print(len(df), df.seq.is_unique, about["machine_pauses"]["longest_s"] < 1.5, df.lag_ms.max() < 1500)
        """
        with subprocess.Popen(command(code, server), stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
            assert parent.stdout is not None
            parent.stdout.readline()
            until(lambda: server.connections > 0)
            time.sleep(0.5)
            os.kill(parent.pid, signal.SIGSTOP)
            time.sleep(2.0)
            os.kill(parent.pid, signal.SIGCONT)
            assert parent.stdout.read() == "800 True True True\n"

    @pytest.mark.usefixtures("in_process")
    def test_what_it_does_not_read_is_bounded_counted_and_in_the_journal(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[prober_module.Output] = []
        most: list[int] = []

        class Output(prober_module.Output):
            def __init__(self, file: int) -> None:
                super().__init__(file)
                made.append(self)

            def row(self, line: bytes) -> None:
                super().row(line)
                most.append(sum(map(len, self._lines)))

        monkeypatch.setattr(prober_module, "MOST_UNREAD_BYTES", 20_000)
        monkeypatch.setattr("tests.support.in_process.Output", Output)
        file, count = tmp_path / "run.jsonl", 3000
        series = Series(Plan(count=count, rate_hz=None), target_of(server), journal=file)
        recording = Recording([series], recording_of([series]).segments, rows=SlowRows())
        prober = probers.acquire()
        try:
            prober.begin(recording)
            assert isinstance(recording.rows, SlowRows)
            until(lambda: file.exists() and file.read_bytes().count(b'"seq":') == count)
            recording.rows.may.set()
            assert recording.over.wait(PATIENCE_S)
        finally:
            probers.release(prober)
        assert max(most) <= 20_000
        # What fitted into the pipe and into the memory was read, and the latest of all.
        assert recording.unread > 500
        assert recording.done + recording.unread == count
        assert table(recording)["seq"].iloc[-1] == count - 1
        assert recording.attrs["ended"] is None
        assert load(file)["seq"].tolist() == list(range(count))

    def test_an_end_is_told_in_time_by_a_server_that_hangs(self) -> None:
        with Server(answer_then_hang(reply(), 5)) as server:
            with running(endless(server)) as seen:
                until(lambda: seen.done == 5)
            assert (seen.done, len(seen.attrs["in_flight"]), seen.attrs["ended"]) == (5, 1, None)
            assert seen.rows.errors == 0


def test_what_python_says_as_it_starts_neither_ends_a_prober_nor_counts_as_a_row(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a .pth file of an editable install that is gone does, and one that prints. Later than the prober closes pipes.
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nset -e\nsleep 0.3\necho "Error processing line 1" >&2\necho hello\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    df = collect(3, rate_hz=None, target=target_of(server))
    assert df["error"].isna().tolist() == [True] * 3
