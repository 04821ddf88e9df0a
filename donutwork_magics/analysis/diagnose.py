"""What is doubtful about a measurement, and what to do about it: findings, which are the notes of a run's card."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from donutwork_magics.analysis.counted import (
    above_wait,
    as_array,
    attributes,
    clock_s,
    clock_was_set_by_s,
    counted,
    overdue_ms,
)
from donutwork_magics.analysis.intervals import FEWEST_EFFECTIVE, n_effective, pings_needed
from donutwork_magics.analysis.series import (
    RunSeries,
    corrected_ms,
    is_behind,
    labels_of,
    rate_hz,
    series_of,
    with_labels,
)
from donutwork_magics.analysis.shape import bursts, drift, modes, slow_start
from donutwork_magics.frame.schema import COLUMNS, restored
from donutwork_magics.pulse import MACHINE_PAUSE_MS
from donutwork_magics.sampling.machine import BUSY_WAKE_MS
from donutwork_magics.sampling.series import CONTINUED
from donutwork_magics.units import enumerate_some, format_ms, format_rate, format_share, format_tick_s, plural

_SMALLEST_OVERLAP_MS: Final = MACHINE_PAUSE_MS / 2
"""Threads wake up one after the other: a ping may begin shortly before the pause is reported to have ended."""

_MOST_LAG: Final = 2.0
"""A lag may exceed the pause: a worker also waits for the interpreter lock before and after it, for shorter times."""

_MOST_EXPLAINED: Final = 0.1
"""Where durations explain this share of the largest lag at most, something else made pings late."""
_NO_PAUSES: Final[Mapping[str, Any]] = {"count": 0, "total_s": 0.0, "longest_s": 0.0, "first": ()}
_FEW: Final = 0.01
_MANY: Final = 0.05
CORRECTED: Final = "Corrected, what a punctual caller would have waited"
"""Begins the sentence with the corrected percentiles."""
_MOST_NAMED: Final = 4
_LONG_WAIT_MS: Final = 100.0
_NEW: Final = 0.05
_FEWEST_NEW: Final = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is doubtful about a measurement: a name that is always the same, what was seen, what to do."""

    name: str
    text: str
    advice: str
    evidence: Mapping[str, float] = field(default_factory=dict)
    """The numbers behind it, by name."""
    label: str | None = None
    """The series that it is of; None where a table has one series only, or it is of the whole table."""
    casts_doubt: bool = True
    """Whether it makes the figures that are shown doubtful, and not only those that are not."""

    def __str__(self) -> str:
        return f"{self.text} {self.advice}"


def diagnose(df: pd.DataFrame) -> tuple[Finding, ...]:
    """Say what is doubtful about a measurement, and what to do about it.

    Parameters
    ----------
    df
        A table of schema 1.

    Returns
    -------
    tuple of Finding
        Empty where nothing is doubtful.

    Raises
    ------
    AnalysisError
        A ValueError: the frame lacks a column.
    """
    counted(df, "duration_ms", more=COLUMNS)
    df = with_labels(restored(df))
    attrs, labels = attributes(df), labels_of(df)
    several = len(labels) > 1
    return findings(df, attrs, {label: series_of(df, attrs, label if several else None) for label in labels})


def findings(df: pd.DataFrame, attrs: Mapping[str, Any], series: Mapping[Any, RunSeries]) -> tuple[Finding, ...]:
    """Find what is doubtful about a table whose series are known already."""
    of_series = [
        replace(finding, label=str(label)) if len(series) > 1 else finding
        for label, own in series.items()
        for find in (_of_rows, _of_start, _of_shape, _of_connections, _of_client)
        for finding in find(own)
    ]
    return (*_of_journal(attrs), *_of_end(df, attrs), *of_series, *_of_table(df, attrs))


