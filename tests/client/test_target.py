"""Which API a script calls: the sandbox that is on in its process, and never the real one by accident."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import assert_type

import pytest

from donutwork_magics import Client, Interrupted, SeriesError, SettingsError, check, collect, sandbox
from donutwork_magics.client import target
from donutwork_magics.client.target import SWITCH, current_target
from donutwork_magics.grammar.commands import SandboxOptions
from donutwork_magics.sandbox import process as switch
from donutwork_magics.sandbox.process import Sandbox
from tests.sandbox.conftest import address, listens
from tests.servers import Server, answer, reply
from tests.support.processes import until
from tests.support.tables import about

pytestmark = pytest.mark.slow

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and forks")

KEY = "dw_test_Kx81mZq0vTnR57yE"


@pytest.fixture(autouse=True)
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """What the environment variables name: the real API, as far as a test can have it."""
    with Server(answer(reply())) as server:
        monkeypatch.setenv("DONUTWORK_BASE_URL", server.url)
        monkeypatch.setenv("DONUTWORK_API_KEY", KEY)
        _before[:] = []
        _before[:] = children()
        yield server
    switch.stop()


_before: list[int] = []
"""The children that were there before a test: those of other tests live as long as their session."""


def children() -> list[int]:
    """List the children of this process that a test has started, apart from the one that lists them."""
    listed = subprocess.run(["ps", "-A", "-o", "ppid=,pid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    own = [int(pid) for parent, pid, args in rows if int(parent) == os.getpid() and not args.startswith("ps ")]
    return [pid for pid in own if pid not in _before]


def interrupt_main_thread() -> None:
    """Interrupt as Ctrl-C does, so that none is still on its way when this has returned."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def called() -> str:
    """Make a call that names no target, and return the address that it went to."""
    with Client() as client:
        assert client.ping().sandbox == (SWITCH.sandbox is not None)
        return str(client.target.base_url)


class TestBlock:
    def test_every_call_goes_to_the_sandbox_until_the_block_ends(self, api: Server) -> None:
        with sandbox(latency="1ms", server_time="1ms", seed=7) as box:
            assert_type(box, Sandbox)
            assert_type(box.url, str)
            assert called() == box.url
            assert about(collect(2, rate_hz=None))["sandbox"] == {"latency": "1ms", "server_time": "1ms", "seed": 7}
            assert check().sandbox
            assert api.connections == 0
            assert (box.seed, box.options.latency) == (7, "1ms")
        assert not box.alive()
        assert called() == api.url
        assert api.connections == 1

    def test_it_has_the_key_of_the_environment_that_is_asked_for(self) -> None:
        with sandbox(), Client(env="production") as client:
            assert client.ping().env == "production"

    def test_blocks_can_be_nested_and_left_by_an_exception(self, api: Server) -> None:
        with sandbox() as outer:
            with contextlib.suppress(RuntimeError), sandbox() as inner:
                assert called() == inner.url
                raise RuntimeError
            assert not inner.alive()
            assert called() == outer.url
        assert called() == api.url

    def test_a_target_that_is_named_is_called(self, api: Server) -> None:
        named = current_target()
        with sandbox():
            assert check(target=named).host == named.host
            with Client(named) as client:
                assert client.ping().sandbox is False
        assert api.connections == 2

    def test_a_table_describes_the_sandbox_that_was_called(self) -> None:
        with sandbox(latency="1ms", seed=1) as outer:
            named = current_target()
            with sandbox(latency="2ms", seed=2) as inner:
                assert about(collect(2, rate_hz=None, target=named))["sandbox"] == {"latency": "1ms", "seed": 1}
                inner.stop()
                assert about(collect(2, rate_hz=None, target=named))["sandbox"] == {"latency": "1ms", "seed": 1}
            outer.stop()
        with sandbox(seed=3), pytest.raises(SeriesError) as caught:
            collect(9, rate_hz=None, target=named)
        # Nobody knows any more what that one was like.
        assert about(caught.value.df)["sandbox"] is True

    def test_a_client_that_was_made_before_or_within_calls_nothing_else(self, api: Server) -> None:
        with Client() as before:
            assert before.ping().sandbox is False
            with sandbox():
                with Client() as within, pytest.raises(SettingsError, match=r"^A sandbox was switched on or off since"):
                    before.ping()
                assert api.connections == 1
            with pytest.raises(SettingsError, match=r"Make a new one\.$"):
                within.ping()
            assert before.ping().sandbox is False

    def test_one_that_nobody_keeps_stays_on(self, api: Server) -> None:
        box = sandbox().__enter__()
        gc.collect()
        assert called() == box.url
        assert api.connections == 0
        # Nobody can leave the block any more.
        SWITCH.leave(box)
        box.stop()

    def test_it_is_no_decorator_and_says_whether_it_is_on(self) -> None:
        block = sandbox()
        assert not callable(block)
        assert "off" in repr(block)
        with block:
            assert repr(block) == "<sandbox on>"

    def test_it_speaks_no_http2_and_says_so_before_any_request(self) -> None:
        with sandbox():
            for call in (lambda: Client(http="2"), lambda: collect(1, http="2"), lambda: check(http="2")):
                with pytest.raises(SettingsError, match=r"^The sandbox speaks HTTP/1\.1 only"):
                    call()

    def test_blocks_of_threads_that_end_in_any_order_leave_the_others_on(self, api: Server) -> None:
        with ExitStack() as first, ExitStack() as second:
            first.enter_context(sandbox())
            box = second.enter_context(sandbox())
            first.close()
            assert called() == box.url
        assert called() == api.url

    def test_what_was_started_is_on_again_after_it(self) -> None:
        switch.start(SandboxOptions())
        started = SWITCH.sandbox
        assert started is not None
        with sandbox() as box:
            assert called() == box.url
        assert called() == started.url

    def test_one_that_dies_in_its_block_is_not_replaced_by_the_api(self, api: Server) -> None:
        with sandbox() as box:
            box.stop()
            for call in (Client, check, lambda: collect(1)):
                with pytest.raises(SettingsError, match="ended unexpectedly, and nothing goes to the real API instead"):
                    call()
        assert api.connections == 0
        assert called() == api.url

    def test_one_that_cannot_start_leaves_everything_as_it_was(self, api: Server) -> None:
        with sandbox() as box:
            with (
                pytest.raises(SettingsError, match="is in use"),
                sandbox(port=address(box)[1]),
            ):
                raise AssertionError
            assert called() == box.url

    @pytest.mark.parametrize(
        "options",
        [
            {"latency": 20},
            {"server_time": b"1ms"},
            {"faults": [1]},
            {"faults": "dw_test_key"},
            {"faults": None},
            {"stalls": 5},
            {"seed": 1.5},
            {"seed": True},
            {"port": "80"},
            {"retry_after_s": None},
        ],
        ids=str,
    )
    def test_bad_options_are_a_value_error_in_one_line(self, options: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=r"^[a-z_ ]+ needs [^\n]*$") as caught:
            sandbox(**options)  # type: ignore[arg-type]
        assert "dw_test" not in str(caught.value)

    def test_one_fault_needs_no_list(self) -> None:
        with sandbox(faults="schema:1"):
            assert list(collect(1).error) == ["schema"]


