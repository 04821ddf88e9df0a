"""The parent's side of the sandbox: starts the child process, holds its keys, and ends it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import site
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, NoReturn, SupportsIndex

from ..client.arguments import whole
from ..client.key import KeysIn
from ..errors import Interrupted, SettingsError
from ..grammar.injection import LARGEST_PORT, LARGEST_SEED, LONGEST_RETRY_AFTER_S, delay_s, fault_shares
from ..interrupts import interrupts
from ..threads import start_thread

_MODULE: Final = "donutwork_magics.sandbox"
_TERMINATE_S: Final = 1.0
_SLICE_S: Final = 0.05
_ROOT: Final = Path(__file__).resolve().parents[2]
_STAGING: Final = "staging"


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How the sandbox shall behave.

    Parameters
    ----------
    latency, server_time
        A delay outside and inside RRT: ``20ms``, or ``20ms/60ms`` for median and 95th percentile; None for none.
    faults
        ``KIND:SHARE`` each.
    retry_after_s
        What ``rate_limited`` asks for.
    seed
        None for a random one.
    port
        0 for a free one.

    Raises
    ------
    ValueError
        If a value cannot be read; one line that does not repeat it.
    """

    latency: str | None = None
    server_time: str | None = None
    faults: tuple[str, ...] = ()
    retry_after_s: int = 1
    seed: int | None = None
    port: int = 0

    def __post_init__(self) -> None:
        problem = ""
        for name, delay in (("latency", self.latency), ("server_time", self.server_time)):
            try:
                if delay is not None:
                    delay_s(delay if isinstance(delay, str) else "")
            except ValueError as error:
                problem = f"{name} {error}"
        try:
            fault_shares(fault if isinstance(fault, str) else "" for fault in self.faults)
        except ValueError as error:
            problem = f"a fault {error}"
        if problem:
            raise ValueError(problem)
        whole("retry_after_s", self.retry_after_s, 1, LONGEST_RETRY_AFTER_S)
        whole("seed", 0 if self.seed is None else self.seed, 0, LARGEST_SEED)
        whole("port", self.port, 0, LARGEST_PORT)


DEFAULT_OPTIONS: Final = SandboxOptions()


