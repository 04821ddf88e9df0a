"""Carrying out a run: workers, a client and a connection each, ping on schedule and give out each row as a line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from donutwork_magics.client.client import Client
from donutwork_magics.client.replies import PING
from donutwork_magics.client.results import Sample, advice
from donutwork_magics.client.settings import Target
from donutwork_magics.errors import OutOfThreadsError
from donutwork_magics.interrupts import start_thread
from donutwork_magics.network.exchange import CallCancelledError
from donutwork_magics.sampling.client_load import ClientMeter
from donutwork_magics.sampling.describe import UNFINISHED, progress
from donutwork_magics.sampling.journal import Journal, JournalFailedError
from donutwork_magics.sampling.outages import Outage, Outages, pinged
from donutwork_magics.sampling.pauses import Pauses, Pulse
from donutwork_magics.sampling.plan import Segment
from donutwork_magics.sampling.rate_limit import SharedMemory, rate_limit_of
from donutwork_magics.sampling.rows import encode, row_of
from donutwork_magics.sampling.schedule import Schedule, Slot
from donutwork_magics.sampling.series import Series
from donutwork_magics.sampling.stop_rules import StopRules, is_throttled

_JOIN_S: Final = 1.5
_SLICE_S: Final = 0.1
_DESCRIBED_EVERY: Final = 60
"""In an outage each attempt of a monitor leaves starts out. To describe the run after each would fill the disk."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run ended before its plan did."""

    target: Target
    sample: Sample | None = None
    """The ping that ended it."""
    stopped: str = ""
    """How it has ended, as `Stop` says it; empty unless that ended it."""
    journal_failure: str = ""
    """Why the journal could not be written, in a few words; empty unless that ended it."""
    out_of_threads: bool = False
    """Whether a worker could not be started; then none of them has pinged."""
    broken_by: str = ""
    """The name of an exception that is a fault of ours; empty unless that ended it."""

    @property
    def name(self) -> str:
        """One word: an error's kind, or as below."""
        if self.journal_failure:
            return "journal_failed"
        if self.out_of_threads:
            return "out_of_threads"
        if self.broken_by:
            return "unexpected_error"
        return self.stopped if self.sample is None else str(self.sample.error)

    @property
    def why(self) -> str:
        """What happened and what to do next, in one line; empty where it was stopped."""
        if self.journal_failure:
            return f"The journal cannot be written ({self.journal_failure}). Make room, or choose another place."
        if self.out_of_threads:
            return str(OutOfThreadsError())
        if self.broken_by:
            return unexpected(self.broken_by)
        return "" if self.sample is None else advice(self.sample, self.target, PING)


def unexpected(name: str) -> str:
    """Say that something is a fault of ours, by the name of an exception: its text may hold what nobody should see."""
    return f"Unexpected: {name}, a fault of this extension. Try again, and report it if it comes back."