def _of_journal(attrs: Mapping[str, Any]) -> Iterator[Finding]:
    """Find which rows of a run are not in the file that was loaded."""
    journal = attrs.get("journal") or {}
    name, advice = "journal incomplete", "The figures are of the rows that are here."
    if missing := journal.get("missing"):
        ranges = [f"{first} to {last}" if last > first else str(first) for first, last in journal["missing_seq"]]
        which = f" (seq {enumerate_some(ranges, _MOST_NAMED)})" if ranges else ""
        text = f"{_are(missing, 'row')} missing from the journal{which}."
        yield Finding(name, text, advice, {"rows": missing})
    if elsewhere := journal.get("elsewhere"):
        text = (
            f"{plural(elsewhere, 'row')} of the run {'is' if elsewhere == 1 else 'are'} not in this file: its journal "
            "was moved or truncated while the run went on."
        )
        yield Finding(name, text, advice, {"rows": elsewhere})
    if elsewhere := attrs.get("journal_elsewhere"):
        text = (
            f"{plural(elsewhere, 'row')} of the run {'is' if elsewhere == 1 else 'are'} no longer in the file of the "
            "journal: it was moved or truncated while the run went on."
        )
        evidence = {"rows": elsewhere}
        yield Finding("journal moved", text, "This table has them all: save it.", evidence, casts_doubt=False)
    if unread := attrs.get("unread"):
        text = f"{_are(unread, 'row')} not here: the kernel did not read them in time."
        advice = "The journal of the run has them, if there is one (--journal)."
        yield Finding("rows unread", text, advice, {"rows": unread})
    if attrs.get("ended") == CONTINUED:
        text = "This journal was moved while the run went on: the later rows are in another file."
        yield Finding(name, text, "Load that too, and join the tables.")


def _of_end(df: pd.DataFrame, attrs: Mapping[str, Any]) -> Iterator[Finding]:
    """Find pings that had waited for so long when a run ended that the server may have hung."""
    in_flight = attrs.get("in_flight") or ()
    waited_ms = max((each["waited_ms"] for each in in_flight), default=0.0)
    # One that was interrupted at any time has waited for as long as others take.
    if waited_ms > max(_LONG_WAIT_MS, 2.0 * float(df["duration_ms"].max() if df["duration_ms"].notna().any() else 0.0)):
        who = "a ping" if len(in_flight) == 1 else f"the slowest of {len(in_flight)} pings"
        text = (
            f"As the run ended, {who} in flight had waited {format_ms(waited_ms)} for a reply, longer than any other: "
            "no figure contains that."
        )
        advice = "Let such pings time out before the run ends: then they are rows."
        yield Finding("no reply at the end", text, advice, {"pings": len(in_flight), "waited_ms": waited_ms})


def _are(count: int, noun: str) -> str:
    return f"{plural(count, noun)} {'is' if count == 1 else 'are'}"


def _of_table(df: pd.DataFrame, attrs: Mapping[str, Any]) -> Iterator[Finding]:
    times = clock_s(df).groupby(df["label"]).agg(["min", "max"]).sort_values("min")
    if len(times) > 1 and (times["min"].to_numpy()[1:] >= times["max"].to_numpy()[:-1]).all():
        yield Finding(
            "not interleaved",
            "The labels ran one after the other: drift between the lines can look like a difference.",
            "Measure them in one %%donutwork cell, whose lines run interleaved.",
            {"labels": len(times)},
            casts_doubt=False,
        )
    if not attrs:
        yield Finding(
            "place unknown",
            "Where this was measured is not in the table: df.attrs was lost, for example by concat or a CSV file.",
            "A journal keeps it.",
            {"rows": len(df)},
            casts_doubt=False,
        )


