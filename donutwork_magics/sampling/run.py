"""Running series: workers, a client and a connection each, fill the rows while the caller's thread looks on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from donutwork_magics.client.client import Client
from donutwork_magics.client.sample import Sample
from donutwork_magics.client.settings import Target
from donutwork_magics.errors import OutOfThreadsError
from donutwork_magics.interrupts import Stop, interrupts
from donutwork_magics.network.faults import CallCancelledError
from donutwork_magics.sampling.client_load import ClientLoad, ClientMeter
from donutwork_magics.sampling.describe import UNFINISHED, describe
from donutwork_magics.sampling.guard import Guard, is_throttled
from donutwork_magics.sampling.journal import Journal, JournalFailedError
from donutwork_magics.sampling.manners import manners_towards
from donutwork_magics.sampling.outages import Outage, Outages, Pinged
from donutwork_magics.sampling.pauses import Pauses, Pulse
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.rows import Rows
from donutwork_magics.sampling.schedule import Schedule, Slot
from donutwork_magics.sampling.switching import prompt_switching
from donutwork_magics.threads import start_thread
from donutwork_magics.types import Family, Http

LOOK_EVERY_S: Final = 0.1
"""The observer is called ten times a second at most."""
_GAP_PATIENCE_S: Final = 0.25
_JOIN_S: Final = 2.0
_DESCRIBED_EVERY: Final = 60
"""In an outage each attempt of a monitor leaves starts out. To describe the run after each would fill the disk."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a series ended before its plan did."""

    target: Target
    sample: Sample | None = None
    """The ping that ended it; None for an interrupt."""
    journal_failure: str = ""
    """Why the journal could not be written, in a few words; empty unless that ended it."""
    out_of_threads: bool = False
    """Whether a worker could not be started; then none of them has pinged."""
    broken_by: str = ""
    """The name of an exception that nobody had foreseen; empty unless that ended it."""

    @property
    def name(self) -> str:
        """One word: an error's kind, or as below."""
        if self.journal_failure:
            return "journal_failed"
        if self.out_of_threads:
            return "out_of_threads"
        if self.broken_by:
            return "unexpected_error"
        return "interrupted" if self.sample is None else str(self.sample.error)


@dataclass(frozen=True, slots=True)
class Series:
    """What one series does, and to whom."""

    plan: Plan
    target: Target
    http: Http = "auto"
    family: Family | None = None
    timeout_s: float = 10.0
    journal: Path | None = None
    """Where each row goes as it is completed; one of the run's journals."""

    def client(self) -> Client:
        """Make the client of one worker."""
        return Client(self.target, http=self.http, family=self.family, timeout_s=self.timeout_s, cold=self.plan.cold)


@dataclass(slots=True)
class Run:
    """Everything that a command measures: one series, or several one after the other, and how it went."""

    rows: Rows = field(default_factory=Rows)
    series: list[Series] = field(default_factory=list)
    """Those that were begun."""
    pauses: Pauses = field(default_factory=Pauses)
    """Rests after a 429 or 503 that held back starts, of this run or of others against the same host."""
    machine_pauses: Pauses = field(default_factory=Pauses)
    """Times in which threads that were due did not run: a stopped process, a suspend, code that keeps the GIL."""
    origin_ns: int = 0
    """When the first series began, on the monotonic clock."""
    outages: Outages = field(default_factory=Outages)
    skipped: int = 0
    """Planned starts that a monitor has left out, as it was too far behind, or as the service was down."""
    in_flight: int = 0
    """Pings that were given up at the end, and make no row."""
    ending: Ending | None = None
    """None where every plan was carried out."""
    clients: list[ClientLoad] = field(default_factory=list)
    """What each completed series cost the client."""
    journals: Mapping[Path, Journal] = field(default_factory=dict)
    """The open files."""
    finished: bool = False
    """No further series will come."""

    @property
    def ended(self) -> str | None:
        """How it ended, in one word; None where every plan was carried out."""
        if self.ending is not None:
            return self.ending.name
        return None if self.finished else UNFINISHED

    def finish(self, *, interrupted: bool = False) -> None:
        """Take note that no further series comes, also in the journals, and have them on the disk."""
        self.finished = True
        self.outages.finish()
        if interrupted and self.series:
            self.ending = self.ending or Ending(self.series[-1].target)
        for journal in self.journals.values():
            try:
                journal.describe(describe(self))
                journal.sync()
            except JournalFailedError as error:
                self.ending = self.ending or Ending(self.series[-1].target, journal_failure=str(error))


