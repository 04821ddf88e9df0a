"""The prober: a process that carries out one run after the other; ``python -m donutwork_magics.sampling``.

It reads commands from stdin and writes rows and events to stdout, a line of JSON each. A kernel's threads share its
interpreter lock with the user's cells; nothing that a kernel does can make a ping of this process late. It ends with
its stdin: with its parent, however that ends.
"""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from donutwork_magics.client.client import Client
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.errors import SettingsError
from donutwork_magics.interrupts import start_thread
from donutwork_magics.network.sockets import park
from donutwork_magics.sampling.journal import Journal
from donutwork_magics.sampling.schedule import SharedMemory
from donutwork_magics.sampling.series import (
    Began,
    Begin,
    Command,
    Described,
    Ended,
    Event,
    Refused,
    Stop,
    command_decoder,
)
from donutwork_magics.sampling.workers import Run, unexpected

EVERY_S: Final = 0.05
"""Rows that follow one another are written together, so late at most."""
MOST_UNREAD_BYTES: Final = 64 * 2**20
"""Rows that the parent does not read wait here: some 100,000. The oldest are given up, and counted."""
BEAT_S: Final = 1.0
"""An empty line is written where nothing else was for so long: the parent tells from it that this process goes on."""
_PARENT_EVERY_S: Final = 1.0
_decode: Final = command_decoder().decode
_DESCRIBED: Final = b'{"type":"described"'

_BODY: Final = b'{"status": "success", "env": "staging", "RRT": "0.08 ms"}'
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
_WARMING_PINGS: Final = 3


