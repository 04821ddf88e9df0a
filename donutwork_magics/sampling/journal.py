"""The journal of a run: each row to disk as its ping completes, so that a killed kernel loses none.

A journal is a file of JSON lines, which any tool can read. A run begins with a line that says what file this is and
describes the run; each row is a line; the description stands there again where it has changed, and the last one
counts. Runs follow one another in one file.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from donutwork_magics.errors import SettingsError
from donutwork_magics.network.faults import os_reason
from donutwork_magics.sampling.describe import SCHEMA

BEGINNING: Final = b'{"donutwork_journal":%d,' % SCHEMA
"""The first bytes of each run in a journal."""

SYNC_EVERY_S: Final = 1.0
"""What a power failure may cost; what only this process could lose is written at once."""


class JournalFailedError(Exception):
    """A line could not be written; the message is a few words of the operating system."""


def journal_path(name: str | os.PathLike[str]) -> Path:
    """Return the path of a journal as it is meant: whole, since a kernel may change its directory, ``~`` for a home.

    Raises
    ------
    SettingsError
        It is no name, or there is no such home.
    """
    if "\0" in str(name):
        raise SettingsError("The file of the journal has no valid name. Choose another name.")
    try:
        return Path(name).expanduser().absolute()
    except (RuntimeError, OSError):
        pass
    raise SettingsError("The file of the journal is in a home that is not known. Write its whole path.")


def check_journal(path: Path) -> None:
    """Look whether a file can be a journal, and leave it as it is.

    Raises
    ------
    SettingsError
        It is a directory or a device, another file than a journal of this schema, or not writable.
    """
    problem = ""
    try:
        if not path.parent.is_dir():
            problem = "is in a directory that does not exist. Make the directory, or choose another name"
        elif path.exists():
            problem = _existing_problem(path)
    except (OSError, ValueError) as error:
        problem = f"cannot be used ({_reason(error)}). Choose another name"
    if problem:
        raise SettingsError(f"The file of the journal {problem}. Nothing was sent, and the file is as it was.")


def _existing_problem(path: Path) -> str:
    if not stat.S_ISREG(path.stat().st_mode):
        return "is no regular file. Choose another name"
    with path.open("rb+") as file:
        head = file.read(len(BEGINNING))
    # A process that died within its first bytes has left less.
    if not BEGINNING.startswith(head):
        return "exists, and is not a journal of this version. Choose another name"
    return ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a run has got to in its journal: a file, and how long it was."""

    device: int
    inode: int
    size: int


