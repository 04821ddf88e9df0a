"""The one pipeline of measuring: from series to the rows of a run, and to its DataFrame; for magics and for scripts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from donutwork_magics import probers
from donutwork_magics.analysis.expectations import parse_expectation
from donutwork_magics.client.client import check_arguments, check_http
from donutwork_magics.client.key import holds_key
from donutwork_magics.client.settings import Target
from donutwork_magics.client.target import current_target
from donutwork_magics.errors import Interrupted, SeriesError, SettingsError
from donutwork_magics.interrupts import Interruption, interrupts
from donutwork_magics.probers import Prober, Recording
from donutwork_magics.sampling.journal import check_journal, journal_path
from donutwork_magics.sampling.plan import GENTLE_RATE_HZ, Course, Plan, Segment, one_after_the_other
from donutwork_magics.sampling.rows import Rows
from donutwork_magics.sampling.series import INTERRUPTED, NARROW, Series
from donutwork_magics.types import Env, Family, Http, share

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

_LOOK_EVERY_S: Final = 0.1
_STOP_S: Final = 2.0

Observer = Callable[[Recording], None]


def collect(
    count: int | None = None,
    *,
    duration_s: float | None = None,
    rate_hz: float | None = GENTLE_RATE_HZ,
    concurrency: int = 1,
    warmup: int = 0,
    cold: bool = False,
    http: Http = "auto",
    family: Family | None = None,
    timeout_s: float = 10.0,
    env: Env | None = None,
    label: str = "ping",
    allow_load: bool = False,
    journal: str | os.PathLike[str] | None = None,
    until: float | None = None,
    expect: Sequence[str] = (),
    target: Target | None = None,
) -> pd.DataFrame:
    """Ping repeatedly on an absolute schedule.

    Parameters
    ----------
    count, duration_s
        How many pings, or for how long they are started; with both, whichever ends first.
    rate_hz
        Planned starts a second; None: the next when the last ends.
    concurrency
        Pings in flight at most, one connection each.
    warmup
        This many more pings first, kept as rows marked ``warmup``.
    cold
        A new connection for each ping.
    http, family, timeout_s, env, target
        As for `Client`.
    label
        The ``label`` column.
    allow_load
        Permit more than 20 pings a second against another machine.
    journal
        A file to which each row is written as it is completed, as JSON lines; `donutwork_magics.load` reads it. Where
        the file is a journal already, the run is added to it.
    until
        End as soon as half the width of the median's 95 % interval is at most this share of the median, such as 0.05.
    expect
        Limits such as ``p95<200ms``, ``ttfb_ms.p50<=40ms`` or ``errors<1%``, judged by their 95 % intervals.
        A ping that timed out took its duration or more; others that failed count for ``errors`` only.

    Returns
    -------
    pandas.DataFrame
        Schema 1, one row a ping; a failed ping is a row with its ``error``.

    Raises
    ------
    SettingsError
        A variable is missing or not usable, the sandbox is on and has died, the file cannot be a journal, or the
        system starts no further process; nothing was sent.
    ValueError
        An argument cannot be used, or the plan is not polite without `allow_load`; nothing was sent.
    SeriesError
        The series had to end early, or is not as expected; the rows are in its ``df``.
    Interrupted
        Ctrl-C; the rows are in its ``df``.
    BaseException
        What a signal handler or another thread has raised meanwhile, the same object; the rows are in its ``df``, if it
        takes one.
    """
    plan = Plan(
        count=count,
        duration_s=duration_s,
        rate_hz=rate_hz,
        concurrency=concurrency,
        warmup=warmup,
        cold=cold,
        label=label,
        allow_load=allow_load,
    )
    timeout_s = check_arguments(target=target, env=env, http=http, family=family, timeout_s=timeout_s)
    until = None if until is None else share("until", until)
    if isinstance(expect, str) or not isinstance(expect, Sequence):
        raise ValueError('expect needs a list of limits, such as ["p95<200ms"].')
    for expected in expect:
        _check_expectation(expected)
    if holds_key(label):
        raise ValueError("label needs a text that does not contain an API key: it is kept with the rows.")
    if not (journal is None or isinstance(journal, str | os.PathLike)):
        raise ValueError("journal needs the name of a file, or None.")
    where = current_target(env) if target is None else target
    check_http(http, sandbox=target is None and where.sandbox)
    impolite = plan.impolite(loopback=where.is_loopback, permission="allow_load=True")
    if impolite:
        raise ValueError(impolite)
    file = None if journal is None else journal_path(journal)
    if file is not None:
        check_journal(file)
    series = Series(plan, where, http, family, timeout_s, file, until, tuple(expect))
    return measure([series], keep=lambda _df: "the df of this error")


def measure(
    lines: Sequence[Series],
    *,
    keep: Callable[[pd.DataFrame], str],
    segments: Sequence[Segment] | None = None,
    seed: int | None = None,
    begun: Callable[[], None] | None = None,
    observer: Observer | None = None,
) -> pd.DataFrame:
    """Carry out a run in a prober, and make the DataFrame of its rows.

    Parameters
    ----------
    keep
        Puts the DataFrame where the user finds it, also where an error follows, and says where that is.
    segments
        In which order, and the seed that it was drawn from; by default one line after the other.
    begun
        Called from this thread once the journals are open, and the first ping is due.
    observer
        Called from this thread while the run goes on, ten times a second at most.

    Raises
    ------
    SettingsError
        A journal cannot be written, or there is no prober; nothing was sent.
    SeriesError, Interrupted
        The run ended early, or a line is not as expected; its rows are kept, and in the ``df`` of the error.
    BaseException
        What a signal handler or another thread has raised, as in `collect`.
    """
    segments = one_after_the_other([line.plan for line in lines]) if segments is None else segments
    with interrupts() as interruption:
        recording = Recording(lines, segments, rows=Rows(), seed=seed)
        raised: BaseException | None = None
        prober = probers.acquire()
        try:
            # Imported while a new prober starts: later it would take time from pings, or from answering an interrupt.
            from donutwork_magics.frame.table import table_of

            prober.begin(recording)
            _look_on(recording, prober, interruption, begun, observer)
        except BaseException as error:
            # The live view has failed, or another thread has raised it in this one: so does what limits a call's time.
            if prober.recording is not recording:
                raise
            raised = error.with_traceback(None)
            prober.finish(INTERRUPTED, _STOP_S)
        finally:
            probers.release(prober)
        if recording.refused:
            raise SettingsError(recording.refused)
        df = table_of(recording.rows, {recording.run: recording.attrs})
        place = keep(df)
        for cause in (interruption.cause, raised):
            # It is an object of the user's class, which may not take it.
            with suppress(Exception):
                cause.df = df  # type: ignore[union-attr]
        if raised is not None:
            raise raised
        ending = _early_end(recording, place, interrupted=interruption.is_set()) or _disappointment(lines, df, place)
        if ending is not None:
            ending.df = df
            raise ending
    return df


def _early_end(recording: Recording, place: str, *, interrupted: bool) -> SeriesError | Interrupted | None:
    """Return the error of a run that ended before its plan, or was interrupted, be it when the last ping had ended."""
    if recording.attrs["ended"] in {None, NARROW} and not interrupted:
        return None
    kept, result = _kept(recording.done, place), recording.result
    if interrupted or not result.why:
        # It may have ended by itself before, and waited for its pings in flight.
        return Interrupted(" ".join(filter(None, (kept, result.why))))
    planned = Course((), tuple(recording.segments)).total
    what = "ended early" if planned is None or recording.done < planned else "failed"
    # The advice comes last: it may end with a command.
    return SeriesError(f"The series {what}: {kept} {result.why}", result.kind)


def _disappointment(lines: Sequence[Series], df: pd.DataFrame, place: str) -> SeriesError | None:
    """Return the error of a run that is not as expected, in one line."""
    from donutwork_magics.analysis.expectations import judge

    failed = []
    for line in lines:
        rows = df[df["label"] == line.plan.label]
        judgements = [judge(text, rows) for text in line.expect]
        name = f"{line.plan.label}: " if len(lines) > 1 else ""
        failed += [f"{name}{judgement}" for judgement in judgements if judgement.outcome == "fails"]
    return SeriesError(f"Not as expected: {'; '.join(failed)}. {_kept(len(df), place)}") if failed else None


def _check_expectation(text: str) -> None:
    problem = ""
    try:
        parse_expectation(text if isinstance(text, str) else "")
    except ValueError as error:
        problem = f"expect {error}"
    if problem:
        raise ValueError(problem)


def _kept(rows: int, place: str) -> str:
    return f"{rows} row is kept in {place}." if rows == 1 else f"{rows} rows are kept in {place}."


def _look_on(
    recording: Recording,
    prober: Prober,
    interruption: Interruption,
    begun: Callable[[], None] | None,
    observer: Observer | None,
) -> None:
    while not recording.begun.wait(_LOOK_EVERY_S) and not interruption.is_set():
        pass
    if recording.begun.is_set() and not recording.refused and begun is not None:
        begun()
    is_narrow = _narrowing(recording)
    while not recording.over.wait(_LOOK_EVERY_S):
        if interruption.is_set():
            prober.finish(INTERRUPTED, _STOP_S)
        elif is_narrow():
            prober.stop(NARROW)
        elif observer is not None:
            observer(recording)


def _narrowing(recording: Recording) -> Callable[[], bool]:
    """Return what tells whether ``--until`` lets a run end; to be asked again and again while it goes on.

    Of one line the interval of its median counts, of several those of their differences to the first.
    """
    shares = [line.until for line in recording.lines if line.until is not None]
    if not shares:
        return lambda: False
    is_narrow = _series_narrowing if len(recording.lines) == 1 else _cell_narrowing
    return is_narrow(recording, min(shares))


def _series_narrowing(recording: Recording, share: float) -> Callable[[], bool]:
    from donutwork_magics.analysis.intervals import next_look, series_is_narrow

    look = next_look(0)

    def is_narrow() -> bool:
        nonlocal look
        if recording.done < look:
            return False
        durations_ms, _labels, _blocks = _succeeded(recording)
        if durations_ms.size < look:
            return False
        look = next_look(durations_ms.size)
        return series_is_narrow(durations_ms, share)

    return is_narrow


def _cell_narrowing(recording: Recording, share: float) -> Callable[[], bool]:
    import numpy as np

    from donutwork_magics.analysis.intervals import FEWEST_ROUNDS, cell_is_narrow

    seen = FEWEST_ROUNDS - 1
    labels = [line.plan.label for line in recording.lines]

    def is_narrow() -> bool:
        nonlocal seen
        rounds = recording.round
        if rounds <= seen:
            return False
        seen = rounds
        durations_ms, of_label, of_block = _succeeded(recording)
        blocks = [
            [durations_ms[(of_label == label) & (of_block == block)] for block in range(rounds)] for label in labels
        ]
        medians = np.array([[np.median(block) if block.size else np.nan for block in own] for own in blocks])
        # A round in which a line has no success tells no difference.
        medians = medians[:, ~np.isnan(medians).any(axis=0)]
        return cell_is_narrow(list(medians), float(np.median(durations_ms[of_label == labels[0]])), share)

    return is_narrow


def _succeeded(recording: Recording) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    """Return durations, labels and blocks of the successes so far, warm-up apart, in planned order."""
    import numpy as np

    rows = recording.rows.copy()
    counted = (np.array(rows.words["error"].codes) < 0) & (np.array(rows.flags["warmup"]) == 0)
    order = np.argsort(np.array(rows.integers["seq"])[counted], kind="stable")
    labels = np.array(rows.words["label"].distinct)[np.array(rows.words["label"].codes)]
    columns = np.array(rows.floats["duration_ms"]), labels, np.array(rows.integers["block"])
    durations_ms, labels, blocks = (column[counted][order] for column in columns)
    return durations_ms, labels, blocks
