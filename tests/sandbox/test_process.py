"""The child process: what it says, what it hides, and that it ends with its parent."""

from __future__ import annotations

import copy
import errno
import gc
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from donutwork_magics import Client
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.errors import SettingsError
from donutwork_magics.grammar.commands import SandboxOptions
from donutwork_magics.sandbox.__main__ import exports, main
from donutwork_magics.sandbox.api import GRANTS
from donutwork_magics.sandbox.process import Sandbox

from .conftest import Start, address, ask, listens

pytestmark = pytest.mark.slow

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
linux_only = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")

MODULE = "donutwork_magics.sandbox"


def until(condition: Callable[[], bool]) -> bool:
    """Wait, far longer than it should take, until a condition holds."""
    deadline_s = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.01)
    return True


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", MODULE, *arguments], capture_output=True, text=True, timeout=30, check=False, **options
    )


class TestCommandLine:
    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
    @posix_only
    def test_it_says_one_json_line_and_ends_without_a_word_at_a_signal(self, name: str) -> None:
        with subprocess.Popen(
            [sys.executable, "-m", MODULE, "--seed", "5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            said = json.loads(process.stdout.readline())
            host, port = said["url"].removeprefix("http://").split(":")
            with closing(socket.create_connection((host, int(port)))):
                process.send_signal(getattr(signal, name))
                rest, errors = process.communicate(timeout=10)

        assert list(said) == ["url", "keys", "seed", "pid"]
        assert set(said["keys"]) == set(GRANTS)
        assert (said["seed"], said["pid"]) == (5, process.pid)
        assert (rest, errors, process.returncode) == (b"", b"", 0)

    def test_help_explains_every_option_and_kind_of_fault(self) -> None:
        shown = run("--help").stdout

        for word in (
            "--latency",
            "--fault",
            "--stall",
            "--seed",
            "--for",
            "--print-env",
            "connection_lost",
            "slow: 1s more",
        ):
            assert word in shown

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--latency", "sk_live_abc"],
            ["--server-time=sk_live_abc"],
            ["--fault", "sk_live_abc"],
            ["--port", "sk_live_abc"],
            ["--seed", "-1"],
            ["--retry-after", "sk_live_abc"],
            ["--stall", "sk_live_abc"],
            ["--for", "sk_live_abc"],
            ["--for"],
            ["stop"],
            ["start", "start"],
            ["--child=sk_live_abc"],
            ["--key", "sk_live_abc"],
            ["sk_live_abc"],
            ["--lat", "20ms"],
            ["--port"],
        ],
        ids=" ".join,
    )
    def test_a_bad_argument_is_one_line_without_the_word_and_exit_code_2(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments) == 2
        said = capsys.readouterr()

        assert said.out == ""
        assert said.err.startswith(f"python -m {MODULE}: error: ")
        assert said.err.count("\n") == 1
        assert "sk_live" not in said.err

    def test_a_port_in_use_is_one_line_and_exit_code_1(self, sandbox: Sandbox) -> None:
        ended = run("--port", str(address(sandbox)[1]))

        assert (ended.returncode, ended.stdout) == (1, "")
        assert "is in use; choose another" in ended.stderr
        assert ended.stderr.count("\n") == 1

    def test_it_ends_after_the_time_it_was_given(self) -> None:
        ended = run("--for", "300ms")

        assert (ended.returncode, ended.stderr) == (0, "")
        assert json.loads(ended.stdout)["url"]


EVAL = f"""
set -e
eval "$({sys.executable} -m {MODULE} --print-env --for 60s $1)"
env | grep ^DONUTWORK_
"""