def _of_rows(series: RunSeries) -> Iterator[Finding]:
    if series.missing:
        text = (
            f"Between these rows {plural(series.missing, 'ping')} of the run "
            f"{'is' if series.missing == 1 else 'are'} missing, as in a table that was filtered."
        )
        advice = "The figures are of the rows that are here."
        yield Finding("rows missing", text, advice, {"rows": series.missing})
    # Of a watch each start and each change is a run.
    if series.joined > 1 and not series.plan.get("endless"):
        yield Finding(
            "runs joined",
            f"{series.joined} runs are joined here under one label. The figures are of all of them together.",
            "Tell them apart by their time, or give each a label.",
            {"runs": series.joined},
        )
    # Tables without the ids of their runs may have the same numbers for different pings.
    repeated = int(series.df.dropna(subset=["run", "seq"]).duplicated(["run", "seq"]).sum())
    if repeated:
        yield Finding(
            "pings twice",
            f"{repeated} of {plural(len(series.df), 'row')} {'is' if repeated == 1 else 'are'} of pings that are here "
            "already, as in a table that was joined with itself: such pings count more than once.",
            'Drop the repeats: df.drop_duplicates(["run", "seq"]).',
            {"rows": repeated},
        )
    set_by_s = clock_was_set_by_s(series.df)
    if set_by_s:
        by = f"{'+' if set_by_s > 0 else ''}{format_tick_s(set_by_s)}"
        yield Finding(
            "clock set",
            f"The clock of this machine was set during the run ({by}), or the machine slept.",
            "Trust started_ms for the order of the rows, not timestamp. Durations use another clock and are correct.",
            {"set_by_s": set_by_s},
        )
    failed, pings = int(series.figures["errors"]), int(series.figures["n"])
    if failed > _MANY * pings and pings - failed >= pings_needed(0.5):
        yield Finding(
            "many errors",
            f"{failed} of {pings} pings failed: the percentiles are of the other {pings - failed} only.",
            "Look at the share and the kinds of the errors first.",
            {"failed": failed, "pings": pings},
        )
    rrt_ms = as_array(_successes(series)["rrt_ms"])
    network_ms = as_array(_successes(series)["ttfb_ms"]) - rrt_ms
    if above := above_wait(network_ms):
        replies, most_ms = int(np.isfinite(network_ms).sum()), -float(np.nanmin(network_ms))
        yield Finding(
            "RRT above the wait",
            f"In {above} of {replies} replies the server reports more than the wait for the first byte, by up to "
            f"{format_ms(most_ms)}: there its RRT is no part of that wait.",
            "Server and network time cannot be told apart: do not judge by network_ms.",
            {"above": above, "replies": replies, "most_ms": most_ms},
        )
    missing = int(np.isnan(rrt_ms).sum())
    if missing > _FEW * rrt_ms.size:
        text = f"{missing} of {rrt_ms.size} replies have no RRT that is a time."
        advice = "For these, server and network time cannot be told apart"
        if missing == rrt_ms.size:
            text, advice = "No reply has an RRT that is a time.", "Server and network time cannot be told apart"
        elif np.isnan(rrt_ms[-missing:]).all():
            text = f"The server stopped reporting its RRT: the last {missing} of {rrt_ms.size} replies have none."
        instead = "" if _successes(series)["rrt"][np.isnan(rrt_ms)].isna().all() else "; the column rrt has the text"
        evidence = {"missing": missing, "replies": rrt_ms.size}
        yield Finding("RRT missing", text, f"{advice}{instead}.", evidence)


def _of_start(series: RunSeries) -> Iterator[Finding]:
    """Find why pings began late."""
    late = corrected_ms(series)
    values = ", ".join(f"{name} {format_ms(value)}" for name, value in late.items())
    corrected = f" {CORRECTED}: {values}." if values else ""
    behind = is_behind(series)
    of_runs = list(_by_run(series))
    if any(run.pauses["count"] for run in of_runs):
        held = _held_by_machine(of_runs)
        began_late = held.late and bool(corrected or behind)
        if held.within or began_late:
            text = _stood_still(held, began_late=began_late) + (corrected if held.alone else "")
            advice = "Measure again while nothing stops or suspends this machine."
            evidence = {"pauses": held.pauses, "longest_s": held.longest_s, "within_durations": held.within}
            yield Finding("machine paused", text, advice, evidence)
            if held.alone:
                return
    if behind:
        (reached_hz, in_blocks), planned_hz = rate_hz(series), series.plan["rate_hz"]
        more = "" if _is_saturated(series) or series.plan.get("endless") else ", or more at a time (-c),"
        of_what = " within its blocks" if in_blocks else ""
        text = f"The planned rate was not reached: {format_rate(reached_hz)} of {format_rate(planned_hz)}{of_what}."
        advice = f"A lower rate (-r){more} may reach the planned rate."
        yield Finding("rate not reached", text + corrected, advice, {"rate_hz": reached_hz, "planned_hz": planned_hz})
    elif not corrected:
        return
    elif overdue := overdue_ms(series.attrs, series.df["label"].unique()).size:
        were = f"{plural(overdue, 'planned start')} {'was' if overdue == 1 else 'were'}"
        text = f"As the run ended, {were} due and not made."
        advice = "Judge the service by these times: the table has no rows of such starts."
        yield Finding("starts not made", text + corrected, advice, {"starts": overdue})
    else:
        text, advice = ", behind others that took long, or timed out.", "Judge the service by the corrected times."
        if not _behind_others(of_runs, series.df["duration_ms"]):
            text = ", though none before them took that long: other work on this machine, or other pings to the same "
            text, advice = f"{text}host, held them up.", "Measure again while nothing else is busy here."
            if series.missing:
                text, advice = "; rows that are missing here may tell why.", "Diagnose the whole table."
        yield Finding("late starts", f"Some pings began late{text}{corrected}", advice, late)


