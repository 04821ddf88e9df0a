"""The one pipeline of measuring: from series to the rows of a run, and to its DataFrame; for magics and for scripts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from donutwork_magics import probers
from donutwork_magics.analysis.expectations import parse_expectation
from donutwork_magics.client import arguments
from donutwork_magics.client.client import check_arguments, check_http
from donutwork_magics.client.settings import Target
from donutwork_magics.client.target import SWITCH, current_target
from donutwork_magics.errors import Interrupted, SeriesError, SettingsError
from donutwork_magics.interrupts import Interruption, interrupts
from donutwork_magics.narrowing import narrowing
from donutwork_magics.probers import Prober, Recording
from donutwork_magics.sampling.describe import INTERRUPTED, NARROW
from donutwork_magics.sampling.journal import check_journal, journal_path
from donutwork_magics.sampling.plan import GENTLE_RATE_HZ, Plan, Segment, one_after_the_other
from donutwork_magics.sampling.rows import Rows
from donutwork_magics.sampling.series import Series
from donutwork_magics.types import Env, Family, Http

if TYPE_CHECKING:
    import pandas as pd

_LOOK_EVERY_S: Final = 0.1
"""The observer is called ten times a second at most."""
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
        End as soon as the 95 % interval of the median is so narrow: half of its width over the median, such as 0.05.
    expect
        Limits such as ``p95<200ms``, ``ttfb_ms.p50<=40ms`` or ``errors<1%``, judged by their 95 % intervals.

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
        What a signal handler has raised meanwhile, the same object; the rows are in its ``df``, if it takes one.
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
    until = None if until is None else arguments.share("until", until)
    for expected in expect:
        _check_expectation(expected)
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
    lines
        Who pings what.
    keep
        Puts the DataFrame where the user finds it, also where an error follows, and says where that is.
    segments
        In which order; by default one line after the other.
    seed
        What that order was drawn from.
    begun
        Called from this thread once the journals are open, and the first ping is due.
    observer
        Called from this thread while the run goes on.

    Raises
    ------
    SettingsError
        A journal cannot be written, or there is no prober; nothing was sent.
    SeriesError, Interrupted
        The run ended early, or a line is not as expected; its rows are kept, and in the ``df`` of the error.
    BaseException
        What a signal handler has raised, as in `collect`.
    """
    segments = tuple(one_after_the_other([line.plan for line in lines])) if segments is None else segments
    with interrupts() as interruption:
        recording = Recording(lines, segments, rows=Rows(), sandbox=sandbox_settings(lines[0].target), seed=seed)
        prober = probers.acquire()
        try:
            prober.begin(recording)
            # Imported before the first row is read: an interrupt is answered without it.
            from donutwork_magics.frame.table import table_of

            if _wait_for_its_beginning(recording, interruption) and begun is not None:
                begun()
            _look_on(recording, prober, interruption, observer)
        finally:
            probers.release(prober)
        if recording.refused:
            raise SettingsError(recording.refused)
        df = table_of(recording.rows, {recording.run: recording.attrs})
        place = keep(df)
        interruption.keep(df)
        error = early_end(recording, place, interrupted=interruption.is_set()) or _disappointment(lines, df, place)
        if error is not None:
            error.df = df
            raise error
    return df


def sandbox_settings(target: Target) -> dict[str, Any] | None:
    """Return the settings of the sandbox that is on, if that is what is called."""
    sandbox = SWITCH.sandbox
    if not target.sandbox or sandbox is None:
        return None
    behaviour = {name.replace(" ", "_"): text for name, text in sandbox.options.behaviour().items()}
    return {**behaviour, "seed": sandbox.seed}


def early_end(recording: Recording, place: str, *, interrupted: bool) -> SeriesError | Interrupted | None:
    """Return the error of a run that ended before its plan, or was interrupted, in one line; None where neither is so.

    Parameters
    ----------
    place
        Where its rows are, in words.
    interrupted
        An interrupt has come, be it when the last ping had ended.
    """
    ended = recording.attrs["ended"]
    if ended in {None, NARROW} and not interrupted:
        return None
    kept = _kept(recording.done, place)
    why = recording.result.why
    if not why:
        return Interrupted(kept)
    # The advice comes last: it may end with a command.
    return SeriesError(f"The series ended early: {kept} {why}", recording.kind)


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


def _wait_for_its_beginning(recording: Recording, interruption: Interruption) -> bool:
    """Tell whether it has begun, or was interrupted before."""
    while not recording.begun.wait(_LOOK_EVERY_S):
        if interruption.is_set():
            return False
    return not recording.refused


def _look_on(recording: Recording, prober: Prober, interruption: Interruption, observer: Observer | None) -> None:
    is_narrow = narrowing(recording)
    while not recording.over.wait(_LOOK_EVERY_S):
        if interruption.is_set():
            prober.stop(INTERRUPTED)
            if not recording.over.wait(_STOP_S):
                # It does not answer.
                prober.end()
                recording.over.wait()
        elif is_narrow():
            prober.stop(NARROW)
        elif observer is not None:
            observer(recording)