@posix_only
class TestPrintEnv:
    def shell(self, options: str = "") -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
        real = {f"DONUTWORK_{env}API_KEY": "sk_live_abc" for env in ("", "STAGING_", "PRODUCTION_")}
        ended = subprocess.run(
            ["sh", "-c", EVAL, "sh", options],
            env=os.environ | real,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return ended, dict(line.split("=", 1) for line in ended.stdout.splitlines())

    def test_a_shell_that_evaluates_it_goes_on_at_once_with_the_address_and_keys_of_a_sandbox(self) -> None:
        ended, variables = self.shell("--server-time=20ms")
        url, pid = variables["DONUTWORK_BASE_URL"], int(variables["DONUTWORK_SANDBOX_PID"])
        host, port = url.removeprefix("http://").split(":")
        answered = []
        try:
            for prefix in ("DONUTWORK_", "DONUTWORK_STAGING_", "DONUTWORK_PRODUCTION_"):
                assert variables[f"{prefix}BASE_URL"] == url
                with Client(sandbox_target(url, variables[f"{prefix}API_KEY"], None)) as client:
                    answered.append(client.ping())
        finally:
            os.kill(pid, signal.SIGTERM)

        assert ended.stderr == ""
        assert "sk_live_abc" not in variables.values()
        assert [ping.env for ping in answered] == ["staging", "staging", "production"]
        assert all(ping.rrt_ms is not None and ping.rrt_ms > 19 for ping in answered)
        assert until(lambda: not listens((host, int(port))))

    @pytest.mark.parametrize(
        ("options", "says"), [("--port=sk_live_abc", "current API key"), ("--port={port}", "is in use; choose another")]
    )
    def test_where_it_does_not_start_the_shell_stops(self, sandbox: Sandbox, options: str, says: str) -> None:
        """Else what follows would go to the real API, with the real key."""
        ended, variables = self.shell(options.format(port=address(sandbox)[1]))

        assert (ended.returncode, variables) == (1, {})
        assert ended.stderr.count("\n") == 1
        assert says in ended.stderr
        assert "sk_live" not in ended.stderr

    def test_it_ends_after_its_time(self) -> None:
        ended = run("--print-env", "--for", "300ms")
        url = ended.stdout.partition("DONUTWORK_BASE_URL=")[2].partition("\n")[0]
        host, port = url.removeprefix("http://").split(":")

        assert until(lambda: not listens((host, int(port))))


class TestExports:
    def test_powershell_has_its_own_form(self) -> None:
        said = exports("http://127.0.0.1:1", {"staging": "s", "production": "p"}.get, 7, powershell=True)

        assert said.splitlines()[:3] == [
            '$env:DONUTWORK_SANDBOX_PID = "7"',
            '$env:DONUTWORK_BASE_URL = "http://127.0.0.1:1"',
            '$env:DONUTWORK_API_KEY = "s"',
        ]

    @pytest.mark.parametrize(
        ("platform", "shell", "line"),
        [
            ("linux", "", "false\n"),
            ("win32", "", 'throw "The sandbox did not start."\n'),
            ("win32", "/usr/bin/bash", "false\n"),
        ],
    )
    def test_it_is_powershell_on_windows_outside_of_another_shell(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], platform: str, shell: str, line: str
    ) -> None:
        monkeypatch.delenv("SHELL", raising=False)
        if shell:
            monkeypatch.setenv("SHELL", shell)
        monkeypatch.setattr(sys, "platform", platform)

        assert main(["--print-env", "--port=x"]) == 2
        assert capsys.readouterr().out == line