class Output:
    """Writes lines to the parent from a thread of its own, so that no ping waits for a pipe that is full."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._events: deque[bytes] = deque()
        self._change = threading.Condition()
        self._idle = True
        self.unread = 0
        """Rows of the current run that were given up."""
        self.failed = False
        start_thread(threading.Thread(target=self._write_all, name="donutwork-output", daemon=True))

    def row(self, line: bytes) -> None:
        """Write the line of a row, soon."""
        with self._change:
            self._lines.append(line)
            self._bytes += len(line)
            while self._bytes > MOST_UNREAD_BYTES:
                self._bytes -= len(self._lines.popleft())
                self.unread += 1
            if self._idle:
                self._change.notify()

    def event(self, event: Event) -> None:
        """Write an event after all rows so far; a description takes the place of one that was not written yet."""
        line = msgspec.json.encode(event)
        with self._change:
            if isinstance(event, Described) and self._events and self._events[-1].startswith(_DESCRIBED):
                self._events.pop()
            self._events.append(line)
            self._change.notify()

    def _write_all(self) -> None:
        while True:
            with self._change:
                self._idle = True
                if not (self._lines or self._events):
                    self._change.wait(BEAT_S)
                self._idle = False
                lines, self._bytes = [*self._lines, *self._events], 0
                only_rows = bool(self._lines) and not self._events
                self._lines.clear()
                self._events.clear()
            written_s = time.monotonic()
            if not self.failed and not _write(self._file, b"\n".join(lines) + b"\n"):
                self.failed = True
            if only_rows:
                time.sleep(max(0.0, written_s + EVERY_S - time.monotonic()))


def _write(file: int, data: bytes) -> bool:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(file, view) :]
    except OSError:
        return False
    return True


class Prober:
    """Carries out what the lines of a file ask for, until it ends."""

    def __init__(self, output: Output, memory: SharedMemory) -> None:
        self._output = output
        self._memory = memory
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._busy: threading.Thread | None = None
        self._stop: Stop | None = None
        self._left = False

    def serve(self, lines: Iterable[bytes]) -> None:
        """Carry out each command; returns when there are no more, with everything on the disk."""
        waiting = iter(lines)
        # A function of its own each time: what it had in its variables, the key above all, is gone before it waits.
        while self._serve_next(waiting):
            pass
        self.leave()

    def _serve_next(self, lines: Iterator[bytes]) -> bool:
        """Wait for a command, and carry it out; False where there are no more."""
        command = _next_command(lines)
        if command is None:
            return False
        if isinstance(command, Begin):
            self._begin(command)
        elif isinstance(command, Refused):
            self._output.event(command)
        else:
            with self._lock:
                self._stop = command
                if self._run is not None:
                    self._run.stop(command.ended)
        return True

    def leave(self) -> None:
        """Abandon the run that is carried out, with its rows on the disk: nobody reads them any more."""
        with self._lock:
            self._left = True
            if self._run is not None:
                self._run.abandon()
        if self._busy is not None:
            self._busy.join()

    def _begin(self, command: Begin) -> None:
        with self._lock:
            self._stop = None
        self._busy = threading.Thread(target=self._carry_out, args=(command,), name="donutwork-run", daemon=True)
        try:
            start_thread(self._busy)
        except SettingsError as error:
            self._busy = None
            self._output.event(Refused(str(error)))

    def _carry_out(self, command: Begin) -> None:
        event: Event
        try:
            with contextlib.ExitStack() as stack:
                journals: dict[Path, Journal] = {}
                for series in command.lines:
                    if series.journal is not None and series.journal not in journals:
                        journals[series.journal] = journal = Journal(series.journal, command.run)
                        stack.callback(journal.close)
                event = self._carry_out_lines(command, journals)
        except SettingsError as error:
            event = Refused(str(error))
        except Exception as error:
            event = Ended("unexpected_error", unexpected(type(error).__name__))
        self._output.event(event)

    def _carry_out_lines(self, command: Begin, journals: Mapping[Path, Journal]) -> Ended:
        output = self._output
        output.unread = 0

        def described(attrs: dict[str, Any]) -> None:
            output.event(Described(attrs, run.elsewhere, output.unread, run.waiting_s))

        run = Run(command, journals=journals, out=output.row, described=described, memory=self._memory)
        with self._lock:
            self._run, stop, left = run, self._stop, self._left
        # Either may have come while the journals were opened and the clients made.
        if left:
            run.abandon()
        elif stop is not None:
            run.stop(stop.ended)
        output.event(Began())
        run.carry_out()
        with self._lock:
            self._run = None
        return msgspec.structs.replace(run.ending or Ended(), reached=run.reached)


def _next_command(lines: Iterator[bytes]) -> Command | Refused | None:
    """Read the next command; None where there is none. Its line, with the plain key in it, is not kept."""
    line = next(lines, None)
    if line is None:
        return None
    try:
        return _decode(line)
    except (msgspec.MsgspecError, ValueError) as error:
        return Refused(f"The prober cannot read its plan ({type(error).__name__}). Restart the kernel.")


def warm_up() -> None:
    """Ping a socket of our own: first calls and their caches would cost the first row a millisecond."""
    park()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=_answer, args=(listener,), daemon=True)
        start_thread(answering)
        port = listener.getsockname()[1]
        with Client(sandbox_target(f"http://127.0.0.1:{port}", secrets.token_hex(), None), timeout_s=1.0) as client:
            for _ in range(_WARMING_PINGS):
                client.sample()
        answering.join()


def _answer(listener: socket.socket) -> None:
    listener.settimeout(1.0)
    try:
        connection, _address = listener.accept()
        with connection:
            connection.settimeout(1.0)
            for _ in range(_WARMING_PINGS):
                connection.recv(4096)
                connection.sendall(_HEAD + _BODY)
    except OSError:
        # A machine that lets nobody listen just starts cold.
        return


def _leave_with_parent(prober: Prober, parent: int) -> None:
    """End with a parent that was killed, also where a process that it has forked keeps our stdin open."""
    while os.getppid() == parent:
        time.sleep(_PARENT_EVERY_S)
    prober.leave()
    os._exit(0)


def main() -> None:
    """Serve stdin, until it ends."""
    for name in ("SIGINT", "SIGPIPE"):
        # An interrupt is the parent's, which tells us to stop.
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    parent = os.getppid()
    # What anybody prints must not come between the lines.
    pipe = os.dup(sys.stdout.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    prober = Prober(Output(pipe), SharedMemory(sys.argv[1]))
    watching = threading.Thread(target=_leave_with_parent, args=(prober, parent), name="donutwork-parent", daemon=True)
    start_thread(watching)
    warm_up()
    # What was imported is never garbage: to go through it again and again would cost pings a millisecond.
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, ValueError):
        prober.serve(sys.stdin.buffer)
    prober.leave()
    os._exit(0)


if __name__ == "__main__":
    main()