class Sandbox:
    """A running sandbox; it ends with `stop`, when this object is collected, and when this process ends in any way.

    Attributes
    ----------
    url : str
        Its base URL.
    options : SandboxOptions
        As it was started.
    seed : int
        The one in use, also where the options left it open.
    pid : int
        Of the child process.
    """

    __slots__ = ("__weakref__", "_end", "_key", "_owner", "_process", "options", "pid", "seed", "url")

    def __init__(self, options: SandboxOptions, process: subprocess.Popen[bytes], ready: _Ready) -> None:
        self.options = options
        self.url = ready.url
        self.seed = ready.seed
        self.pid = ready.pid
        self._key = ready.key
        self._process = process
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _end, process, self._owner)

    @classmethod
    def start(cls, options: SandboxOptions = DEFAULT_OPTIONS, *, timeout_s: float = 10.0) -> Sandbox:
        """Start a sandbox and wait until it listens.

        Raises
        ------
        SettingsError
            If it cannot start, or does not listen within `timeout_s`.
        Interrupted
            There was an interrupt first.
        """
        deadline_s = time.monotonic() + timeout_s
        # An exception right after the fork would leave a child that nobody ends.
        with interrupts() as came:
            process = _spawn(options)
            try:
                ready = _await_ready(process, deadline_s, came.is_set)
                if came.is_set():
                    raise Interrupted("the sandbox was not started.")
                if ready is not None:
                    return cls(options, process, ready)
                in_time = time.monotonic() < deadline_s
                reason = _reason(process) if in_time else f"it did not listen within {timeout_s:g} s; try again"
            except BaseException:
                _end(process, os.getpid())
                raise
            _end(process, os.getpid())
        raise SettingsError(f"The sandbox did not start: {reason}")

    def key_for(self, env: str | None = None) -> str:
        """Return the key of an environment; the staging key where none is asked for.

        Parameters
        ----------
        env
            ``staging`` or ``production``; also ``ping_only`` and ``connection_only``, the staging keys that lack the
            permission for the other endpoint.

        Raises
        ------
        SettingsError
            If there is no such key.
        """
        key = self._key(_STAGING if env is None else env)
        if key is None:
            raise SettingsError("The sandbox has no key for this environment; choose staging or production")
        return key

    def alive(self) -> bool:
        """Return whether the child process runs."""
        if os.getpid() == self._owner:
            return self._process.poll() is None
        # A fork of the owner cannot wait for it: it is no child of the fork.
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End the child process; does nothing where it has ended already."""
        self._end()

    def __repr__(self) -> str:
        return f"<Sandbox {self.url} {'running' if self.alive() else 'ended'}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Sandbox is a running process that holds keys: it is not copied or pickled")


@dataclass(frozen=True, slots=True)
class _Ready:
    """What the child says once it listens; the keys are in the closure `key`, which no display looks into."""

    url: str
    seed: int
    pid: int
    key: Callable[[str], str | None] = field(repr=False)


def _spawn(options: SandboxOptions) -> subprocess.Popen[bytes]:
    if sys.platform == "win32":
        flags, new_session = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP, False
    else:
        flags, new_session = 0, True
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", _MODULE, "--parent-pipe", *_arguments(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=_ROOT,
            env=_environment(),
            # An interrupt of the notebook cell goes to the whole process group: the sandbox is to survive it.
            start_new_session=new_session,
            creationflags=flags,
        )
    except OSError as error:
        reason = "Python could not be run as a child process; is sys.executable a Python interpreter?"
        if error.errno in {errno.EAGAIN, errno.ENOMEM}:
            reason = "the system lets no further process begin; end some that run, and try again"
    raise SettingsError(f"The sandbox did not start: {reason}")


def _arguments(options: SandboxOptions) -> list[str]:
    arguments = [f"--port={options.port}", f"--retry-after={options.retry_after_s}s"]
    if options.latency is not None:
        arguments.append(f"--latency={options.latency}")
    if options.server_time is not None:
        arguments.append(f"--server-time={options.server_time}")
    if options.seed is not None:
        arguments.append(f"--seed={options.seed}")
    return arguments + [f"--fault={fault}" for fault in options.faults]


def _environment() -> dict[str, str]:
    """Return a copy of the environment without real keys, in which the child finds this very package."""
    keys = tuple(KeysIn(os.environ))
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("DONUTWORK_")
        and name != "PYTHONPATH"
        # A key may also stand where the user's own set-up took it from.
        and not any(key in value for key in keys)
    }
    # PYTHONPATH goes before the standard library: only where the package would not be found without.
    site_packages = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    if _ROOT not in {Path(folder).resolve() for folder in site_packages}:
        environment["PYTHONPATH"] = str(_ROOT)
    return environment


def _await_ready(process: subprocess.Popen[bytes], deadline_s: float, is_given_up: Callable[[], bool]) -> _Ready | None:
    """Return what the child says, or None where it ended, or was killed by the deadline, before it listened."""
    done = threading.Event()

    def kill_in_time() -> None:
        # Killing ends a blocking read on every platform; select() takes no pipes on Windows.
        while not done.wait(max(0.0, min(_SLICE_S, deadline_s - time.monotonic()))):
            if is_given_up() or time.monotonic() >= deadline_s:
                process.kill()
                return

    start_thread(threading.Thread(target=kill_in_time, daemon=True))
    try:
        ready = _read_ready(_opened(process.stdout))
    finally:
        done.set()
    if ready is not None:
        # From here on the child has nobody to talk to, so it cannot block on a full pipe.
        _opened(process.stdout).close()
        _opened(process.stderr).close()
    return ready


def _read_ready(stream: IO[bytes]) -> _Ready | None:
    try:
        said = json.loads(stream.readline())
    except ValueError:
        return None
    return _Ready(said["url"], said["seed"], said["pid"], dict(said["keys"]).get)


def _reason(process: subprocess.Popen[bytes]) -> str:
    """Return the error line of a child that ended by itself."""
    try:
        _, stderr = process.communicate(timeout=_TERMINATE_S)
    except subprocess.TimeoutExpired:
        return "it ended its output before it listened; try again"
    _, own, line = stderr.decode(errors="replace").strip().rpartition(f"{_MODULE}: error: ")
    return line if own else f"its process ended at once, with exit code {process.returncode}; try again"


def _opened(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Terminate the child, kill it where that does not help, and close the pipes."""
    # A fork of the owner (multiprocessing) also runs this at its end: the sandbox is not its to stop.
    if os.getpid() != owner:
        return
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TERMINATE_S)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
