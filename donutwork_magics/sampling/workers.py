"""Carrying out a run: workers, a client and a connection each, ping on schedule and give out each row as a line."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from donutwork_magics.client.client import Client
from donutwork_magics.client.replies import PING
from donutwork_magics.client.results import Sample, advice
from donutwork_magics.errors import OutOfFilesError, OutOfThreadsError
from donutwork_magics.interrupts import start_thread
from donutwork_magics.network.exchange import CallCancelledError
from donutwork_magics.pulse import pulse
from donutwork_magics.sampling.journal import Journal, JournalFailedError
from donutwork_magics.sampling.machine import ClientMeter, Pauses
from donutwork_magics.sampling.outages import Outages, StopRules, is_throttled, pinged, places_of
from donutwork_magics.sampling.plan import Segment
from donutwork_magics.sampling.rows import encode, row_of
from donutwork_magics.sampling.schedule import Schedule, SharedMemory, Slot, rate_limit_of
from donutwork_magics.sampling.series import JOURNAL_FAILED, NARROW, UNFINISHED, Begin, Ended, Series

_JOIN_S: Final = 1.5
_SLICE_S: Final = 0.1
_LONG_S: Final = 1.0
"""A ping that has waited so long is told of, and again after as much more."""
_DESCRIBED_EVERY: Final = 60
"""In an outage each attempt of a monitor leaves starts out. To describe the run after each would fill the disk."""


def unexpected(name: str) -> str:
    """Say that something is a fault of ours, by the name of an exception: its text may hold what nobody should see."""
    return f"Unexpected: {name}, a fault of this extension. Try again, and report it if it comes back."


class Run:
    """A run: its lines are carried out segment by segment, each segment when the one before has ended.

    Failures of pings are rows; what ends the run early is its `ending`. So is an exception that is a fault of ours:
    raised from here, it would cost the rows.

    Parameters
    ----------
    command
        Who pings what, and in which order.
    journals
        The open journals of the lines, by their paths.
    out
        Takes the line of each row as it is completed; called by one thread at a time, and not to wait for anything.
    described
        Takes what is known of the run by then, in the same way.
    memory
        What is shared with all that may call the same hosts.
    """

    def __init__(
        self,
        command: Begin,
        *,
        journals: Mapping[Path, Journal],
        out: Callable[[bytes], None],
        described: Callable[[dict[str, Any]], None],
        memory: SharedMemory,
    ) -> None:
        self._command = command
        self._journals = journals
        self._out = out
        self._described = described
        self._memory = memory
        self._lock = threading.Lock()
        self._rows = 0
        self._interleaved = any(segment.block for segment in command.segments)
        self._pauses = Pauses()
        """Rests after a 429 or 503 that held back starts, of this run or of others against the same host."""
        self._machine_pauses = Pauses()
        """Times in which threads that were due did not run: a stopped process, a suspend, a starved machine."""
        self._origin_ns = 0
        """When the first ping was planned, on the monotonic clock."""
        self._outages = Outages(command.outage)
        self._places = places_of(command.attrs["plan"])
        self._skipped = 0
        """Planned starts that a monitor has left out, as it was too far behind, or as the service was down."""
        self._in_flight: list[dict[str, Any]] = []
        """Pings that were abandoned at the end, and make no row."""
        self._overdue: list[dict[str, Any]] = []
        """Planned starts that came due, and were not made before the end."""
        self.waiting_s = 0.0
        """How long the oldest ping in flight has waited; 0 where it is not long."""
        self._told_s = 0.0
        """When that was told; 0 where it is not long."""
        self.ending: Ended | None = None
        """None where every plan was carried out."""
        self._stopped = threading.Event()
        self._finished = self._abandoned = False
        self._schedule: Schedule | None = None
        # What one line has reached is a right address for the others that call it in the same way.
        rules: dict[object, StopRules] = {}
        self._lines = []
        for series in command.lines:
            address = series.target.host, series.http, series.family
            self._lines.append(_Line(series, rules.setdefault(address, StopRules(reached=command.reached))))

    @property
    def elsewhere(self) -> int:
        """How many rows were written to its journals before those were moved or truncated."""
        return sum(journal.elsewhere for journal in self._journals.values())

    @property
    def reached(self) -> bool:
        """Whether every address has turned out to be right."""
        return all(line.rules.reached for line in self._lines)

    def _attrs(self) -> dict[str, Any]:
        return {
            **self._command.attrs,
            "pauses": self._pauses.as_attrs(),
            "machine_pauses": self._machine_pauses.as_attrs(),
            "outages": self._outages.as_attrs(),
            "rows": self._rows,
            "skipped": self._skipped,
            "client": [line.meter.result().as_attrs() for line in self._lines] if self._finished else [],
            "in_flight": self._in_flight,
            "overdue": self._overdue,
            "ended": self.ending.name if self.ending else None if self._finished else UNFINISHED,
        }

    def stop(self, ended: str | None = None) -> None:
        """Start no further ping, and end soon, as `Stop` says it; from any thread."""
        if ended == NARROW:
            self.finish(Ended(ended))
            return
        if ended is not None:
            self.ending = self.ending or Ended(ended)
        self._stopped.set()
        if self._schedule is not None:
            self._schedule.stop()

    def finish(self, ending: Ended) -> None:
        """Start no further ping, and end when those in flight have: without slow ones, figures would be too good."""
        self.ending = self.ending or ending
        self._stopped.set()
        if self._schedule is not None:
            self._schedule.finish()

    def abandon(self) -> None:
        """End soon, and let the journals say that the run has not come to its end."""
        self._abandoned = True
        self.stop()

    def carry_out(self) -> None:
        """Carry out the segments, and describe in the journals how that went."""
        try:
            with self._lock:
                self._describe()
            with pulse(partial(self._paused, self._machine_pauses)):
                planned_ns = 0
                for segment in self._command.segments:
                    if self._stopped.is_set():
                        break
                    planned_ns = self._carry_out(segment, planned_ns)
        except OutOfThreadsError:
            self.finish(Ended("out_of_threads", str(OutOfThreadsError())))
        except Exception as error:
            self._break(error)
        finally:
            for line in self._lines:
                line.close()
        self._finish()

    def _carry_out(self, segment: Segment, planned_ns: int) -> int:
        """Carry out a segment, and return for when the next is planned: in the planned distance from its last; or 0."""
        line = self._lines[segment.line]
        plan = line.series.plan
        if not plan.endless:
            plan = replace(plan, count=segment.count, duration_s=segment.duration_s, warmup=0)
        schedule = Schedule(
            plan,
            loopback=line.series.target.is_loopback,
            rate_limit=rate_limit_of(line.series.target, self._memory),
            held_back=partial(self._paused, self._pauses),
        )
        part = _Part(line, segment, schedule, first_row=self._rows)
        workers = [
            threading.Thread(target=self._work, args=(part, client), name="donutwork-worker", daemon=True)
            for client in line.clients
        ]
        schedule.begin(planned_ns)
        self._origin_ns = self._origin_ns or schedule.origin_ns
        self._schedule = schedule
        if self._stopped.is_set():
            schedule.stop()
        with line.meter.pinging():
            try:
                self._start(workers, schedule)
                for worker in workers:
                    while worker.is_alive() and not schedule.stopped:
                        worker.join(_SLICE_S)
                        self._tell_of_waiting(part)
            finally:
                self._finish_part(part, workers)
        end_ns = schedule.planned_end_ns()
        # Lines that take turns have one plan. One after the other, each is a series with a plan of its own.
        return end_ns if self._interleaved or end_ns > time.perf_counter_ns() else 0

    def _start(self, workers: list[threading.Thread], schedule: Schedule) -> None:
        # The workers wait for the lock, so that none of them pings unless all have started.
        with self._lock:
            try:
                for worker in workers:
                    start_thread(worker)
            except OutOfThreadsError:
                schedule.stop()
                raise

    def _tell_of_waiting(self, part: _Part) -> None:
        """Tell of a ping that waits for long, each second, and when none does any more."""
        with self._lock:
            longest_s = max((each["waited_ms"] for each in part.waiting()), default=0.0) / 1e3
            self.waiting_s = longest_s if longest_s >= _LONG_S else 0.0
            now_s = time.monotonic()
            if now_s - self._told_s >= _LONG_S if self.waiting_s else self._told_s:
                self._told_s = now_s if self.waiting_s else 0.0
                self._described(self._attrs())

    def _finish_part(self, part: _Part, workers: list[threading.Thread]) -> None:
        if part.schedule.stopped:
            for client in part.line.clients:
                client.cancel()
        part.schedule.stop()
        deadline_s = time.monotonic() + _JOIN_S
        for worker in workers:
            # One that could not be started is not alive.
            while worker.is_alive() and time.monotonic() < deadline_s:
                worker.join(_SLICE_S)
        with self._lock:
            # Should a worker come back later than this, the run is already described without it.
            part.closed = True
            part.line.hangs = any(worker.is_alive() for worker in workers)
            self._in_flight += part.waiting()
            if overdue := part.schedule.overdue():
                self._overdue.append({"label": part.line.series.plan.label, **overdue})

    def _finish(self) -> None:
        with self._lock:
            self._finished, self.waiting_s = not self._abandoned, 0.0
            self._outages.finish()
            for journal in self._journals.values():
                with self._writing():
                    journal.describe(self._attrs())
                    journal.sync()
            self._described(self._attrs())

    def _work(self, part: _Part, client: Client) -> None:
        with self._lock:
            pass
        began_s = time.thread_time()
        try:
            while (slot := part.schedule.next()) is not None:
                self._ping(part, client, slot)
        except CallCancelledError:
            pass
        except OutOfFilesError as error:
            self.finish(Ended("out_of_files", str(error)))
        except BaseException as error:
            self._break(error)
        with self._lock:
            part.line.meter.worker(time.thread_time() - began_s)

    def _ping(self, part: _Part, client: Client, slot: Slot) -> None:
        began_ns = time.perf_counter_ns()
        with self._lock:
            part.in_flight[slot.seq] = began_ns
        sample = client.sample()
        with self._lock:
            if not part.closed:
                del part.in_flight[slot.seq]
                self._record(part, slot, sample)
                own_ns = time.perf_counter_ns() - began_ns - int(sample.exchange.duration_ms * 1e6)
                part.line.meter.ping(own_ns, slot.woken_late_ns)

    def _record(self, part: _Part, slot: Slot, sample: Sample) -> None:
        series, segment = part.line.series, part.segment
        numbered = Slot(part.first_row + slot.seq, slot.scheduled_ns)
        row = row_of(
            sample,
            numbered,
            origin_ns=self._origin_ns,
            label=series.plan.label,
            block=segment.block,
            warmup=slot.seq < segment.warmup,
        )
        self._rows += 1
        self._skipped += slot.skipped
        self._outages.add(pinged(row, self._places[row.label]))
        outage = self._outages.current
        if outage is not None and series.plan.endless:
            part.schedule.back_off(slot, sample.exchange.started_ns)
        if sample.exchange.retried:
            part.schedule.count_retry()
        line = encode(row)
        self._out(line)
        elsewhere = self.elsewhere
        if series.journal is not None:
            with self._writing():
                self._journals[series.journal].append(line)
        if self.elsewhere > elsewhere:
            self._described(self._attrs())
        if part.line.rules.must_end(sample):
            self.finish(Ended(str(sample.error), advice(sample, series.target, PING), sample.error))
        elif not is_throttled(sample):
            part.schedule.rate_limit.forgive()
        else:
            part.schedule.rate_limit.rest(sample.retry_after_s or 0.0)
        if slot.skipped and (outage is None or outage.pings % _DESCRIBED_EVERY == 0):
            self._describe()

    def _paused(self, pauses: Pauses, from_ns: int, until_ns: int) -> None:
        with self._lock:
            if self._origin_ns and not self._finished:
                pauses.add((from_ns - self._origin_ns) / 1e9, (until_ns - from_ns) / 1e9)
                self._describe()

    def _describe(self) -> None:
        """Tell how the run fares; with the lock."""
        attrs = self._attrs()
        for journal in self._journals.values():
            with self._writing():
                journal.describe(attrs)
        self._described(attrs)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except JournalFailedError as error:
            why = f"The journal cannot be written ({error}). Make room, or choose another place."
            self.finish(Ended(JOURNAL_FAILED, why))

    def _break(self, error: BaseException) -> None:
        self.finish(Ended("unexpected_error", unexpected(type(error).__name__)))


class _Line:
    """A series, with what lives as long as the run."""

    def __init__(self, series: Series, rules: StopRules) -> None:
        self.series = series
        self.rules = rules
        self.clients = [series.client() for _ in range(series.plan.concurrency)]
        self.meter = ClientMeter()
        self.hangs = False
        """Whether a worker has not come back, and still has its client."""

    def close(self) -> None:
        for client in [] if self.hangs else self.clients:
            client.close()


@dataclass(slots=True)
class _Part:
    """A segment that is carried out."""

    line: _Line
    segment: Segment
    schedule: Schedule
    first_row: int
    in_flight: dict[int, int] = field(default_factory=dict)
    """When each began, on the monotonic clock."""
    closed: bool = False

    def waiting(self) -> list[dict[str, Any]]:
        """Return, as in ``attrs``, of which label each ping in flight is and for how long it has waited."""
        now_ns, label = time.perf_counter_ns(), self.line.series.plan.label
        return [{"label": label, "waited_ms": (now_ns - began_ns) / 1e6} for began_ns in self.in_flight.values()]
