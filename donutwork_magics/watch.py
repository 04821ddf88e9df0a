"""The background monitor: pings that go on while the kernel is free for other things, until they are stopped."""

from __future__ import annotations

import contextvars
import os
import threading
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from donutwork_magics import probers
from donutwork_magics.client.target import SWITCH
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import SettingsError
from donutwork_magics.interrupts import interrupts, start_thread, uninterrupted
from donutwork_magics.probers import Prober, Recording
from donutwork_magics.sampling.outages import Outage
from donutwork_magics.sampling.plan import one_after_the_other
from donutwork_magics.sampling.rows import Rows
from donutwork_magics.sampling.series import JOURNAL_FAILED, Series
from donutwork_magics.sampling.workers import unexpected
from donutwork_magics.types import Http

if TYPE_CHECKING:
    import pandas as pd

State = Literal["running", "paused", "stopped"]

_DRAW_EVERY_S: Final = 0.5
_SLICE_S: Final = 0.1
_BEGIN_S: Final = 10.0
_STOP_S: Final = 10.0
"""A disk may take its time for what is left to be written."""


class Panel(Protocol):
    """Where a watch is seen; all methods are called from its thread, or from a cell that ends it."""

    def draw(self) -> None:
        """Show the watch as it is now."""

    def freeze(self, *, in_cell: bool) -> None:
        """Show what is left when it has stopped, in a cell that waited for that or not; perhaps more than once."""


# One that runs is kept alive by its thread; one that has stopped belongs to whoever may start it again.
_made: Final[weakref.WeakSet[Watch]] = weakref.WeakSet()


def not_stopped() -> list[Watch]:
    """Return the watches of this process that ping or rest, wherever they were started."""
    return [watch for watch in list(_made) if watch.state != "stopped"]


