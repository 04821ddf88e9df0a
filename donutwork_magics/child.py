"""A child process that runs a module of this package, with pipes: no key goes to it, and it ends with its owner."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final, NoReturn, SupportsIndex

from .client.key import keys_in
from .interrupts import start_thread, uninterrupted

_TERMINATE_S: Final = 1.0
_SLICE_S: Final = 0.05
_ROOT: Final = Path(__file__).resolve().parents[1]
# In one line, as `ps` shows it. The path of this process comes behind the child's own: a module of the user's must not
# take the place of one of the standard library.
_RUN: Final = (
    "import os, runpy, sys; module, path = sys.argv[1:3]; del sys.argv[1:3]; "
    "sys.path += [each for each in path.split(os.pathsep) if each not in sys.path]; "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)
_NEEDED: Final = re.compile(
    # How Python starts, and where it, the libraries and the user's own packages are found; PATH, also for DLLs.
    r"PATH|PYTHON(?!PATH)[A-Z0-9]+|(LD|DYLD)_[A-Z_]+|NIX_LD\w*|HOME|USERPROFILE|APPDATA"
    # How names of files are encoded, and where temporary ones and the clock's zone are.
    r"|LANG|LC_[A-Z_]+|TMPDIR|TEMP|TMP|TZ"
    # How names are resolved and TLS is configured, as in this process; without the last ones Windows opens no socket.
    r"|RES_OPTIONS|LOCALDOMAIN|HOSTALIASES|OPENSSL_[A-Z_]+|SYSTEMROOT|SYSTEMDRIVE|WINDIR"
)


class NotStartedError(Exception):
    """The system did not start the process; the text says why, and what to do, and follows "did not start: "."""


class OwnFile:
    """A file by its number, which no object closes as it is collected, and only as long as the number is this file's.

    What becomes a daemon closes all numbers (PEP 3143), and opens files of its own under the same ones.
    """

    __slots__ = ("_identity", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._identity = _identity(number)

    def is_ours(self) -> bool:
        """Return whether the number is that of this file; ask before each use of it."""
        return self._identity is not None and _identity(self.number) == self._identity

    def close(self) -> None:
        """Close the file; does nothing where the number is another one's."""
        if self.is_ours():
            self._identity = None
            os.close(self.number)