class Progress(Protocol):
    """What an observer may look at while a series runs."""

    @property
    def plan(self) -> Plan:
        """What is being done."""

    @property
    def rows(self) -> Rows:
        """The completed rows, of series before this one too."""

    @property
    def done(self) -> int:
        """How many rows this series has completed."""

    @property
    def elapsed_s(self) -> float:
        """How long this series has run."""

    @property
    def outage(self) -> Outage | None:
        """The outage that goes on now."""


Observer = Callable[[Progress], None]


def run_series(
    run: Run,
    series: Series,
    observer: Observer | None = None,
    *,
    stop: Stop | None = None,
    guard: Guard | None = None,
) -> None:
    """Carry out a series, and add its rows to a run.

    Failures of pings are rows; what ends the series early is in ``run.ending``. So is an exception that none had
    foreseen: raised from here, it would cost the rows. What a signal handler raises ends the series too, and is raised
    when its rows are complete.

    Parameters
    ----------
    observer
        Called from this thread, never while a single worker's ping is on its way.
    stop
        Set by another thread, it ends the series as an interrupt does, and is no early ending.
    guard
        Decides whether the series ends early; by default a new one, which does not know whether the address is right.
    """
    with prompt_switching(), interrupts() as interruption:
        _Carrier(run, series, stop, interruption, guard or Guard()).carry_out(observer)