class Watch(Displayed):
    """Pings in the background.

    It keeps the target that it began with, key and all: what changes in the environment, or becomes of the sandbox,
    does not send it elsewhere. It stops by itself, and says why, where to continue is pointless: the key is refused, or
    the address was never reached. An outage is not: while it lasts, the watch tries once a second.

    Each time that it is started or changed is a run of its own, in the column ``run``, in ``df.attrs`` and in its
    journal.

    Parameters
    ----------
    series
        What to do; its plan is endless.
    keep
        How many rows are kept in memory, the latest.
    """

    def __init__(self, series: Series, *, keep: int) -> None:
        self.series = series
        """What it does now, and to whom."""
        self.rows = Rows(keep)
        """The rows so far."""
        self.state: State = "stopped"
        """Whether it pings, rests until it is started again, or has ended."""
        self.problem = ""
        """Why it stopped by itself, and what to do next, in one line; empty where it did not."""
        self.journal_failed = False
        """Whether its journal could not be written."""
        self.began_s = time.time()
        """When it was made, in seconds since 1970."""
        self._runs: dict[str, dict[str, Any]] = {}
        """What is known of the runs that are over."""
        self._prober: Prober | None = None
        self._recording: Recording | None = None
        self._elsewhere = self._skipped = 0
        self._reached = False
        self._outage_before: Outage | None = None
        self._lock = threading.Lock()
        self._change = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._ended = threading.Event()
        self._panel: Panel | None = None
        self._drawn_s = self._first_s = 0.0
        _made.add(self)

    @property
    def running(self) -> bool:
        """Whether it pings."""
        return self.state == "running"

    @property
    def rows_elsewhere(self) -> int:
        """How many rows it wrote to its journal before that was moved or truncated."""
        return self._elsewhere + (0 if self._recording is None else self._recording.elsewhere)

    @property
    def skipped(self) -> int:
        """How many planned starts were left out, as it was too far behind, or as the service was down."""
        recording = self._recording
        return self._skipped + (0 if recording is None else int(recording.attrs["skipped"]))

    @property
    def outage(self) -> Outage | None:
        """The outage that goes on; None while it does not ping."""
        recording = self._recording
        return recording.outage if self.running and recording is not None else None

    @property
    def waiting_s(self) -> float:
        """How long its oldest ping in flight has waited; 0 where it is not long, or while it does not ping."""
        recording = self._recording
        return recording.waiting_s if self.running and recording is not None else 0.0

    @property
    def elapsed_s(self) -> float:
        """How long ago its first run began."""
        return time.monotonic() - self._first_s if self._first_s else 0.0

    @property
    def part_s(self) -> float:
        """How long it has pinged since it was started or changed for the last time."""
        return 0.0 if self._recording is None else self._recording.elapsed_s

    @property
    def df(self) -> pd.DataFrame:
        """The rows so far as a table of schema 1, made again each time."""
        from donutwork_magics.frame.table import table_of

        runs, recording = dict(self._runs), self._recording
        if recording is not None:
            runs[recording.run] = recording.attrs
        return table_of(self.rows.copy(), runs)

    @uninterrupted
    def start(self) -> None:
        """Ping, from now on or again; returns at once.

        Raises
        ------
        SettingsError
            Its journal cannot be written, the system starts no further process or thread, or a sandbox was switched on
            and is not what it calls.
        KeyboardInterrupt
            There was an interrupt meanwhile; it has started all the same. Half started, nobody could stop it.
        """
        with self._lock:
            if self.state == "running":
                return
            target = self.series.target
            try:
                if SWITCH.sandbox is not None and not target.sandbox:
                    raise SettingsError(
                        f"A sandbox is on, and this watch calls {target.host}. Stop the sandbox, or begin a new watch."
                    )
                if self._thread is None:
                    self._start_thread()
                if self._recording is None:
                    self._begin_run()
            except SettingsError as error:
                self.problem, self.state = str(error), "stopped"
                self._change.set()
                raise
            self.state = "running"
            self.problem = ""
            self._change.set()

    def _start_thread(self) -> None:
        # It waits for the lock. A plain thread has no parent message, and ipykernel then loses clicks after a reload.
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._live,), name="donutwork-watch", daemon=True)
        start_thread(thread)
        self._ended.clear()
        self._thread, self._process = thread, os.getpid()

    def pause(self) -> None:
        """Rest until it is started again; returns at once, and the panel stays."""
        with self._lock:
            if self.state == "running":
                self.state = "paused"
                self._change.set()

    def end(self) -> None:
        """Stop soon; returns at once, for those who must not wait."""
        with self._lock:
            self.state = "stopped"
            self._change.set()

    def stop(self) -> None:
        """Stop, and leave the card of the rows in place of the panel."""
        self.end()
        self.wait()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has stopped, by itself or by its panel; an interrupt ends the waiting only.

        Parameters
        ----------
        timeout_s
            The longest time to wait; None for as long as it takes.

        Returns
        -------
        bool
            Whether it has stopped.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        thread = self._thread
        # For an event, since Python 3.11 takes a thread for ended whose join was interrupted; and in slices, as on
        # Windows a wait without an end cannot be interrupted. A child that was forked has no such thread.
        while self._thread is not None and self._process == os.getpid():
            left_s = _SLICE_S if deadline_s is None else deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            self._ended.wait(min(_SLICE_S, left_s))
        if thread is not None and self._process == os.getpid():
            thread.join(_SLICE_S)
        # Once more, and from the cell that waits: nbclient drops an update that comes out of an earlier one.
        # What a signal handler raises meanwhile is no fault of the panel.
        with interrupts():
            self._freeze(in_cell=True)
        return True

    def change(self, *, rate_hz: float | None, http: Http) -> None:
        """Go on at another rate or with another protocol; returns at once.

        One that would be impolite to the target is refused: it becomes the `problem`.
        """
        with self._lock:
            before = self.series
            plan = replace(before.plan, rate_hz=rate_hz)
            refusal = plan.impolite(loopback=before.target.is_loopback)
            if not refusal:
                self.series = replace(before, plan=plan, http=http)
            if refusal or self.state != "stopped":
                # Why it has ended is to be read until it starts again.
                self.problem = refusal
            if self.series != before:
                self._change.set()

    def show_in(self, panel: Panel) -> None:
        """Be seen in a panel."""
        self._panel = panel

    def __repr__(self) -> str:
        from donutwork_magics.display.readings import down_since
        from donutwork_magics.units import format_plan, format_utc, plural

        target = self.series.target
        facts = [
            f"{target.host}{' (sandbox)' if target.sandbox else ''}",
            format_plan(self.series.plan.rate_hz),
            plural(self.rows.total, "ping"),
            plural(self.rows.errors, "error"),
            *filter(None, [down_since(self.outage, self.waiting_s)]),
            # A notebook keeps it.
            f"as of {format_utc(time.time(), date=False)}",
        ]
        why = f". {self.problem}" if self.problem else ""
        return f"<Watch {self.state}: {', '.join(facts)}{why}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        from donutwork_magics.display.watch_card import watch_line

        return watch_line(self)

    def _live(self) -> None:
        try:
            while self._goes_on():
                self._draw()
                if self._recording is None:
                    self._change.wait()
                else:
                    self._look_on(self._recording)
        except Exception as error:
            # The panel cannot be drawn. Nobody is to wait for a thread that has gone.
            self._end_run()
            with self._lock:
                self._release()
                why = f"The watch ended: {unexpected(type(error).__name__)}"
                self.problem, self.state, self._thread = why, "stopped", None
                self._ended.set()

    def _goes_on(self) -> bool:
        """Bring the run in line with what is wished; False where the watch has stopped."""
        with self._lock:
            self._change.clear()
            stale = self._recording is not None and (not self.running or self._recording.lines != (self.series,))
        if stale:
            # Without the lock: it may take a while, and a click must not wait.
            self._end_run()
        with self._lock:
            try:
                if self.running and self._recording is None:
                    self._begin_run()
            except SettingsError as error:
                self.problem, self.state = str(error), "stopped"
            goes_on = self.state != "stopped"
            if goes_on:
                return True
            self._release()
        self._freeze(in_cell=False)
        with self._lock:
            # It may have been started again meanwhile.
            goes_on = self.state != "stopped"
            if not goes_on:
                self._thread = None
                self._ended.set()
        return goes_on

    def _look_on(self, recording: Recording) -> None:
        """Draw until something is changed, or the run has ended by itself."""
        while not recording.over.is_set() and not self._change.wait(_SLICE_S):
            if time.monotonic() - self._drawn_s >= _DRAW_EVERY_S:
                self._draw()
        if recording.over.is_set():
            self._end_run()
            with self._lock:
                if self.running:
                    # It has ended by itself and without a reason: its time is over.
                    self.state = "stopped"

    def _begin_run(self) -> None:
        """Begin a run, and wait until its journal is open.

        Raises
        ------
        SettingsError
            It was not begun.
        """
        if self._prober is None or not self._prober.is_usable:
            self._prober = probers.acquire()
        series, now_s = self.series, time.monotonic()
        self._first_s = self._first_s or now_s
        recording = Recording(
            [series],
            one_after_the_other([series.plan]),
            rows=self.rows,
            offset_ms=(now_s - self._first_s) * 1e3,
            outage=self._outage_before,
        )
        self._prober.begin(recording, reached=self._reached)
        if not recording.begun.wait(_BEGIN_S):
            self._prober.end()
            recording.begun.wait()
        if recording.refused:
            self._release()
            raise SettingsError(recording.refused)
        self._recording, self.journal_failed = recording, False

    def _end_run(self) -> None:
        """End the run, if there is one, and keep what is known of it; what ended it by itself ends the watch."""
        recording, prober = self._recording, self._prober
        if recording is None or prober is None:
            return
        if not recording.over.is_set():
            prober.finish(None, _STOP_S)
        kept = {run for run, _ in self.rows.spans()}
        before = {run: attrs for run, attrs in self._runs.items() if run in kept or not attrs["rows"]}
        self._runs = before | {recording.run: recording.attrs}
        self._elsewhere += recording.elsewhere
        self._skipped += int(recording.attrs["skipped"])
        self._reached = self._reached or recording.result.reached
        self._outage_before = recording.outage
        self.journal_failed = recording.result.name == JOURNAL_FAILED
        with self._lock:
            self._recording = None
            if recording.result.why:
                self.problem, self.state = f"The watch ended: {recording.result.why}", "stopped"

    def _release(self) -> None:
        prober, self._prober = self._prober, None
        if prober is not None:
            probers.release(prober)

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        if self._panel is not None:
            self._panel.draw()

    def _freeze(self, *, in_cell: bool) -> None:
        if self._panel is None:
            return
        try:
            self._panel.freeze(in_cell=in_cell)
        except Exception as error:
            # It has ended, seen or unseen, and whoever waits for that has the rows.
            self.problem = self.problem or unexpected(type(error).__name__)