def _of_shape(series: RunSeries) -> Iterator[Finding]:
    """Find what one percentile would hide, or not support."""
    ok = _successes(series)
    values_ms = as_array(ok["duration_ms"].dropna())
    n = values_ms.size
    effective = n_effective(values_ms <= np.median(values_ms)) if n else 0.0
    moved = drift(values_ms)
    # Where latency drifts, all pings near each other are alike.
    if 0 < effective < FEWEST_EFFECTIVE and moved is None:
        yield _too_few(n, effective)
    if moved is not None:
        first, last = format_ms(moved.first_ms), format_ms(moved.last_ms)
        yield Finding(
            "drift",
            f"Latency drifted: its median was {first} in the first third, and {last} in the last.",
            "No single figure describes the run. Lines of one cell drift alike, and can be compared.",
            moved._asdict(),
        )
    # The handshake of the first connection is no warm-up.
    reused = ok["reused"].to_numpy(dtype=bool)
    kept_ms = as_array(ok.loc[reused, "duration_ms"].dropna()) if reused.any() and reused.mean() > 0.5 else values_ms
    if (slow := slow_start(kept_ms)) and moved is None:
        slow_ms, usual_ms = float(np.median(kept_ms[:slow])), float(np.median(kept_ms[slow:]))
        leave_out = "" if series.plan.get("endless") else f", with a warm-up (-w {-(-slow // 10) * 10}) the next time"
        yield Finding(
            "warm-up not over",
            f"The first {slow} pings took {format_ms(slow_ms)}, the others {format_ms(usual_ms)} (medians).",
            f"Leave them out{leave_out}.",
            {"pings": slow, "first_ms": slow_ms, "others_ms": usual_ms},
        )
    if moved is None and (found := modes(values_ms)):
        around = " and ".join(f"{format_ms(mode.median_ms)} ({format_share(mode.share)})" for mode in found)
        yield Finding(
            "several modes",
            f"Durations gather around {around}: no ping took as long as a percentile between them.",
            "See whether peer, http_version or reused tells them apart: df.donutwork.summary(by=...).",
            {f"mode_{at}_ms": mode.median_ms for at, mode in enumerate(found, start=1)},
        )
    elif together := bursts(values_ms):
        yield Finding(
            "bursts of outliers",
            f"{together.together} of {together.outliers} pings above {format_ms(together.above_ms)} came together.",
            "See when, in the timeline; only a longer run tells whether they come back.",
            together._asdict(),
        )


def _too_few(n: int, effective: float) -> Finding:
    evidence = {"n": n, "n_effective": effective}
    if n > max(FEWEST_EFFECTIVE, 2 * effective):
        text = f"The pings are too alike for intervals: {n} of them tell as much as {effective:.0f} independent ones."
        return Finding("pings too alike", text, "Measure for longer, or at a lower rate (-r).", evidence)
    text, advice = "intervals", "p50 needs about 40 pings for an interval, p95 72, p99 368."
    if n < pings_needed(0.5):
        text, advice = "any percentile", f"p50 needs {pings_needed(0.5)}."
    text = f"{_are(n, 'ping')} too few for {text}."
    return Finding("too few pings", text, advice, evidence, casts_doubt=False)