class _Carrier:
    def __init__(self, run: Run, series: Series, stop: Stop | None, interruption: Stop, guard: Guard) -> None:
        self._run = run
        self._series = series
        self._stop = stop
        self._interruption = interruption
        self.plan = plan = series.plan
        self._clients = [series.client() for _ in range(plan.concurrency)]
        self._schedule = Schedule(
            plan,
            loopback=series.target.is_loopback,
            manners=manners_towards(series.target),
            held_back=partial(self._paused, run.pauses),
        )
        self._place = series.target.host, series.target.env
        self._guard = guard
        self._lock = threading.Lock()
        # Held during a ping, so that nothing is drawn meanwhile. With several in flight there is no such gap.
        self._quiet = threading.Lock() if plan.concurrency == 1 else None
        self._journal = run.journals[series.journal] if series.journal else None
        self._meter = ClientMeter()
        self._first_row = run.rows.total
        self._in_flight = 0
        self._closed = False

    @property
    def rows(self) -> Rows:
        return self._run.rows

    @property
    def done(self) -> int:
        return self._run.rows.total - self._first_row

    @property
    def elapsed_s(self) -> float:
        return (time.perf_counter_ns() - self._schedule.origin_ns) / 1e9

    @property
    def outage(self) -> Outage | None:
        return self._run.outages.current

    def carry_out(self, observer: Observer | None) -> None:
        workers = [
            threading.Thread(target=self._work, args=(client,), name="donutwork-worker", daemon=True)
            for client in self._clients
        ]
        self._schedule.begin()
        self._run.series.append(self._series)
        self._run.origin_ns = self._run.origin_ns or self._schedule.origin_ns
        try:
            self._write_down(None, describing=True)
            with Pulse(partial(self._paused, self._run.machine_pauses)):
                self._start(workers)
                self._look_on(workers, observer)
        except OutOfThreadsError:
            self._end(Ending(self._series.target, out_of_threads=True))
        except Exception as error:
            self._break(error)
        finally:
            self._finish(workers)

    def _start(self, workers: list[threading.Thread]) -> None:
        # The workers wait for the lock, so that none of them pings unless all have started.
        with self._lock:
            try:
                for worker in workers:
                    start_thread(worker)
            except OutOfThreadsError:
                self._schedule.stop()
                raise

    def _look_on(self, workers: list[threading.Thread], observer: Observer | None) -> None:
        for worker in workers:
            while worker.is_alive() and not self._must_stop():
                # In slices, as on Windows a wait without an end cannot be interrupted.
                worker.join(LOOK_EVERY_S)
                if observer is not None and worker.is_alive() and not self._must_stop():
                    self._between_pings(observer)

    def _must_stop(self) -> bool:
        if self._interruption.is_set():
            self._end(Ending(self._series.target))
        return self._interruption.is_set() or (self._stop is not None and self._stop.is_set())

    def _between_pings(self, observer: Observer) -> None:
        # A ping that takes longer than this is not disturbed by a moment of drawing.
        held = self._quiet is not None and self._quiet.acquire(timeout=_GAP_PATIENCE_S)
        try:
            observer(self)
        finally:
            if held and self._quiet is not None:
                self._quiet.release()

    def _finish(self, workers: list[threading.Thread]) -> None:
        self._schedule.stop()
        for client in self._clients:
            client.cancel()
        deadline_s = time.monotonic() + _JOIN_S
        for worker in workers:
            # One that could not be started is not alive.
            while worker.is_alive() and time.monotonic() < deadline_s:
                worker.join(LOOK_EVERY_S)
        with self._lock:
            # Should a worker come back later than this, the table is already being made without it.
            self._closed = True
            self._run.in_flight += self._in_flight
            self._run.clients.append(self._meter.result())

    def _work(self, client: Client) -> None:
        with self._lock:
            pass
        try:
            with client:
                while (slot := self._schedule.next()) is not None:
                    self._ping(client, slot)
        except CallCancelledError:
            pass
        except BaseException as error:
            self._break(error)
        with self._lock:
            self._meter.worker(time.thread_time())

    def _ping(self, client: Client, slot: Slot) -> None:
        began_ns = time.perf_counter_ns()
        with self._lock:
            self._in_flight += 1
        if self._quiet is None:
            sample = client.sample()
        else:
            with self._quiet:
                sample = client.sample()
        with self._lock:
            if not self._closed:
                self._in_flight -= 1
                self._record(slot, sample)
                own_ns = time.perf_counter_ns() - began_ns - int(sample.exchange.duration_ms * 1e6)
                self._meter.ping(own_ns, slot.woken_late_ns)

    def _record(self, slot: Slot, sample: Sample) -> None:
        run, plan = self._run, self.plan
        numbered = Slot(self._first_row + slot.seq, slot.scheduled_ns)
        run.rows.append(sample, numbered, origin_ns=run.origin_ns, label=plan.label, warmup=slot.seq < plan.warmup)
        run.skipped += slot.skipped
        outage = self._look_for_outage(numbered.seq, sample)
        if outage is not None and plan.endless:
            self._schedule.back_off(slot, sample.exchange.started_ns)
        if sample.exchange.retried:
            self._schedule.count_retry()
        if self._guard.must_end(sample):
            self._end(Ending(self._series.target, sample))
        elif not is_throttled(sample):
            self._schedule.forgive()
        else:
            self._schedule.rest(sample.retry_after_s or 0.0)
        told_anew = slot.skipped > 0 and (outage is None or outage.pings % _DESCRIBED_EVERY == 0)
        self._write_down(run.rows.record(-1) if self._journal else None, describing=told_anew)

    def _paused(self, pauses: Pauses, from_ns: int, until_ns: int) -> None:
        with self._lock:
            if not self._closed:
                pauses.add((from_ns - self._run.origin_ns) / 1e9, (until_ns - from_ns) / 1e9)
                self._write_down(None, describing=True)

    def _look_for_outage(self, seq: int, sample: Sample) -> Outage | None:
        """Return the outage that goes on, now that a ping has completed."""
        exchange = sample.exchange
        started_ms = (exchange.started_ns - self._run.origin_ns) / 1e6
        ping = Pinged(seq, self._place, exchange.timestamp_ns, started_ms, exchange.duration_ms, sample.error)
        self._run.outages.add(ping)
        return self._run.outages.current

    def _write_down(self, record: Mapping[str, Any] | None, *, describing: bool) -> None:
        journal = self._journal
        if journal is None:
            return
        try:
            if record is not None:
                journal.append(record)
            if describing:
                journal.describe(describe(self._run))
        except JournalFailedError as error:
            self._end(Ending(self._series.target, journal_failure=str(error)))

    def _break(self, error: BaseException) -> None:
        # Only its name: the text is not ours, and might tell what nobody should see.
        self._end(Ending(self._series.target, broken_by=type(error).__name__))

    def _end(self, ending: Ending) -> None:
        self._run.ending = self._run.ending or ending
        self._schedule.stop()
