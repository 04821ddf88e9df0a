"""The processes that ping for this one: started when they are needed, one kept idle, their lines read into rows."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from donutwork_magics.child import Child, NotStartedError, OwnFile
from donutwork_magics.client.settings import Target
from donutwork_magics.client.target import SWITCH
from donutwork_magics.errors import SettingsError
from donutwork_magics.interrupts import start_thread
from donutwork_magics.network.exchange import os_reason
from donutwork_magics.sampling.outages import Outage, Outages, pinged, places_of
from donutwork_magics.sampling.plan import Segment
from donutwork_magics.sampling.rows import Rows, decode
from donutwork_magics.sampling.schedule import SharedMemory
from donutwork_magics.sampling.series import (
    INTERRUPTED,
    Began,
    Begin,
    Command,
    Described,
    Ended,
    Event,
    Refused,
    Series,
    Stop,
    beginning,
    encode_command,
)

_MODULE: Final = "donutwork_magics.sampling"
_CHUNK_BYTES: Final = 2**18
_SEND_S: Final = 2.0
_STOP_S: Final = 2.0
_SEND_AGAIN_S: Final = 0.01
_EVENT: Final = b'{"type":'
_POLL_MS: Final = 1000
_MOST_SILENT_POLLS: Final = 5
"""A prober writes a line each second at least. One that does not is stopped, or hangs."""
_MOST_POLLS_AT_START: Final = 30
"""A machine under load takes its time to start Python."""
LOST: Final = "prober_lost"
"""How a run has ended whose prober did before it."""
_WHY_LOST: Final = (
    "The prober, the process that pings, has ended unexpectedly. What it completed in its last moment may be in its "
    "journal only. Run the cell again: it starts another one."
)
_WHY_SILENT: Final = (
    "The prober, the process that pings, did not answer for some seconds, and was ended. Run the cell again: it starts "
    "another one."
)


class Recording:
    """What is known here of a run that a prober carries out; for any thread.

    Parameters
    ----------
    rows
        Where its rows go.
    offset_ms
        When it begins, since the first run of these rows did.
    seed
        What the order of its segments was drawn from.
    outage
        What went on as the run before it ended, which asked the same service.
    """

    def __init__(
        self,
        lines: Sequence[Series],
        segments: Sequence[Segment],
        *,
        rows: Rows,
        offset_ms: float = 0.0,
        seed: int | None = None,
        outage: Outage | None = None,
    ) -> None:
        self.run = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"[:-3] + f"Z-{secrets.token_hex(3)}"
        """Its id, which sorts by time and is unique."""
        self.lines = tuple(lines)
        self.segments = tuple(segments)
        self.rows = rows
        self._attrs = beginning(lines, sandbox=_sandbox_settings(lines[0].target), seed=seed)
        self.result = Ended()
        """How it has ended; meaningful once `over` is set."""
        self.refused = ""
        """Why it did not begin; empty where it did."""
        self.elsewhere = self.unread = 0
        self.waiting_s = 0.0
        """As in `Described`."""
        self.round = 0
        """How many rounds of its blocks are complete."""
        self.begun = threading.Event()
        """Set when the journals are open, or it was refused."""
        self.over = threading.Event()
        """Set when nothing more comes."""
        self.outage_before = outage
        """As it was given."""
        self._outages = Outages(outage)
        self._places = places_of(self._attrs["plan"])
        self._first_row = rows.total
        self._began_s = time.monotonic()
        rows.begin(self.run, offset_ms)

    @property
    def attrs(self) -> dict[str, Any]:
        """What is known of it, as in ``df.attrs``."""
        # An outage is not described ping by ping: while it goes on, the rows tell.
        return self._attrs if self.over.is_set() else {**self._attrs, "outages": self._outages.as_attrs()}

    @property
    def done(self) -> int:
        """How many rows it has completed."""
        return self.rows.total - self._first_row

    @property
    def elapsed_s(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._began_s

    @property
    def outage(self) -> Outage | None:
        """The outage that goes on now."""
        return self._outages.current

    def add(self, rows: list[Any]) -> None:
        """Take in completed rows."""
        self.rows.extend(rows)
        if rows:
            self.round = rows[-1].block
        for row in rows:
            self._outages.add(pinged(row, self._places[row.label]))

    def take(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, Began):
            self._began_s = time.monotonic()
            self.begun.set()
        elif isinstance(event, Described):
            told = {"unread": event.unread, "journal_elsewhere": event.elsewhere}
            self._attrs = {**event.attrs, **{name: rows for name, rows in told.items() if rows}}
            self.elsewhere, self.unread, self.waiting_s = event.elsewhere, event.unread, event.waiting_s
        else:
            if isinstance(event, Refused):
                self.refused = event.why
            else:
                self.result = event
            self.begun.set()
            self.over.set()

    def lose(self, ended: str | None, why: str = _WHY_LOST) -> None:
        """Take note that its prober is gone, how the run was to end, if it was, and what is said if not."""
        if self.over.is_set():
            return
        self._outages.finish()
        name = ended or LOST
        self._attrs = {**self.attrs, "rows": self.done, "ended": name}
        self.take(Ended(name, why="" if ended else why, reached=True))


def _sandbox_settings(target: Target) -> dict[str, Any] | None:
    sandbox = SWITCH.at(str(target.base_url)) if target.sandbox else None
    if sandbox is None:
        return None
    behaviour = {name.replace(" ", "_"): text for name, text in sandbox.options.behaviour().items()}
    return {**behaviour, "seed": sandbox.seed}


class Prober:
    """One prober: it carries out one run at a time.

    Raises
    ------
    SettingsError
        The system starts no further process, or no further thread.
    """

    def __init__(self) -> None:
        problem = ""
        try:
            handle, inherited = _memory()
            # What Python itself may have to say in stderr has no reader: a full pipe would stop the process, and one
            # that is closed would end it, as where a .pth file of the environment is broken.
            self._child = Child(_MODULE, handle, inherited=inherited, complains=False)
        except NotStartedError as error:
            problem = str(error)
        except OSError as error:
            problem = f"{os_reason(error)}; close what is not needed, and try again"
        if problem:
            raise SettingsError(f"The prober, the process that pings, did not start: {problem}")
        # A number of our own: that of the pipe may be another file's once the pipe is closed, while we still read.
        self._output = OwnFile(os.dup(self._child.stdout.fileno()))
        # Before anybody reads: the reader closes the pipes of one that ends at once.
        self._child.stdout.close()
        if sys.platform != "win32":
            os.set_blocking(self._child.stdin.number, False)
        self.pid, self._owner = self._child.pid, os.getpid()
        self.recording: Recording | None = None
        """The run that it carries out, or did last."""
        self._stopped: str | None = None
        self._sending = threading.Lock()
        self.is_kept = True
        """Whether it is kept for another run when it is given back."""
        self.lost = False
        """Whether it has ended."""
        self._heard = self._silent = False
        try:
            start_thread(threading.Thread(target=self._read, name="donutwork-reader", daemon=True))
        except BaseException:
            self._output.close()
            self._child.end()
            raise

    @property
    def is_usable(self) -> bool:
        """Whether it can carry out a run for this process."""
        is_free = self.recording is None or self.recording.over.is_set()
        is_lost = self.lost or os.getpid() != self._owner or not self._child.stdin.is_ours()
        return is_free and not is_lost and self._child.alive()

    def begin(self, recording: Recording, *, reached: bool = False) -> None:
        """Have it carry out a run; returns at once."""
        self.recording, self._stopped = recording, None
        before = recording.outage_before
        self._send(Begin(recording.run, recording.lines, recording.segments, recording.attrs, reached, before))
        if self.lost:
            # It may have ended before its reader could know of this run.
            recording.lose(None)

    def stop(self, ended: str | None = None) -> None:
        """Have it end the run soon; returns at once."""
        self._stopped = self._stopped or ended
        self._send(Stop(ended))

    def finish(self, ended: str | None, patience_s: float) -> None:
        """Have it end the run, and wait for that; where it does not do so in time, end the process."""
        self.stop(ended)
        recording = self.recording
        if recording is not None and not recording.over.wait(patience_s):
            self.end()
            recording.over.wait()

    def end(self) -> None:
        """End the process; the run that it carries out is lost."""
        self._child.end()

    def _send(self, command: Command) -> None:
        view = memoryview(encode_command(command))
        deadline_s = time.monotonic() + _SEND_S
        stdin = self._child.stdin
        with self._sending, contextlib.suppress(OSError):
            # What it does not read any more, it does not answer: `_read` sees its end.
            while view and stdin.is_ours():
                try:
                    view = view[os.write(stdin.number, view) :]
                except BlockingIOError:
                    if time.monotonic() > deadline_s:
                        # It stands still, and interrupts are held back here.
                        self.end()
                        return
                    time.sleep(_SEND_AGAIN_S)

    def _read(self) -> None:
        # A line that cannot be read ends it too: what follows could not be trusted.
        with contextlib.suppress(Exception):
            self._read_lines()
        self.lost = True
        self._output.close()
        self._child.end()
        recording = self.recording
        if recording is not None:
            recording.lose(self._stopped, _WHY_SILENT if self._silent else _WHY_LOST)

    def _read_lines(self) -> None:
        decode_event = msgspec.json.Decoder(Event).decode
        rest = b""
        output = self._output
        while self._speaks() and output.is_ours() and (data := os.read(output.number, _CHUNK_BYTES)):
            self._heard = True
            *lines, rest = (rest + data).split(b"\n")
            recording = self.recording
            if recording is None:
                continue
            rows: list[Any] = []
            for line in filter(None, lines):
                if not line.startswith(_EVENT):
                    try:
                        rows.append(decode(line))
                    except (msgspec.MsgspecError, ValueError):
                        # Before all lines of ours comes what a .pth file or a sitecustomize prints as Python starts.
                        if recording.begun.is_set():
                            raise
                    continue
                recording.add(rows)
                rows = []
                recording.take(decode_event(line))
            recording.add(rows)

    def _speaks(self) -> bool:
        """Wait for something to read; False where nothing comes for so long that the process must stand still.

        Polls are counted, not seconds: where this process was stopped too, or the machine suspended, no poll ends
        meanwhile.
        """
        if sys.platform == "win32":
            # Nothing there waits for a pipe and the time: one that stands still is waited for until an interrupt.
            return True
        poll = select.poll()
        poll.register(self._output.number, select.POLLIN)
        polls = _MOST_SILENT_POLLS if self._heard else _MOST_POLLS_AT_START
        self._silent = not any(poll.poll(_POLL_MS) for _ in range(polls))
        return not self._silent


_lock = threading.Lock()
_idle: list[Prober] = []
_busy: Final[weakref.WeakSet[Prober]] = weakref.WeakSet()
_shared: list[SharedMemory] = []
_shared_file: list[OwnFile] = []


def _memory() -> tuple[str, Sequence[int]]:
    """Return the handle of the memory that all probers share, and which files they inherit for it."""
    with _lock:
        if sys.platform == "win32":
            if not _shared:
                _shared.append(SharedMemory())
            return _shared[0].handle, ()
        import fcntl

        if not (_shared_file and _shared_file[0].is_ours()):
            # Not the object: as it is collected, it closes the numbers that it once had.
            memory = SharedMemory()
            _shared_file[:] = [OwnFile(fcntl.fcntl(memory.file, fcntl.F_DUPFD_CLOEXEC, 3))]
        number = _shared_file[0].number
        return str(number), (number,)


def acquire() -> Prober:
    """Take the idle prober, or start one; errors as for `Prober`."""
    with _lock:
        prober = _idle.pop() if _idle else None
    if prober is None or not prober.is_usable:
        prober = Prober()
    with _lock:
        _busy.add(prober)
    return prober


def release(prober: Prober) -> None:
    """Give a prober back: it is kept for the next run, unless another one is, or its run has not come to an end."""
    keep = prober.is_usable
    # It is not to keep the rows of the run that it has carried out.
    prober.recording = None
    with _lock:
        _busy.discard(prober)
        keep = keep and prober.is_kept and not _idle
        if keep:
            _idle.append(prober)
    if not keep:
        prober.end()


def end_idle() -> None:
    """End the prober that is kept, and keep none of those that are at work now."""
    with _lock:
        probers = list(_idle)
        _idle.clear()
        for prober in _busy:
            prober.is_kept = False
    for prober in probers:
        prober.end()


def runs() -> list[tuple[Prober, Recording]]:
    """Return what goes on in this process, series and watches, and the probers that carry it out."""
    with _lock:
        busy = [(prober, prober.recording) for prober in _busy if prober._owner == os.getpid()]
    return [(prober, run) for prober, run in busy if run is not None and not run.over.is_set()]


def end_all() -> None:
    """End every run, as an interrupt does, and every prober with it."""
    end_idle()
    probers = [prober for prober, _run in runs()]
    for prober in probers:
        # All are asked first, so that they end at the same time.
        prober.stop(INTERRUPTED)
    for prober in probers:
        prober.finish(INTERRUPTED, _STOP_S)
