"""The journal of a run: each row to disk as its ping completes, so that a killed kernel loses none.

A journal is a file of JSON lines, which any tool can read. A run begins with a line that says what file this is and
describes the run; each row is a line; the description stands there again where it has changed, and the last one
counts. Runs follow one another in one file.

The last member of each line is ``crc``: the CRC-32 of all bytes of the line before ``,"crc":``, in hexadecimal digits.
Each description says how many ``rows`` the run had written by then, so that a deleted row is noticed. logrotate and
others move or truncate a file while its run goes on. The run then goes on in the file that has the name now, with a
beginning of its own: the same ``run``, and the number of ``rows`` that it wrote before.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from donutwork_magics.errors import OutOfThreadsError, SettingsError
from donutwork_magics.interrupts import start_thread, uninterrupted
from donutwork_magics.network.exchange import os_reason
from donutwork_magics.sampling.series import CONTINUED, SCHEMA

BEGINNING: Final = b'{"donutwork_journal":%d,' % SCHEMA
"""The first bytes of each run in a journal."""

SYNC_EVERY_S: Final = 1.0
"""What a power failure may cost; what only this process could lose is written at once."""

_REMOVED: Final = "the file was removed"
_WRITTEN_TO: Final = "another program has written to the file"

_sync: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)

_CHECKSUM: Final = b',"crc":"%08x"}'
_CHECKSUM_BYTES: Final = len(_CHECKSUM % 0)
# JSON puts a backslash before each quote in a text, so that no text of a line contains these bytes.
_ENDED: Final = re.compile(rb',"crc":"[0-9a-f]{8}"}')


class JournalFailedError(Exception):
    """A line could not be written; the message is a few words of the operating system."""


def sealed(line: bytes) -> bytes:
    """Give an encoded object its checksum as the last member."""
    body = line[:-1]
    return body + _CHECKSUM % zlib.crc32(body)


def is_whole(line: bytes) -> bool:
    """Tell whether a line, without its line end, is as it was written."""
    return line[-_CHECKSUM_BYTES:] == _CHECKSUM % zlib.crc32(line[:-_CHECKSUM_BYTES])


def was_ended(line: bytes) -> bool:
    """Tell whether a line was written to its end: one that was, and is not whole, was changed later."""
    return _ENDED.search(line) is not None


@uninterrupted
def journal_path(name: str | os.PathLike[str]) -> Path:
    """Return the path of a journal as it is meant: whole, since a kernel may change its directory, ``~`` for a home.

    Raises
    ------
    SettingsError
        It is no name, or there is no such home.
    """
    # A surrogate is no character: no line of a card or a log could show the name.
    if re.search("[\0\ud800-\udfff]", str(name)):
        raise SettingsError("The file of the journal has no valid name. Choose another name.")
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError:
        problem = "The file of the journal is in a home that is not known. Write its whole path."
    except OSError:
        problem = "The working directory no longer exists. Change to another one (%cd), or write the file's whole path."
    raise SettingsError(problem)


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
        elif path.exists() and not stat.S_ISREG(path.stat().st_mode):
            problem = "is no regular file. Choose another name"
        elif path.exists():
            with path.open("rb+") as file:
                if not _is_journal(file.fileno()):
                    problem = "exists, and is not a journal of this version. Choose another name"
    except (OSError, ValueError) as error:
        problem = f"cannot be used ({reason_of(error)}). Choose another name"
    if problem:
        raise SettingsError(f"The file of the journal {problem}. Nothing was sent, and the file is as it was.")


def _is_journal(file: int) -> bool:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        return False
    os.lseek(file, 0, os.SEEK_SET)
    # A process that died within its first bytes has left less.
    return BEGINNING.startswith(os.read(file, len(BEGINNING)))


class Journal:
    """One open journal of a run; `append` may be called from any thread, one at a time.

    What writes raises a `JournalFailedError`, again and again once it has failed.

    Raises
    ------
    SettingsError
        The file cannot be one, or another run writes to it.
    """

    def __init__(self, path: Path, run: str) -> None:
        check_journal(path)
        self._path = path
        self._run = run
        self._rows = 0
        self.elsewhere = 0
        """How many rows it wrote before the file was moved or truncated."""
        self._attrs: Mapping[str, Any] = {}
        self._begun = False
        self._failure = ""
        self._left: list[int] = []
        """The files that were moved away, and are to be synced and closed."""
        self._looking = threading.Lock()
        self._unsynced = self._moved = False
        self._closed = threading.Event()
        problem, self._file = "", -1
        try:
            self._file = _open(path)
            if not _locked(self._file):
                problem = "is being written by another run. Wait for its end, or choose another name"
        except OSError as error:
            problem = f"cannot be opened ({reason_of(error)}). Choose another name"
        if problem:
            _close(self._file)
            raise SettingsError(f"The file of the journal {problem}. Nothing was sent, and the file is as it was.")
        self._size = os.fstat(self._file).st_size
        """How long the file is, unless somebody else has changed it."""
        self._syncing = threading.Thread(target=self._keep_synced, name="donutwork-journal", daemon=True)
        try:
            start_thread(self._syncing)
        except OutOfThreadsError:
            _close(self._file)
            raise

    def describe(self, attrs: Mapping[str, Any]) -> None:
        """Write down what is known of the run now."""
        self._attrs = attrs
        if self._begun:
            self._write(self._described(attrs))
        else:
            self._begun = True
            self._begin()
        self._raise_failure()

    def append(self, row: bytes) -> None:
        """Write the line of a row; when this returns, it survives the end of this process."""
        if self._moved:
            self._follow()
        self._write(sealed(row) + b"\n")
        self._raise_failure()
        self._rows += 1

    def sync(self) -> None:
        """Put everything on the disk."""
        self._look()
        self._raise_failure()

    def close(self) -> None:
        """Close the file; what was to be known of it, `sync` has told."""
        self._closed.set()
        self._syncing.join()
        for file in (*self._left, self._file):
            _close(file)

    def _raise_failure(self) -> None:
        if self._failure:
            raise JournalFailedError(self._failure)

    def _described(self, attrs: Mapping[str, Any]) -> bytes:
        return _line({"attrs": attrs, "rows": self._rows})

    def _write(self, line: bytes) -> None:
        # After a failure nothing more: it would be added to a torn line.
        if self._failure:
            return
        # One write for a line: a kill comes before it or after it, and a full disk tears this one line at most.
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
            began = os.lseek(self._file, 0, os.SEEK_CUR) - len(line)
        except OSError as error:
            self._failure = reason_of(error)
            if written:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            return
        self._unsynced = True
        if began == self._size:
            self._size += len(line)
        elif began > self._size:
            self._failure = _WRITTEN_TO
        else:
            self._begin_again(began, line)

    def _begin(self, then: bytes = b"") -> None:
        """Write the line with which a run begins, or its part in a further file, and another line after it."""
        self.elsewhere = self._rows
        head: dict[str, Any] = {"donutwork_journal": SCHEMA, "run": self._run, "rows": self._rows}
        end = b""
        try:
            self._size = os.fstat(self._file).st_size
            if self._size < len(BEGINNING):
                # Nothing is lost: a process died within the first bytes of its first line.
                os.ftruncate(self._file, 0)
                self._size = 0
            else:
                os.lseek(self._file, self._size - 1, os.SEEK_SET)
                if os.read(self._file, 1) != b"\n":
                    head["torn"] = True
                    end = b"\n"
        except OSError as error:
            self._failure = reason_of(error)
        self._write(end + _line({**head, "attrs": self._attrs}) + then)

    def _begin_again(self, size: int, line: bytes) -> None:
        """Go on in a file that was truncated to this size before the line was written."""
        try:
            os.ftruncate(self._file, size)
            if not _is_journal(self._file):
                self._failure = _WRITTEN_TO
        except OSError as error:
            self._failure = reason_of(error)
        if not self._failure:
            self._begin(line)

    def _follow(self) -> None:
        """Go on in the file that has the name now."""
        self._moved = False
        file, problem = -1, ""
        try:
            # What was seen may have been the file before this one.
            if self._failure or not _has_moved(self._file, self._path):
                return
            if os.fstat(self._file).st_nlink == 0:
                self._failure = _REMOVED
                return
            file = _open(self._path)
            if not _locked(file):
                problem = "the file was moved, and another run writes to the one in its place"
            elif not _is_journal(file):
                problem = "the file was moved, and another that is no journal is in its place"
        except OSError as error:
            problem = f"the file was moved, and a new one cannot be opened: {reason_of(error)}"
        if problem:
            _close(file)
            self._failure = self._failure or problem
            return
        self._write(self._described({**self._attrs, "ended": CONTINUED}))
        self._left.append(self._file)
        self._file = file
        self._begin()

    def _keep_synced(self) -> None:
        # In a thread of its own: a disk may take its time, and no ping is to wait for it.
        while not self._closed.wait(SYNC_EVERY_S):
            self._look()
            # The thread that writes goes over to the new file, between two rows.
            self._moved = _has_moved(self._file, self._path)

    def _look(self) -> None:
        """Have everything on the disk, in a file that somebody can find."""
        # The thread that keeps it synced and the one that ends the run may come here at the same time.
        with self._looking:
            try:
                while self._left:
                    file = self._left[0]
                    _sync(file)
                    del self._left[0]
                    _close(file)
                if self._unsynced:
                    self._unsynced = False
                    _sync(self._file)
                if os.fstat(self._file).st_nlink == 0:
                    self._failure = _REMOVED
            except OSError as error:
                self._failure = reason_of(error)


def _line(value: Mapping[str, Any]) -> bytes:
    return sealed(msgspec.json.encode(value)) + b"\n"


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)


def _has_moved(file: int, path: Path) -> bool:
    """Tell whether an open file no longer has its name; False where the system cannot tell."""
    if sys.platform == "win32":
        # An open file cannot be moved there.
        return False
    try:
        return not os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return True
    except OSError:
        return False


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
    # A file that was not opened has number -1, of which the system says that it is none.
    with contextlib.suppress(OSError):
        os.close(file)


def reason_of(error: Exception) -> str:
    """Say in a few words why a file cannot be used."""
    return os_reason(error) if isinstance(error, OSError) else "not a valid name"