def _identity(number: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    # Windows has none for a pipe: there all pipes are alike.
    return found.st_dev, found.st_ino


class Child:
    """``python -m MODULE``, with its three standard streams as pipes.

    It has a process group of its own, so that an interrupt of the notebook's cell does not reach it. It ends with
    `end`, when this object is collected, and when this process ends. Where this process is killed, the child sees its
    stdin end: ending then is the module's own duty.

    Parameters
    ----------
    module, arguments
        The full name of a module of this package, and what it is given: other users of the machine can read that.
    inherited
        Files that the child has under the same numbers; none on Windows.
    complains
        Whether `stderr` is a pipe; else what the child complains of is dropped.

    Raises
    ------
    NotStartedError
        The system does not start it.
    """

    __slots__ = ("__weakref__", "_end", "_module", "_owner", "_process", "pid", "stdin", "stdout")

    def __init__(self, module: str, *arguments: str, inherited: Sequence[int] = (), complains: bool = True) -> None:
        self._module = module
        # A notebook may have added to where its process finds modules, and PYTHONPATH is not passed on.
        search_path = dict.fromkeys(path for path in (*sys.path, str(_ROOT)) if Path(path).is_absolute())
        command = [sys.executable, "-P", "-c", _RUN, module, os.pathsep.join(search_path), *arguments]
        self._process, self.stdin = _spawn(command, inherited, complains=complains)
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _end, self._process, self.stdin, self._owner)
        self.pid = self._process.pid
        self.stdout = _opened(self._process.stdout)

    @property
    def stderr(self) -> IO[bytes]:
        """What a child that `complains` writes there: read it or close it, as a full pipe would block the child."""
        return _opened(self._process.stderr)

    def alive(self) -> bool:
        """Return whether the process runs."""
        if os.getpid() == self._owner:
            return self._process.poll() is None
        # A fork of the owner cannot wait for the child, which is not its own.
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True

    def first_line(self, deadline_s: float, is_given_up: Callable[[], bool]) -> bytes:
        """Return the first line that the child writes; empty where it ends first, or is killed because it is late.

        It is late after `deadline_s` by `time.monotonic`, or as soon as `is_given_up` says so.
        """
        # The thread must not hold this object: it may outlive a child that nobody holds any more.
        done, process = threading.Event(), self._process

        def kill_in_time() -> None:
            # Killing ends a blocking read on every platform; select() takes no pipes on Windows.
            while not done.wait(max(0.0, min(_SLICE_S, deadline_s - time.monotonic()))):
                if is_given_up() or time.monotonic() >= deadline_s:
                    process.kill()
                    return

        start_thread(threading.Thread(target=kill_in_time, daemon=True))
        try:
            return self.stdout.readline()
        finally:
            done.set()

    def reason(self) -> str:
        """Return the error line of a child that ended by itself, as argparse writes it, without the module's name."""
        try:
            _, stderr = self._process.communicate(timeout=_TERMINATE_S)
        except subprocess.TimeoutExpired:
            return "it ended its output too early; try again"
        _, own, line = stderr.decode(errors="replace").strip().rpartition(f"{self._module}: error: ")
        return line if own else f"its process ended at once, with exit code {self._process.returncode}; try again"

    def end(self) -> None:
        """End the process within some seconds, and close the pipes; does nothing where that is done already.

        A fork of the owner, as multiprocessing makes it, only closes its copy of stdin: the child is not its to end.
        """
        self._end()

    def release(self) -> None:
        """Let the process go on after this one: nothing but `end` ends it any more."""
        self._end.detach()

    def __repr__(self) -> str:
        return f"<Child {self._module} {'running' if self.alive() else 'ended'}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Child is a running process: it is not copied or pickled")


@uninterrupted
def _spawn(command: list[str], inherited: Sequence[int], *, complains: bool) -> tuple[subprocess.Popen[bytes], OwnFile]:
    if sys.platform == "win32":
        flags, new_session = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP, False
    else:
        flags, new_session = 0, True
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if complains else subprocess.DEVNULL,
            cwd=_ROOT,
            env=_environment(),
            pass_fds=inherited,
            # An interrupt of the notebook cell goes to the whole process group: the child is to survive it.
            start_new_session=new_session,
            creationflags=flags,
        )
        with _opened(process.stdin) as pipe:
            stdin = OwnFile(os.dup(pipe.fileno()))
        process.stdin = None
        return process, stdin
    except OSError as error:
        reason = "Python could not be run as a child process; is sys.executable a Python interpreter?"
        if error.errno in {errno.EAGAIN, errno.ENOMEM}:
            reason = "the system lets no further process begin; end some that run, and try again"
        elif error.errno in {errno.EMFILE, errno.ENFILE}:
            reason = "this process has reached its limit of open files; close some, or raise the limit (ulimit -n)"
    raise NotStartedError(reason)


def _environment() -> dict[str, str]:
    """Return what the child needs of the environment.

    What else is there may hold a key, or what becomes one: the user's own set-up takes it from a name of its own.
    """
    keys = keys_in(os.environ)
    return {
        name: value
        for name, value in os.environ.items()
        if _NEEDED.fullmatch(name) and not any(key in value for key in keys)
    }


def _opened(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _end(process: subprocess.Popen[bytes], stdin: OwnFile, owner: int) -> None:
    """Terminate the child, kill it where that does not help, and close the pipes."""
    # A fork of the owner (multiprocessing) also runs this at its end.
    if os.getpid() != owner:
        stdin.close()
        return
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TERMINATE_S)
    finally:
        process.kill()
        process.wait()
        stdin.close()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