class TestSandbox:
    def test_each_environment_has_its_key_and_none_is_staging(self, sandbox: Sandbox) -> None:
        assert ask(sandbox, key="production").json["env"] == "production"
        assert ask(sandbox, key="staging").json["env"] == "staging"
        assert sandbox.key_for(None) == sandbox.key_for() == sandbox.key_for("staging")

    def test_an_unknown_environment_has_no_key_and_is_not_repeated(self, sandbox: Sandbox) -> None:
        with pytest.raises(SettingsError, match="choose staging or production") as caught:
            sandbox.key_for("sk_live_abc")

        assert "sk_live" not in str(caught.value)

    def test_stop_ends_it_and_can_be_repeated(self, start: Start) -> None:
        sandbox = start()
        assert sandbox.alive()
        assert listens(address(sandbox))

        sandbox.stop()
        sandbox.stop()

        assert not sandbox.alive()
        assert not listens(address(sandbox))
        assert "ended" in repr(sandbox)

    @posix_only
    def test_stop_ends_one_that_does_not_listen_to_signals(self, start: Start) -> None:
        sandbox = start()
        os.kill(sandbox.pid, signal.SIGSTOP)

        sandbox.stop()

        assert not sandbox.alive()
        with pytest.raises(ProcessLookupError):
            os.kill(sandbox.pid, 0)

    @posix_only
    def test_one_that_died_is_not_alive_and_can_be_stopped(self, start: Start) -> None:
        sandbox = start()
        os.kill(sandbox.pid, signal.SIGKILL)

        assert until(lambda: not sandbox.alive())
        sandbox.stop()

    def test_one_that_nobody_holds_ends(self) -> None:
        where = address(Sandbox.start())
        gc.collect()

        assert not listens(where)

    def test_it_starts_on_the_port_asked_for(self, start: Start) -> None:
        first = start()
        where = address(first)
        first.stop()

        assert address(start(port=where[1])) == where

    def test_a_port_in_use_is_a_settings_error_in_one_line(self, sandbox: Sandbox) -> None:
        with pytest.raises(SettingsError, match=r"^The sandbox did not start: port [0-9]+ is in use; choose") as caught:
            Sandbox.start(SandboxOptions(port=address(sandbox)[1]))

        assert "\n" not in str(caught.value)

    def test_one_that_does_not_listen_in_time_is_a_settings_error_and_is_gone(self) -> None:
        with pytest.raises(SettingsError, match=r"^The sandbox did not start: it did not listen within 0.001 s; try"):
            Sandbox.start(timeout_s=0.001)

    @pytest.mark.parametrize("executable", ["", os.devnull])
    def test_a_python_that_cannot_be_run_is_a_settings_error(
        self, monkeypatch: pytest.MonkeyPatch, executable: str
    ) -> None:
        monkeypatch.setattr(sys, "executable", executable)
        with pytest.raises(SettingsError, match=r"is sys\.executable a Python interpreter"):
            Sandbox.start()

    def test_every_option_reaches_the_child(self, start: Start) -> None:
        options = SandboxOptions(
            latency="1ms/2ms",
            server_time="10ms",
            faults=("schema:1",),
            stalls=("200ms@1ms", "1ms@1h"),
            retry_after_s=3,
            seed=9,
        )
        sandbox = start(**asdict(options))
        answer = ask(sandbox)

        assert answer.json["status"] == "error"
        assert answer.rrt_ms >= 9.9
        assert sandbox.seed == 9

    def test_it_starts_where_the_folder_shadows_the_standard_library(
        self, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("random.py", "json.py", "asyncio.py", "donutwork_magics.py"):
            (tmp_path / name).write_text("raise SystemExit(7)\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

        assert ask(start()).status == 200

    @posix_only
    def test_it_starts_where_something_else_prints_first(
        self, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a ``.pth`` file of the environment may, in each Python."""
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\necho hello\necho 5\necho "{{}}"\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))

        assert ask(start()).status == 200

    @pytest.mark.parametrize("prefix", ["donutwork_magics", "donutwork_magics.client.target"])
    def test_it_stays_on_where_the_package_is_imported_anew(self, prefix: str) -> None:
        code = (
            "import sys; from donutwork_magics.sandbox import SandboxModule, process\n"
            "process.start(process.SandboxOptions())\n"
            f"for name in [name for name in sys.modules if name.startswith({prefix!r})]: del sys.modules[name]\n"
            "from donutwork_magics import Client; print(Client().ping().env)\n"
            "from donutwork_magics.client.target import SWITCH; box = SWITCH.sandbox\n"
            "from donutwork_magics.sandbox import process; process.stop(); print(box.alive(), SWITCH.sandbox)"
        )
        elsewhere = {"DONUTWORK_API_KEY": "sk_live_abc", "DONUTWORK_BASE_URL": "http://127.0.0.1:9"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | elsewhere
        )

        assert (done.stdout, done.stderr) == ("staging\nFalse None\n", "")

    def test_a_system_that_lets_no_further_process_begin_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_args: object, **_options: object) -> None:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

        monkeypatch.setattr(subprocess, "Popen", refuse)

        with pytest.raises(SettingsError, match=r"^The sandbox did not start: the system lets no further process"):
            Sandbox.start()

    def test_the_parents_side_imports_no_server(self) -> None:
        code = "import sys, donutwork_magics.sandbox.process; print([m for m in sys.modules if 'asyncio' in m])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert done.stdout == "[]\n"


class TestKeys:
    def test_no_display_of_a_sandbox_shows_a_key(self, sandbox: Sandbox) -> None:
        shown = [repr(sandbox), str(sandbox), repr(sandbox.options)]
        shown += [repr(getattr(sandbox, name)) for name in Sandbox.__slots__ if name != "__weakref__"]

        assert not hasattr(sandbox, "__dict__")
        for name in GRANTS:
            assert not any(sandbox.key_for(name) in text for text in shown)

    @pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_a_sandbox_is_not_copied(self, sandbox: Sandbox, duplicate: Callable[[Sandbox], object]) -> None:
        with pytest.raises(TypeError, match="not copied or pickled"):
            duplicate(sandbox)

    @linux_only
    def test_neither_a_real_key_nor_its_own_is_in_its_environment_or_arguments(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DONUTWORK_API_KEY", "sk_live_abc")
        monkeypatch.setenv("DONUTWORK_STAGING_API_KEY", "sk_test_abc")
        # As where a secret store has its own name for it, and the notebook copies it.
        monkeypatch.setenv("MY_SECRET", "Bearer sk_live_abc")
        sandbox = start(faults=("schema:0.5",))
        public = Path(f"/proc/{sandbox.pid}/environ").read_bytes() + Path(f"/proc/{sandbox.pid}/cmdline").read_bytes()

        assert b'"faults": ["schema:0.5"]' in public
        assert b"DONUTWORK" not in public
        for key in ("sk_live_abc", "sk_test_abc", *map(sandbox.key_for, GRANTS)):
            assert key.encode() not in public


PARENT = """
import os, sys, time
from donutwork_magics.sandbox.process import Sandbox
sandbox = Sandbox.start()
sibling = os.fork() if "fork" in sys.argv else None
if sibling == 0:
    time.sleep(60)
    os._exit(0)
print(sandbox.url, sibling, flush=True)
if "exit" in sys.argv:
    sys.exit()
if "fail" in sys.argv:
    raise RuntimeError
time.sleep(60)
"""


class TestParent:
    def start_parent(self, *how: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PARENT, *how], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def read(self, parent: subprocess.Popen[str]) -> tuple[tuple[str, int], str]:
        assert parent.stdout is not None
        url, sibling = parent.stdout.readline().split()
        host, port = url.removeprefix("http://").split(":")
        return (host, int(port)), sibling

    @pytest.mark.parametrize("how", ["exit", "fail"])
    def test_it_ends_when_its_parent_does(self, how: str) -> None:
        with self.start_parent(how) as parent:
            where, _ = self.read(parent)
            parent.wait(timeout=10)

        assert not listens(where)

    def test_it_ends_when_its_parent_is_killed(self) -> None:
        with self.start_parent() as parent:
            where, _ = self.read(parent)
            assert listens(where)
            parent.kill()

        assert until(lambda: not listens(where))

    @posix_only
    def test_it_ends_when_its_parent_is_killed_and_a_forked_sibling_holds_the_pipe(self) -> None:
        with self.start_parent("fork") as parent:
            where, sibling = self.read(parent)
            try:
                parent.kill()
                parent.wait(timeout=10)

                assert until(lambda: not listens(where))
                os.kill(int(sibling), 0)
            finally:
                os.kill(int(sibling), signal.SIGKILL)

    @posix_only
    def test_a_fork_of_its_parent_that_ends_does_not_end_it(self, start: Start) -> None:
        code = (
            "import os, sys; from donutwork_magics.sandbox.process import Sandbox; s = Sandbox.start()\n"
            "if os.fork() == 0: sys.exit()\n"
            "os.wait(); print(s.alive()); s.stop(); print(s.alive())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

        assert done.stdout == "True\nFalse\n"

    @posix_only
    def test_an_interrupt_of_the_parents_process_group_does_not_reach_it(self, start: Start) -> None:
        sandbox = start()

        assert os.getpgid(sandbox.pid) != os.getpgid(0)