def _of_connections(series: RunSeries) -> Iterator[Finding]:
    retried = int(series.df["retried"].astype(bool).sum())
    if retried > _FEW * len(series.df):
        yield Finding(
            "retried",
            f"{plural(retried, 'ping')} {'was' if retried == 1 else 'were'} retried on a new connection, as the kept "
            "one was closed or did not take them. Their durations hold both attempts, their phases the second.",
            "Leave them out where phases matter.",
            {"pings": retried},
        )
    ok = _successes(series)
    opened = int((~ok["reused"].astype(bool)).sum())
    # Each worker opens one, another in each run, and another where a ping has failed.
    again = opened - sum(run.concurrency for run in _by_run(series)) - int(series.figures["errors"])
    is_warm = not series.plan["cold"] if "cold" in series.plan else opened < len(ok) / 2
    if is_warm and again >= max(_FEWEST_NEW, _NEW * len(ok)):
        yield Finding(
            "connections re-made",
            f"{opened} of {len(ok)} pings had to open a new connection: something on the way does not keep them.",
            'Compare both kinds: df.donutwork.percentiles(by="reused").',
            {"new": opened, "successes": len(ok)},
        )


def _of_client(series: RunSeries) -> Iterator[Finding]:
    if _is_saturated(series):
        yield Finding(
            "client at its limit",
            f"The client was at its limit: its workers took {series.client['cpu_share']:.0%} of a core. Pings in "
            "flight waited for each other, and the times contain that.",
            "Lower -c for more accurate times.",
            {"cpu_share": series.client["cpu_share"]},
        )
    if "machine_busy" in (series.client.get("notices") or ()):
        yield Finding(
            "other work",
            f"Other work on this machine affected the timings: {_busy(series.client)}.",
            "Measure again while nothing else is busy here.",
            {"wake_p95_ms": series.client["wake_p95_ms"]},
        )


def _is_saturated(series: RunSeries) -> bool:
    notices = series.client.get("notices") or ()
    return "client_saturated" in notices and series.plan.get("concurrency", 1) > 1


def _successes(series: RunSeries) -> pd.DataFrame:
    return series.rows[series.rows["error"].isna()]


def _stood_still(held: _Held, *, began_late: bool) -> str:
    longest = format_ms(held.longest_s * 1e3)
    often = f"once, for {longest}" if held.pauses == 1 else f"{held.pauses} times, for up to {longest}"
    why = "the process was stopped or suspended, or other code kept its threads waiting"
    texts = [f"This machine stood still {often}: {why}."]
    if began_late:
        whose = "Pings began late because of that, not because of the API."
        texts.append(whose if held.alone else "Some pings began late because of that.")
    if held.within:
        of_these = "The duration of 1 ping contains" if held.within == 1 else f"{held.within} durations contain"
        texts.append(f"{of_these} such a pause.")
    if held.failed:
        who = "That ping" if held.within == 1 else f"{held.failed} of these pings"
        texts.append(f"{who} failed, perhaps because of it. An outage at that time may be no outage of the API.")
    return " ".join(texts)


def _busy(client: Mapping[str, Any]) -> str:
    if client["wakes"] < pings_needed(0.95):
        return f"some pings began over {format_ms(BUSY_WAKE_MS)} late"
    return f"pings began up to {format_ms(client['wake_p95_ms'])} late (p95)"


class _OfRun(NamedTuple):
    """The rows of one run, and what is known of it: its pauses are on the clock of its rows, and of its machine."""

    df: pd.DataFrame
    pauses: Mapping[str, Any]
    concurrency: int
    """How many pings were in flight at most."""
    most_late_ms: float


def _by_run(series: RunSeries) -> Iterator[_OfRun]:
    for run, df in series.df.groupby(series.df["run"].fillna("")):
        attrs = series.known.get(str(run), {})
        plans = attrs.get("plan") or [{}]
        own = [plan for plan in plans if len(plans) == 1 or plan.get("label") == df["label"].iloc[0]]
        pauses = attrs.get("machine_pauses") or _NO_PAUSES
        concurrency = max((plan.get("concurrency", 1) for plan in own), default=1)
        yield _OfRun(df, pauses, concurrency, float(df["lag_ms"].fillna(0.0).max()))