class Run:
    """A run: its lines are carried out segment by segment, each segment when the one before has ended.

    Failures of pings are rows; what ends the run early is its `ending`. So is an exception that is a fault of ours:
    raised from here, it would cost the rows.

    Parameters
    ----------
    lines
        Who pings what.
    segments
        In which order.
    attrs
        What is known of it already, as `donutwork_magics.sampling.describe.beginning` returns it.
    journals
        The open journals of the lines, by their paths.
    out
        Takes the line of each row as it is completed; called by one thread at a time, and not to wait for anything.
    described
        Takes what `attrs` has become, in the same way.
    memory
        What is shared with all that may call the same hosts.
    reached
        Whether the address is known to be right.
    """

    def __init__(
        self,
        lines: Sequence[Series],
        segments: Iterable[Segment],
        *,
        attrs: Mapping[str, Any],
        journals: Mapping[Path, Journal],
        out: Callable[[bytes], None],
        described: Callable[[dict[str, Any]], None],
        memory: SharedMemory,
        reached: bool = False,
    ) -> None:
        self._attrs = attrs
        self._segments = segments
        self._journals = journals
        self._out = out
        self._described = described
        self._memory = memory
        self.lock = threading.Lock()
        self.rows = 0
        self.pauses = Pauses()
        """Rests after a 429 or 503 that held back starts, of this run or of others against the same host."""
        self.machine_pauses = Pauses()
        """Times in which threads that were due did not run: a stopped process, a suspend, a starved machine."""
        self.origin_ns = 0
        """When the first ping was planned, on the monotonic clock."""
        self.outages = Outages()
        self.skipped = 0
        """Planned starts that a monitor has left out, as it was too far behind, or as the service was down."""
        self.in_flight = 0
        """Pings that were abandoned at the end, and make no row."""
        self.ending: Ending | None = None
        """None where every plan was carried out."""
        self._stopped = threading.Event()
        self._finished = self._abandoned = False
        self._schedule: Schedule | None = None
        # What one line has reached is a right address for the others that call it in the same way.
        rules: dict[object, StopRules] = {}
        self._lines = [
            _Line(
                series, rules.setdefault((series.target.host, series.http, series.family), StopRules(reached=reached))
            )
            for series in lines
        ]

    @property
    def ended(self) -> str | None:
        """How it ended, in one word; None where every plan was carried out."""
        if self.ending is not None:
            return self.ending.name
        return None if self._finished else UNFINISHED

    @property
    def elsewhere(self) -> int:
        """How many rows were written to its journals before those were moved or truncated."""
        return sum(journal.elsewhere for journal in self._journals.values())

    @property
    def reached(self) -> bool:
        """Whether every address has turned out to be right."""
        return all(line.rules.reached for line in self._lines)

    def client_loads(self) -> list[dict[str, Any]]:
        """Return what each line has cost the client."""
        return [line.meter.result().as_attrs() for line in self._lines] if self._finished else []

    def attrs(self) -> dict[str, Any]:
        """Describe the run as it is now."""
        return {**self._attrs, **progress(self)}

    def stop(self, ended: str | None = None) -> None:
        """Start no further ping, and end soon; from any thread.

        Parameters
        ----------
        ended
            As in `donutwork_magics.sampling.series.Stop`.
        """
        if ended is not None:
            self.ending = self.ending or Ending(self._lines[0].series.target, stopped=ended)
        self._stopped.set()
        schedule = self._schedule
        if schedule is not None:
            schedule.stop()

    def abandon(self) -> None:
        """End soon, and let the journals say that the run has not come to its end."""
        self._abandoned = True
        self.stop()

    def carry_out(self) -> None:
        """Carry out the segments, and describe in the journals how that went."""
        try:
            self._describe()
            with Pulse(partial(self._paused, self.machine_pauses)):
                free_ns = 0
                for segment in self._segments:
                    if self._must_end():
                        break
                    free_ns = self._carry_out(segment, free_ns)
        except OutOfThreadsError:
            self._end(Ending(self._lines[0].series.target, out_of_threads=True))
        except Exception as error:
            self._break(error)
        finally:
            for line in self._lines:
                line.close()
        self._finish()

    def _carry_out(self, segment: Segment, not_before_ns: int) -> int:
        """Carry out a segment, and return when the next may begin: in the planned distance from its last ping."""
        line = self._lines[segment.line]
        plan = line.series.plan
        if not plan.endless:
            plan = replace(plan, count=segment.count, duration_s=segment.duration_s, warmup=0)
        schedule = Schedule(
            plan,
            loopback=line.series.target.is_loopback,
            rate_limit=rate_limit_of(line.series.target, self._memory),
            held_back=partial(self._paused, self.pauses),
        )
        part = _Part(line, segment, schedule, first_row=self.rows)
        workers = [
            threading.Thread(target=self._work, args=(part, client), name="donutwork-worker", daemon=True)
            for client in line.clients
        ]
        schedule.begin(not_before_ns)
        self.origin_ns = self.origin_ns or schedule.origin_ns
        self._schedule = schedule
        if self._must_end():
            schedule.stop()
        with line.meter:
            try:
                self._start(workers, schedule)
                for worker in workers:
                    while worker.is_alive() and not schedule.stopped:
                        worker.join(_SLICE_S)
            finally:
                self._finish_part(part, workers)
        return schedule.next_planned_ns

    def _start(self, workers: list[threading.Thread], schedule: Schedule) -> None:
        # The workers wait for the lock, so that none of them pings unless all have started.
        with self.lock:
            try:
                for worker in workers:
                    start_thread(worker)
            except OutOfThreadsError:
                schedule.stop()
                raise

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
        with self.lock:
            # Should a worker come back later than this, the run is already described without it.
            part.closed = True
            part.line.hangs = any(worker.is_alive() for worker in workers)
            self.in_flight += part.in_flight

    def _finish(self) -> None:
        with self.lock:
            self._finished = not self._abandoned
            self.outages.finish()
            for journal in self._journals.values():
                self._write(journal, lambda journal: journal.describe(self.attrs()))
                self._write(journal, Journal.sync)
            self._described(self.attrs())

    def _work(self, part: _Part, client: Client) -> None:
        with self.lock:
            pass
        began_s = time.thread_time()
        try:
            while (slot := part.schedule.next()) is not None:
                self._ping(part, client, slot)
        except CallCancelledError:
            pass
        except BaseException as error:
            self._break(error)
        with self.lock:
            part.line.meter.worker(time.thread_time() - began_s)

    def _ping(self, part: _Part, client: Client, slot: Slot) -> None:
        began_ns = time.perf_counter_ns()
        with self.lock:
            part.in_flight += 1
        sample = client.sample()
        with self.lock:
            if not part.closed:
                part.in_flight -= 1
                self._record(part, slot, sample)
                own_ns = time.perf_counter_ns() - began_ns - int(sample.exchange.duration_ms * 1e6)
                part.line.meter.ping(own_ns, slot.woken_late_ns)

    def _record(self, part: _Part, slot: Slot, sample: Sample) -> None:
        series, segment = part.line.series, part.segment
        numbered = Slot(part.first_row + slot.seq, slot.scheduled_ns)
        row = row_of(
            sample,
            numbered,
            origin_ns=self.origin_ns,
            label=series.plan.label,
            block=segment.block,
            warmup=slot.seq < segment.warmup,
        )
        self.rows += 1
        self.skipped += slot.skipped
        self.outages.add(pinged(row, part.line.place))
        outage = self.outages.current
        if outage is not None and series.plan.endless:
            part.schedule.back_off(slot, sample.exchange.started_ns)
        if sample.exchange.retried:
            part.schedule.count_retry()
        line = encode(row)
        self._out(line)
        elsewhere = self.elsewhere
        self._write(part.line.journal(self._journals), lambda journal: journal.append(line))
        if self.elsewhere > elsewhere:
            self._described(self.attrs())
        if part.line.rules.must_end(sample):
            self._end(Ending(series.target, sample))
        elif not is_throttled(sample):
            part.schedule.forgive()
        else:
            part.schedule.rest(sample.retry_after_s or 0.0)
        if slot.skipped and _is_news(outage):
            self._describe_locked()

    def _paused(self, pauses: Pauses, from_ns: int, until_ns: int) -> None:
        with self.lock:
            if self.origin_ns and not self._finished:
                pauses.add((from_ns - self.origin_ns) / 1e9, (until_ns - from_ns) / 1e9)
                self._describe_locked()

    def _describe(self) -> None:
        with self.lock:
            self._describe_locked()

    def _describe_locked(self) -> None:
        attrs = self.attrs()
        for journal in self._journals.values():
            self._write(journal, lambda journal: journal.describe(attrs))
        self._described(attrs)

    def _write(self, journal: Journal | None, write: Callable[[Journal], None]) -> None:
        if journal is None:
            return
        try:
            write(journal)
        except JournalFailedError as error:
            self._end(Ending(self._lines[0].series.target, journal_failure=str(error)))

    def _break(self, error: BaseException) -> None:
        self._end(Ending(self._lines[0].series.target, broken_by=type(error).__name__))

    def _end(self, ending: Ending) -> None:
        self.ending = self.ending or ending
        self.stop()

    def _must_end(self) -> bool:
        return self._stopped.is_set()


class _Line:
    """A series, with what lives as long as the run."""

    def __init__(self, series: Series, rules: StopRules) -> None:
        self.series = series
        self.rules = rules
        self.clients = [series.client() for _ in range(series.plan.concurrency)]
        self.meter = ClientMeter()
        self.place = series.target.host, series.target.env
        self.hangs = False
        """Whether a worker has not come back, and still has its client."""

    def journal(self, journals: Mapping[Path, Journal]) -> Journal | None:
        return None if self.series.journal is None else journals[self.series.journal]

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
    in_flight: int = 0
    closed: bool = False


def _is_news(outage: Outage | None) -> bool:
    return outage is None or outage.pings % _DESCRIBED_EVERY == 0
