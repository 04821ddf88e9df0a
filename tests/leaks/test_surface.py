"""What the package touches: no socket on loading, no file unless asked, no port but the sandbox's own on 127.0.0.1."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import socket
import sys
import tomllib
from pathlib import Path

import pytest

from donutwork_magics import collect
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.grammar import options
from donutwork_magics.sandbox.process import Sandbox
from tests.servers import Server, answer, reply
from tests.support.kernel import Kernel
from tests.support.notebooks import ROOT
from tests.support.processes import probers_of

pytestmark = pytest.mark.slow

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

KEY = "dw_live_Kx81mZq0vTnR57yE"
LISTENING = "0A"
LOOPBACK = "0100007F"

WATCH = """
import sys, threading
seen = []
def hook(event, arguments, main=threading.main_thread()):
    if event.startswith(("socket.", "urllib.", "http.")) and threading.current_thread() is main:
        seen.append(event)
sys.addaudithook(hook)
"""


@pytest.mark.kernel
def test_loading_opens_no_socket(tmp_path: Path) -> None:
    with Kernel(tmp_path, {"DONUTWORK_API_KEY": KEY}) as kernel:
        assert kernel.run(WATCH).ok
        assert kernel.run("%load_ext donutwork_magics").ok
        assert kernel.run("%donutwork\n%donutwork help\n%donutwork help ping\n%reload_ext donutwork_magics").ok
        assert kernel.value("seen") == "[]"
        # The hook does see what a command opens.
        with Server(answer(reply())) as server:
            kernel.run(f"import os; os.environ['DONUTWORK_BASE_URL'] = {server.url!r}")
            assert kernel.run("%donutwork ping").ok
        assert "'socket.connect'" in kernel.value("seen")


def files(*roots: Path) -> dict[Path, tuple[int, int]]:
    """Return size and time of change of every file, but of those that IPython keeps of itself."""
    found = [path for root in roots for path in root.rglob("*") if path.is_file()]
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in found
        if not path.name.startswith("history.sqlite")
    }


@pytest.mark.kernel
def test_no_command_writes_a_file_unless_asked(tmp_path: Path) -> None:
    directories = {name: tmp_path / name for name in ("home", "temporary", "work", "cache")}
    for directory in directories.values():
        directory.mkdir()
    environ = {
        "HOME": str(directories["home"]),
        "USERPROFILE": str(directories["home"]),
        "XDG_CACHE_HOME": str(directories["cache"]),
        "TMPDIR": str(directories["temporary"]),
        "DONUTWORK_API_KEY": KEY,
        "SSLKEYLOGFILE": str(directories["work"] / "secrets"),
    }
    with Server(answer(reply())) as server, Kernel(tmp_path, environ | {"DONUTWORK_BASE_URL": server.url}) as kernel:
        assert kernel.run("import os, pandas\nfrom ipywidgets import HTML\nos.chdir('work')").ok
        before = files(tmp_path)
        lines = ["%load_ext donutwork_magics", "%donutwork", "df = %donutwork ping -n 3 -r 100", "df", "df.donutwork"]
        lines += [f"%donutwork {name}" for name in options.SPECS]
        lines += ["%donutwork ping --widget", "%%donutwork\na: ping -n 2 -r 100\nb: ping -n 2 -r 100 --cold"]
        lines += ["%donutwork ping --key x", "%donutwork sandbox start", "%donutwork ping", "%donutwork sandbox stop"]
        lines += ["from donutwork_magics import Client, collect\nClient().ping()\ncollect(2, rate_hz=100)"]
        for line in lines:
            kernel.run(line)
        assert kernel.value("_donutwork is not None") == "True"
        assert files(tmp_path) == before
        # The snapshot does see what is written.
        assert kernel.run("df.to_csv('asked.csv')").ok
        assert files(tmp_path).keys() - before.keys() == {directories["work"] / "asked.csv"}


def listening(pid: int) -> set[str]:
    """Return the local addresses, in the kernel's own hexadecimal, on which a process listens."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # The listing's own descriptor is gone by now.
        with contextlib.suppress(FileNotFoundError):
            inodes.add(str(link.readlink()).removeprefix("socket:[").rstrip("]"))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[9] in inodes and (columns[3] == LISTENING or table.startswith("udp")):
                found.add(columns[1].partition(":")[0])
    return found


@linux_only
def test_the_sandbox_listens_on_this_machine_only() -> None:
    sandbox = Sandbox.start()
    try:
        assert listening(sandbox.pid) == {LOOPBACK}
        assert sandbox.url.startswith("http://127.0.0.1:")
    finally:
        sandbox.stop()
    # Another address would be seen.
    before = listening(os.getpid())
    with Server(answer(reply()), family=socket.AF_INET6):
        (address,) = listening(os.getpid()) - before
    assert address != LOOPBACK


@linux_only
def test_a_prober_listens_nowhere() -> None:
    with Server(answer(reply())) as server:
        # Its warm-up has talked to a socket of its own, before the first row.
        collect(1, target=sandbox_target(server.url, KEY, None))
        pids = probers_of()
        assert [listening(pid) for pid in pids] == [set()] * len(pids)
        assert pids


def test_the_keys_of_the_sandbox_are_new_at_each_start() -> None:
    keys: list[str] = []
    for _ in range(2):
        sandbox = Sandbox.start()
        keys += [sandbox.key_for(name) for name in ("production", "staging", "ping_only", "connection_only")]
        sandbox.stop()
    assert len(set(keys)) == 8
    assert min(map(len, keys)) >= 32


def imported() -> set[str]:
    """Return the packages that ours imports anywhere, without Python's own."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "donutwork_magics").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0].lower() for name in names} - {
        *map(str.lower, sys.stdlib_module_names),
        "donutwork_magics",
    }


def test_the_base_dependencies_are_those_that_are_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [dependency for group in project["optional-dependencies"].values() for dependency in group]
    assert imported() == {re.split(r"[\[>=<;]", each)[0].strip() for each in (*project["dependencies"], *extras)}