class _Held(NamedTuple):
    """How pauses of this machine show in some rows."""

    pauses: int
    longest_s: float
    within: int
    """Pings whose duration holds one."""
    failed: int
    """How many of these failed."""
    late: bool
    """Whether pings were to begin during one; also where only some of the pauses are known."""
    alone: bool
    """Whether the pauses explain the lags: none is much longer, and durations explain next to nothing of them."""


def _held_by_machine(of_runs: Sequence[_OfRun]) -> _Held:
    """Find the pings that pauses of this machine held up.

    A server that stalls shows in a duration: while all workers wait for replies, the next ping cannot begin. A lag that
    no duration explains comes from this machine.
    """
    within_ms, late, explained = [], False, []
    small_ms = _MOST_EXPLAINED * max(run.most_late_ms for run in of_runs)
    for df, pauses, _, most_late_ms in of_runs:
        started_ms = df["started_ms"]
        within_ms.append(_paused_ms(started_ms, started_ms + df["duration_ms"], pauses))
        late |= bool((_paused_ms(df["scheduled_ms"], started_ms, pauses) > 0).any())
        late |= pauses["count"] > len(pauses["first"])
        paused_ms = pauses["total_s"] * 1e3 + pauses["count"] * MACHINE_PAUSE_MS
        explained.append(most_late_ms <= max(small_ms, _MOST_LAG * paused_ms))
    df, held_ms = pd.concat([run.df for run in of_runs]), pd.concat(within_ms)
    within = held_ms > 0
    # A pause may have begun a little earlier than is known.
    own_ms = df["duration_ms"] - held_ms - MACHINE_PAUSE_MS * within
    return _Held(
        pauses=sum(run.pauses["count"] for run in of_runs),
        longest_s=max(run.pauses["longest_s"] for run in of_runs),
        within=int(within.sum()),
        failed=int((within & df["error"].notna()).sum()),
        late=late,
        alone=all(explained) and not _behind_others(of_runs, own_ms),
    )


def _behind_others(of_runs: Sequence[_OfRun], duration_ms: pd.Series[float]) -> bool:
    """Tell whether such durations explain that pings began late."""
    explained_ms = max(_behind_ms(run, duration_ms) for run in of_runs)
    return explained_ms > _MOST_EXPLAINED * max(run.most_late_ms for run in of_runs)


def _behind_ms(run: _OfRun, duration_ms: pd.Series[float]) -> float:
    """Compute how late such durations let pings of a run begin: each worker has one ping in flight."""
    rows = run.df.assign(duration_ms=duration_ms).dropna(subset=["scheduled_ms", "started_ms", "duration_ms"])
    rows = rows.sort_values("scheduled_ms", kind="stable")
    # Why the first one was late, rows that are no longer here might tell.
    free_ms = rows["started_ms"].tolist()[:1] * run.concurrency
    largest_ms = 0.0
    for scheduled_ms, took_ms in zip(rows["scheduled_ms"].tolist(), rows["duration_ms"].tolist(), strict=True):
        begins_ms = max(scheduled_ms, free_ms[0])
        largest_ms = max(largest_ms, begins_ms - scheduled_ms)
        heapq.heapreplace(free_ms, begins_ms + took_ms)
    return largest_ms


def _paused_ms(from_ms: pd.Series[float], until_ms: pd.Series[float], pauses: Mapping[str, Any]) -> pd.Series[float]:
    """Compute for how much of each time this machine stood still, as far as that is known."""
    paused_ms = pd.Series(0.0, index=from_ms.index)
    for at_s, pause_s in pauses["first"]:
        overlap_ms = until_ms.clip(upper=(at_s + pause_s) * 1e3) - from_ms.clip(lower=at_s * 1e3)
        paused_ms += overlap_ms.where(overlap_ms >= _SMALLEST_OVERLAP_MS, 0.0)
    return paused_ms