class Journal:
    """One open journal; `append` may be called from any thread, one at a time.

    Parameters
    ----------
    path
        The file.
    continues
        Where the run was when its journal was closed; None for a run that begins.

    Raises
    ------
    SettingsError
        The file cannot be one, another run writes to it, or it is not as the run has left it.
    """

    def __init__(self, path: Path, continues: Mark | None = None) -> None:
        check_journal(path)
        problem = ""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            problem = f"cannot be opened ({_reason(error)}). Choose another name"
        else:
            if not _locked(self._file):
                problem = "is being written by another run. Wait for its end, or choose another name"
            elif continues is not None and self.mark() != continues:
                problem = "is not as this run has left it, and cannot be continued. Begin anew, in this file or another"
            if problem:
                _close(self._file)
        if problem:
            raise SettingsError(f"The file of the journal {problem}. Nothing was sent, and the file is as it was.")
        self._begun = continues is not None
        self._failure = ""
        self._unsynced = False
        self._closed = threading.Event()
        self._syncing = threading.Thread(target=self._keep_synced, name="donutwork-journal", daemon=True)
        try:
            self._syncing.start()
        except BaseException:
            # There are too many threads.
            _close(self._file)
            raise
        _open_here.add(self)

    def mark(self) -> Mark:
        """Return where the run has got to; nowhere that could be continued, if that cannot be told."""
        try:
            status = os.fstat(self._file)
        except OSError:
            return Mark(0, 0, 0)
        return Mark(status.st_dev, status.st_ino, status.st_size)

    def describe(self, attrs: Mapping[str, Any]) -> None:
        """Write down what is known of the run now.

        Raises
        ------
        JournalFailedError
            It could not be written.
        """
        line: dict[str, Any] = {"attrs": dict(attrs)}
        if self._begun:
            self._append(msgspec.json.encode(line))
        else:
            self._begun = True
            self._append(self._end_of_torn_line() + msgspec.json.encode({"donutwork_journal": SCHEMA, **line}))

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a row; when this returns, it survives the end of this process.

        Raises
        ------
        JournalFailedError
            It could not be written.
        """
        self._append(msgspec.json.encode(record))

    def sync(self) -> None:
        """Put everything on the disk.

        Raises
        ------
        JournalFailedError
            It is not there.
        """
        self._unsynced = False
        self._look()
        if self._failure:
            raise JournalFailedError(self._failure)

    def close(self) -> None:
        """Close the file; what was to be known of it, `sync` has told."""
        _open_here.discard(self)
        if self._closed.is_set():
            return
        self._closed.set()
        try:
            self._syncing.join()
        finally:
            _close(self._file)

    def leave_to_parent(self) -> None:
        """Let go of the file in a child that was forked: a lock lasts until the last of those who have it is gone."""
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = -1

    def _append(self, line: bytes) -> None:
        # After a failure nothing more: it would be added to a torn line.
        if not self._failure:
            # One write for a line: a kill comes before it or after it, and a full disk tears this one line at most.
            data, written = line + b"\n", 0
            try:
                while written < len(data):
                    written += os.write(self._file, data[written:])
            except OSError as error:
                self._failure = _reason(error)
                self._take_back(written)
            self._unsynced = True
        if self._failure:
            raise JournalFailedError(self._failure)

    def _take_back(self, written: int) -> None:
        if written:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)

    def _end_of_torn_line(self) -> bytes:
        with contextlib.suppress(OSError):
            size = os.fstat(self._file).st_size
            if size < len(BEGINNING):
                # Nothing is lost: a process died within the first bytes of its first line.
                os.ftruncate(self._file, 0)
            else:
                os.lseek(self._file, size - 1, os.SEEK_SET)
                return b"" if os.read(self._file, 1) == b"\n" else b"\n"
        return b""

    def _keep_synced(self) -> None:
        # In a thread of its own: a disk may take its time, and no ping is to wait for it.
        while not self._closed.wait(SYNC_EVERY_S):
            if self._unsynced:
                self._unsynced = False
                self._look()

    def _look(self) -> None:
        """Have everything on the disk, in a file that somebody can find."""
        try:
            _sync(self._file)
            if os.fstat(self._file).st_nlink == 0:
                self._failure = "the file was removed"
        except OSError as error:
            self._failure = _reason(error)


_open_here: Final[weakref.WeakSet[Journal]] = weakref.WeakSet()
"""The journals of this process that are open."""


def _leave_all_to_parent() -> None:
    for journal in list(_open_here):
        journal.leave_to_parent()
    _open_here.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_to_parent)


@contextmanager
def open_journals(paths: Iterable[Path | None]) -> Iterator[dict[Path, Journal]]:
    """Open each of some files once, and close them all in the end.

    Raises
    ------
    SettingsError
        One of them cannot be a journal.
    """
    with contextlib.ExitStack() as stack:
        journals: dict[Path, Journal] = {}
        for path in paths:
            if path is not None and path not in journals:
                journals[path] = Journal(path)
                stack.callback(journals[path].close)
        yield journals


def _sync(file: int) -> None:
    getattr(os, "fdatasync", os.fsync)(file)


def _locked(file: int) -> bool:
    """Take the file for this run; where the system has no such locks, nobody is kept out."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Some network file systems have none.
        return True
    return True


def _close(file: int) -> None:
    if file < 0:
        return
    if sys.platform != "win32":
        import fcntl

        # A child that was forked meanwhile has the file too, and would go on to lock it.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
    with contextlib.suppress(OSError):
        os.close(file)


def _reason(error: Exception) -> str:
    return os_reason(error) if isinstance(error, OSError) else "not a valid name"
