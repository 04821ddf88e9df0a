"""Repeated pings into a DataFrame, for plain scripts; the magics do the same with a progress display."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from donutwork_magics.client.advice import advice
from donutwork_magics.client.client import check_arguments, check_http
from donutwork_magics.client.endpoints import PING
from donutwork_magics.client.settings import Target
from donutwork_magics.client.target import current_target
from donutwork_magics.errors import Interrupted, OutOfThreadsError, SeriesError
from donutwork_magics.interrupts import interrupts
from donutwork_magics.sampling.journal import journal_path, open_journals
from donutwork_magics.sampling.plan import GENTLE_RATE_HZ, Plan
from donutwork_magics.sampling.run import Ending, Run, Series, run_series
from donutwork_magics.sampling.warm_up import warm_up
from donutwork_magics.types import Env, Family, Http

if TYPE_CHECKING:
    import pandas as pd


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
        A file to which each row is written as it is completed, as JSON lines; `donutwork_magics.load` reads it. An
        existing journal is continued.

    Returns
    -------
    pandas.DataFrame
        Schema 1, one row a ping; a failed ping is a row with its ``error``.

    Raises
    ------
    SettingsError
        A variable is missing or not usable, the sandbox is on and has died, or the file cannot be a journal; nothing
        was sent.
    ValueError
        An argument cannot be used, or the plan is not polite without `allow_load`; nothing was sent.
    SeriesError
        The series had to end early; the rows are in its ``df``.
    OutOfThreadsError
        This process can start no further thread; nothing was sent.
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
    if not (journal is None or isinstance(journal, str | os.PathLike)):
        raise ValueError("journal needs the name of a file, or None.")
    where = current_target(env) if target is None else target
    check_http(http, sandbox=target is None and where.sandbox)
    impolite = plan.impolite(loopback=where.is_loopback, permission="allow_load=True")
    if impolite:
        raise ValueError(impolite)
    # Imported before the first ping: afterwards it would delay the answer to an interrupt by a second or two.
    from donutwork_magics.frame.table import table

    warm_up()
    series = Series(plan, where, http, family, timeout_s, None if journal is None else journal_path(journal))
    with interrupts() as interruption, open_journals([series.journal]) as journals:
        run = Run(journals=journals)
        run_series(run, series)
        run.finish(interrupted=interruption.is_set())
        df = table(run)
        interruption.keep(df)
        error = early_end(run, "the df of this error", interrupted=interruption.is_set())
        if error is not None:
            error.df = df
            raise error
    return df


def early_end(run: Run, place: str, *, interrupted: bool) -> SeriesError | Interrupted | None:
    """Return the error of a run that ended before its plan, or was interrupted, in one line; None where neither is so.

    Parameters
    ----------
    place
        Where its rows are, in words.
    interrupted
        An interrupt has come, be it when the last ping had ended.
    """
    ending = run.ending
    if ending is None and not interrupted:
        return None
    rows = len(run.rows)
    kept = f"{rows} row is kept in {place}." if rows == 1 else f"{rows} rows are kept in {place}."
    if ending is None or not (why := reason_of(ending)):
        return Interrupted(kept)
    # The advice comes last: it may end with a command.
    return SeriesError(
        f"The series ended early: {kept} {why}", ending.sample.error if ending.sample is not None else None
    )


def reason_of(ending: Ending) -> str:
    """Return what happened and what to do next, in one line; empty for an interrupt."""
    if ending.journal_failure:
        return f"The journal cannot be written ({ending.journal_failure}). Make room, or choose another place."
    if ending.out_of_threads:
        return str(OutOfThreadsError())
    if ending.broken_by:
        return f"Unexpected: {ending.broken_by}, a fault of this extension. Try again, and report it if it comes back."
    return "" if ending.sample is None else advice(ending.sample, ending.target, PING)
