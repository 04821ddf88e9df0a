"""The background monitor: pings that go on while the kernel is free for other things, until they are stopped."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from donutwork_magics.client.target import SWITCH
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import SettingsError
from donutwork_magics.interrupts import interrupts, uninterrupted
from donutwork_magics.sampling.guard import Guard
from donutwork_magics.sampling.journal import Journal, Mark
from donutwork_magics.sampling.outages import Outage
from donutwork_magics.sampling.rows import Rows
from donutwork_magics.sampling.run import Ending, Progress, Run, Series, run_series
from donutwork_magics.series import reason_of
from donutwork_magics.threads import start_thread
from donutwork_magics.types import Http

if TYPE_CHECKING:
    import pandas as pd

State = Literal["running", "paused", "stopped"]

_DRAW_EVERY_S: Final = 0.5
_SLICE_S: Final = 0.1
_MOST_PARTS: Final = 20
"""A watch has a part for each time that it was started or changed; the table describes the latest of them."""


class Panel(Protocol):
    """Where a watch is seen; all methods are called from its thread, or from a cell that ends it."""

    def draw(self) -> None:
        """Show the watch as it is now."""

    def freeze(self, *, in_cell: bool) -> None:
        """Show what is left when it has stopped; it may be called more than once.

        Parameters
        ----------
        in_cell
            Whether a cell runs that waited for it.
        """


class Watch(Displayed):
    """Pings in the background.

    It keeps the target that it began with, key and all: what changes in the environment, or becomes of the sandbox,
    does not send it elsewhere. It stops by itself, and says why, where to continue is pointless: the key is refused, or
    the address was never reached. An outage is not: while it lasts, the watch tries once a second. Its journal, if it
    has one, is open from now on until it has stopped.

    Parameters
    ----------
    series
        What to do; its plan is endless.
    keep
        How many rows are kept in memory, the latest.

    Raises
    ------
    SettingsError
        The file cannot be a journal, or another run writes to it.
    """

    def __init__(self, series: Series, *, keep: int) -> None:
        self._series = series
        self._run = Run(rows=Rows(keep))
        self._guard = Guard()
        self._lock = threading.Lock()
        self._change = threading.Event()
        self._wish: State = "stopped"
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._ended = threading.Event()
        self._panel: Panel | None = None
        self._mark: Mark | None = None
        self._problem = ""
        self._drawn_s = self._part_began_s = 0.0
        self.began_s = time.time()
        """When it was made, in seconds since 1970."""
        self._open_journal()

    @property
    def running(self) -> bool:
        """Whether it pings."""
        return self._wish == "running"

    @property
    def state(self) -> State:
        """Whether it pings, rests until it is started again, or has ended."""
        return self._wish

    @property
    def problem(self) -> str:
        """Why it stopped by itself, and what to do next, in one line; empty where it did not."""
        return self._problem

    @property
    def journal_failed(self) -> bool:
        """Whether its journal could not be written."""
        return self._run.ending is not None and bool(self._run.ending.journal_failure)

    @property
    def rows_elsewhere(self) -> int:
        """How many rows it wrote to its journal before that was moved or truncated."""
        mark = next((journal.mark() for journal in self._run.journals.values()), self._mark)
        return 0 if mark is None else mark.elsewhere

    @property
    def series(self) -> Series:
        """What it does now, and to whom."""
        return self._series

    @property
    def rows(self) -> Rows:
        """The rows so far."""
        return self._run.rows

    @property
    def skipped(self) -> int:
        """How many planned starts were left out, as it was too far behind, or as the service was down."""
        return self._run.skipped

    @property
    def outage(self) -> Outage | None:
        """The outage that goes on; None while it does not ping."""
        return self._run.outages.current if self.running else None

    @property
    def elapsed_s(self) -> float:
        """How long ago its first ping was planned."""
        return (time.perf_counter_ns() - self._run.origin_ns) / 1e9 if self._run.origin_ns else 0.0

    @property
    def part_s(self) -> float:
        """How long it has pinged since it was started or changed for the last time."""
        return time.monotonic() - self._part_began_s

    @property
    def df(self) -> pd.DataFrame:
        """The rows so far as a table of schema 1, made anew each time."""
        from donutwork_magics.frame.table import table

        run, stopped = self._run, self._wish == "stopped"
        return table(replace(run, rows=run.rows.copy(), series=list(run.series) or [self._series], finished=stopped))

    @uninterrupted
    def start(self) -> None:
        """Ping, from now on or again; returns at once.

        Raises
        ------
        SettingsError
            Its journal cannot be continued: meanwhile another run has written to it, or it could not be written. Or
            this process can start no further thread, or a sandbox was switched on and is not what it calls.
        KeyboardInterrupt
            There was an interrupt meanwhile; it has started all the same. Half started, nobody could stop it.
        """
        with self._lock:
            target = self._series.target
            if SWITCH.sandbox is not None and not target.sandbox and self._wish != "running":
                self._problem = (
                    f"A sandbox is on, and this watch calls {target.host}. Stop the sandbox, or begin a new watch."
                )
                raise SettingsError(self._problem)
            if self._thread is None:
                # A plain thread has no parent message, and ipykernel then loses clicks after a page reload.
                context = contextvars.copy_context()
                thread = threading.Thread(target=context.run, args=(self._live,), name="donutwork-watch", daemon=True)
                try:
                    self._open_journal()
                    start_thread(thread)
                except SettingsError as error:
                    self._problem = str(error)
                    self._close_journal()
                    raise
                self._ended.clear()
                self._thread, self._process = thread, os.getpid()
            if self._wish != "running":
                self._wish = "running"
                self._problem = ""
                self._change.set()

    def pause(self) -> None:
        """Rest until it is started again; returns at once, and the panel stays."""
        with self._lock:
            if self._wish == "running":
                self._wish = "paused"
                self._change.set()

    def end(self) -> None:
        """Stop soon; returns at once, for those who must not wait."""
        with self._lock:
            self._wish = "stopped"
            self._change.set()
            began = self._thread is not None
        if not began:
            self._close_journal()

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
            before = self._series
            plan = replace(before.plan, rate_hz=rate_hz)
            refusal = plan.impolite(loopback=before.target.is_loopback)
            if not refusal:
                self._series = replace(before, plan=plan, http=http)
            if refusal or self._wish != "stopped":
                # Why it has ended is to be read until it starts again.
                self._problem = refusal
            if self._series != before:
                self._change.set()

    def show_in(self, panel: Panel) -> None:
        """Be seen in a panel."""
        self._panel = panel

    def __repr__(self) -> str:
        from donutwork_magics.display.outages import down_since
        from donutwork_magics.display.units import format_plan, format_utc, plural

        target = self._series.target
        facts = [
            f"{target.host}{' (sandbox)' if target.sandbox else ''}",
            format_plan(self._series.plan.rate_hz),
            plural(self.rows.total, "ping"),
            plural(self.rows.errors, "error"),
            *filter(None, [down_since(self.outage)]),
            # A notebook keeps it.
            f"as of {format_utc(time.time(), date=False)}",
        ]
        why = f". {self._problem}" if self._problem else ""
        return f"<Watch {self.state}: {', '.join(facts)}{why}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002
        from donutwork_magics.display.watch_card import watch_line

        return watch_line(self)

    def _live(self) -> None:
        try:
            while self._goes_on():
                self._draw()
                if self.running:
                    self._ping()
                else:
                    self._change.wait()
        except Exception as error:
            # The panel cannot be drawn. Nobody is to wait for a thread that has gone.
            problem = self._unexpected(error)
            with self._lock:
                self._problem, self._wish = problem, "stopped"
            self._close_journal()
            with self._lock:
                # It may have been started again meanwhile.
                self._problem, self._wish, self._thread = problem, "stopped", None
                self._ended.set()

    def _goes_on(self) -> bool:
        with self._lock:
            self._change.clear()
            if self._wish != "stopped":
                return True
        self._finish_journal()
        self._freeze(in_cell=False)
        # Without the lock: a disk may take its time, and a click that ends it must not wait.
        self._close_journal()
        with self._lock:
            if self.state == "stopped":
                self._thread = None
                self._ended.set()
                return False
        # It was started again meanwhile.
        try:
            self._open_journal()
        except SettingsError as error:
            with self._lock:
                self._problem, self._wish = str(error), "stopped"
        return self._goes_on()

    def _ping(self) -> None:
        """Ping until something is changed, or it has to end."""
        del self._run.series[:-_MOST_PARTS], self._run.clients[:-_MOST_PARTS]
        self._run.ending, self._run.finished = None, False
        self._part_began_s = time.monotonic()
        # A wrong address may be tried again, and a right one stays right.
        self._guard = Guard(reached=self._guard.reached)
        run_series(self._run, self._series, self._observe, stop=self._change, guard=self._guard)
        problem = _why(self._run.ending)
        if problem:
            with self._lock:
                self._problem, self._wish = problem, "stopped"

    def _open_journal(self) -> None:
        file = self._series.journal
        if file is None or self._run.journals:
            return
        if self.journal_failed:
            raise SettingsError(
                "The journal could not be written to its end. Begin a new watch, in this file or another."
            )
        self._run.journals = {file: Journal(file, self._mark)}

    def _finish_journal(self) -> None:
        """Have everything on the disk, and how it ended."""
        if self._run.journals and self._run.series:
            self._run.finish()
            with self._lock:
                self._problem = self._problem or _why(self._run.ending)

    def _close_journal(self) -> None:
        journals, self._run.journals = self._run.journals, {}
        for journal in journals.values():
            # Before its first ping nothing is in it that could be continued.
            self._mark = journal.mark() if self._run.series else None
            journal.close()

    def _observe(self, _progress: Progress) -> None:
        if time.monotonic() - self._drawn_s >= _DRAW_EVERY_S:
            self._draw()

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
            self._problem = self._problem or self._unexpected(error)

    def _unexpected(self, error: Exception) -> str:
        return _why(Ending(self._series.target, broken_by=type(error).__name__))


def _why(ending: Ending | None) -> str:
    reason = "" if ending is None else reason_of(ending)
    return f"The watch ended: {reason}" if reason else ""