class TestName:
    @pytest.mark.parametrize(
        "imports",
        [
            "from donutwork_magics import sandbox",
            "import donutwork_magics.sandbox.process; from donutwork_magics import sandbox",
            "from donutwork_magics import sandbox; import donutwork_magics.sandbox.process",
            "from donutwork_magics import *",
            "import donutwork_magics.sandbox; sandbox = donutwork_magics.sandbox",
            "import donutwork_magics; sandbox = donutwork_magics.sandbox",
        ],
    )
    def test_package_and_function_are_one_in_any_order_of_imports(self, imports: str) -> None:
        code = f"{imports}\nimport donutwork_magics, inspect\nassert donutwork_magics.sandbox is sandbox\n"
        code += "print(list(inspect.signature(sandbox).parameters)[:2])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("['latency', 'server_time']\n", "")


class TestStart:
    def test_the_new_one_runs_before_the_old_one_ends(self) -> None:
        switch.start(SandboxOptions())
        first = SWITCH.sandbox
        assert first is not None
        switch.start(SandboxOptions(seed=2))
        second = SWITCH.sandbox
        assert second is not None
        assert (first.alive(), second.alive(), second.seed) == (False, True, 2)

    def test_one_that_fails_leaves_the_old_one_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        switch.start(SandboxOptions())
        first = SWITCH.sandbox
        assert first is not None
        monkeypatch.setattr(sys, "executable", os.devnull)
        with pytest.raises(SettingsError, match="did not start"):
            switch.start(SandboxOptions())
        assert called() == first.url

    def test_on_its_own_port_it_is_replaced(self) -> None:
        switch.start(SandboxOptions())
        first = SWITCH.sandbox
        assert first is not None
        switch.start(SandboxOptions(port=address(first)[1], seed=5))
        assert called() == first.url
        assert SWITCH.sandbox is not first

    def test_where_that_fails_calls_are_refused(self, monkeypatch: pytest.MonkeyPatch, api: Server) -> None:
        switch.start(SandboxOptions())
        first = SWITCH.sandbox
        assert first is not None
        monkeypatch.setattr(sys, "executable", os.devnull)
        with pytest.raises(SettingsError, match="did not start"):
            switch.start(SandboxOptions(port=address(first)[1]))
        with pytest.raises(SettingsError, match="sandbox has ended"):
            Client()
        assert api.connections == 0
        switch.stop()
        assert called() == api.url

    @posix_only
    def test_an_interrupt_at_any_moment_leaves_one_sandbox_on_and_no_other_running(self, api: Server) -> None:
        began_s = time.monotonic()
        switch.start(SandboxOptions())
        takes_s = time.monotonic() - began_s
        for step in range(12):
            before = SWITCH.sandbox
            assert before is not None
            done = threading.Event()

            def interrupt(done: threading.Event = done, after_s: float = takes_s * step / 8) -> None:
                if not done.wait(after_s):
                    interrupt_main_thread()

            thread = threading.Thread(target=interrupt)
            text = ""
            try:
                thread.start()
                switch.start(SandboxOptions())
            except KeyboardInterrupt as interrupted:
                text = str(interrupted)
            try:
                done.set()
                thread.join()
            except KeyboardInterrupt:
                # It came when all was done.
                thread.join()
            after = SWITCH.sandbox
            assert after is not None
            if "was not started" in text:
                assert after is before
            elif "all the same" in text:
                assert after is not before
            assert called() == after.url
            assert children() == [after.pid]
        assert api.connections == 0

    @posix_only
    def test_an_interrupt_of_a_block_leaves_no_sandbox_running(self, api: Server) -> None:
        for after_s in (0.0, 0.02, 0.04, 0.08):
            timer = threading.Timer(after_s, interrupt_main_thread)
            began_s = time.monotonic()
            with contextlib.suppress(KeyboardInterrupt):
                timer.start()
                with sandbox():
                    time.sleep(10)
            assert time.monotonic() - began_s < 10
            timer.join()
            assert children() == []
            assert called() == api.url

    @posix_only
    def test_an_interrupt_ends_the_waiting_for_one_that_does_not_listen(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        python, is_waited_for = tmp_path / "python", tmp_path / "begun"
        python.write_text(f"#!/bin/sh\ntouch '{is_waited_for}'\nexec sleep 60\n")
        python.chmod(0o700)

        def interrupt() -> None:
            until(is_waited_for.exists)
            interrupt_main_thread()

        thread = threading.Thread(target=interrupt)
        with monkeypatch.context() as changed:
            changed.setattr(sys, "executable", str(python))
            began_s = time.monotonic()
            thread.start()
            with pytest.raises(Interrupted, match=r"^the sandbox was not started\.$"):
                switch.start(SandboxOptions())
        thread.join()
        assert time.monotonic() - began_s < 8
        assert (SWITCH.sandbox, children()) == (None, [])


@posix_only
def test_a_fork_of_a_client_has_a_connection_of_its_own() -> None:
    code = """
import os
from donutwork_magics import Client, sandbox
with sandbox(latency="5ms"):
    client = Client()
    client.ping()
    child = os.fork()
    # A reply to the other's call would not be what is documented for this one.
    calls = [(client.ping if child else client.connection)().timing["reused"] for _ in range(40)]
    if not child:
        os._exit(calls[0] + 2 * (not all(calls[1:])))
    print(os.waitpid(child, 0)[1], all(calls))
"""
    python = [sys.executable, "-W", "ignore::DeprecationWarning"]
    done = subprocess.run([*python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("0 True\n", "")


@posix_only
def test_a_fork_calls_the_sandbox_of_its_parent_and_does_not_end_it() -> None:
    code = """
import os, sys
from donutwork_magics import Client, sandbox
with sandbox() as box:
    if os.fork() == 0:
        assert Client().ping().sandbox and box.alive()
        sys.exit()
    print(os.wait()[1], box.alive(), Client().ping().sandbox, flush=True)
    if os.fork() == 0:
        box.stop()
        with sandbox() as own:
            assert own.url != box.url and str(Client().target.base_url) == own.url
        sys.exit()
    print(os.wait()[1], box.alive(), Client().ping().sandbox)
"""
    # Python 3.12 warns of a fork beside other threads.
    python = [sys.executable, "-W", "ignore::DeprecationWarning"]
    done = subprocess.run([*python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("0 True True\n0 True True\n", "")


def test_a_reader_in_another_thread_never_sees_the_api_while_one_is_on(api: Server) -> None:
    switch.start(SandboxOptions())
    ended = threading.Event()
    seen: set[bool] = set()

    def read() -> None:
        while not ended.is_set():
            seen.add(SWITCH.sandbox is None)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(2):
        switch.start(SandboxOptions())
        with sandbox():
            pass
    ended.set()
    reader.join()
    assert seen == {False}
    last = SWITCH.sandbox
    assert last is not None
    switch.stop()
    assert not listens(address(last))


def test_it_stays_on_where_the_module_is_loaded_again() -> None:
    with sandbox() as box:
        importlib.reload(target)
        assert called() == box.url
