"""What to know before believing the figures of a run: notes, each with a topic for a list of those that have it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from donutwork_magics.analysis.drift import drift
from donutwork_magics.analysis.machine_pauses import Held, behind_others, held_by_machine
from donutwork_magics.analysis.quantiles import pings_needed
from donutwork_magics.analysis.summary import PERCENTILES, summary
from donutwork_magics.display.run_series import RunSeries
from donutwork_magics.sampling.client_load import BUSY_WAKE_MS
from donutwork_magics.sampling.describe import CONTINUED
from donutwork_magics.units import enumerate_some, format_ms, format_rate, plural, short_name

_RATE_REACHED: Final = 0.95
_FEW: Final = 0.01
_ANOTHER: Final = 1.5
"""Corrected percentiles are shown where they are so many times the raw ones, and this much above them."""
_WORTH_MS: Final = 1.0
_CORRECTED: Final = "Corrected, what a punctual caller would have waited"
_MOST_WHOLE: Final = 2
_MOST_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class Note:
    """What to know before believing the figures."""

    topic: str
    """In a few words, for a list of the labels that have it."""
    text: str


def notes_of(series: RunSeries) -> Iterator[Note]:
    """Say what to know of one series."""
    notices = series.client.get("notices") or ()
    saturated = "client_saturated" in notices and series.plan.get("concurrency", 1) > 1
    yield from _notes_on_the_rows(series)
    yield from _notes_on_the_plan(series, saturated=saturated)
    retried = int(series.df["retried"].astype(bool).sum())
    if retried > _FEW * len(series.df):
        yield Note(
            "Pings sent again on a new connection",
            f"{plural(retried, 'ping')} had to be sent again, on a new connection, as the kept one was closed or did "
            "not take them. Their durations hold both attempts, their phases the second.",
        )
    moved = drift(series.df)
    if moved is not None:
        yield Note(
            "Latency drifted",
            f"Latency drifted: its median was {format_ms(moved.first_ms)} in the first third, and "
            f"{format_ms(moved.last_ms)} in the last. No one figure stands for the whole.",
        )
    if saturated:
        yield Note(
            "The client was at its limit",
            f"The client was at its limit: its workers took {series.client['cpu_share']:.0%} of a core. Pings in "
            "flight waited for each other, and the times contain that. Fewer at a time (-c) measure more truly.",
        )
    if "machine_busy" in notices:
        yield Note(
            "Other work on this machine affected the timings",
            f"Other work on this machine affected the timings: {_busy(series.client)}.",
        )


def notes_on_the_journal(attrs: Mapping[str, Any]) -> Iterator[str]:
    """Say which rows of a run are not in the file that was loaded."""
    journal = attrs.get("journal") or {}
    if missing := journal.get("missing"):
        ranges = [f"{first} to {last}" if last > first else str(first) for first, last in journal["missing_seq"]]
        which = f" (seq {enumerate_some(ranges, _MOST_NAMED)})" if ranges else ""
        yield f"{plural(missing, 'row')} {'is' if missing == 1 else 'are'} missing from the journal{which}."
    if elsewhere := journal.get("elsewhere"):
        yield (
            f"{plural(elsewhere, 'row')} of the run {'is' if elsewhere == 1 else 'are'} not in this file: its journal "
            "was moved or truncated while the run went on."
        )
    if attrs.get("ended") == CONTINUED:
        yield "This journal was moved while the run went on: the later rows are in another file."


def notes_of_labels(notes: Mapping[Any, tuple[Note, ...]]) -> Iterator[str]:
    """Say of two labels all that there is to know, and of more which have what: a card is not to grow with them."""
    if len(notes) <= _MOST_WHOLE:
        yield from (f"{short_name(label)}: {note.text}" for label, own in notes.items() for note in own)
        return
    for topic in dict.fromkeys(note.topic for own in notes.values() for note in own):
        having = [short_name(label) for label, own in notes.items() if any(note.topic == topic for note in own)]
        yield f"{topic}: {enumerate_some(having, _MOST_NAMED)}"


def corrected_ms(series: RunSeries) -> dict[str, float]:
    """Return the percentiles from the planned start if they are well above the raw ones, as after a stall."""
    corrected = summary(series.df, metric="corrected_ms").iloc[0]
    both = {name: (float(corrected[name]), float(series.figures[name])) for name in PERCENTILES}
    known = {name: times_ms for name, times_ms in both.items() if all(map(math.isfinite, times_ms))}
    if not any(late > _ANOTHER * raw and late - raw > _WORTH_MS for late, raw in known.values()):
        return {}
    return {name.removesuffix("_ms"): late for name, (late, _raw) in known.items()}


def is_behind(series: RunSeries) -> bool:
    """Tell whether the rate was not reached, and the last pings began late: one late start alone is no trend."""
    planned_hz = series.plan.get("rate_hz")
    if not planned_hz or not series.figures["rate_hz"] < _RATE_REACHED * planned_hz:
        return False
    last = series.df["lag_ms"].iloc[-max(3, len(series.df) // 4) :]
    return bool(last.median() > 1e3 / planned_hz)


def _notes_on_the_rows(series: RunSeries) -> Iterator[Note]:
    if series.missing:
        yield Note(
            "Rows are missing",
            f"Between these rows {plural(series.missing, 'ping')} of the run {'is' if series.missing == 1 else 'are'} "
            "missing, as in a table that was filtered. The figures are of the rows that are here.",
        )
    # Of a watch each start and each change is a run.
    if series.joined > 1 and not series.plan.get("endless"):
        yield Note(
            "Several runs are joined",
            f"{series.joined} runs are joined here under one label. The figures are of all of them together.",
        )


def _notes_on_the_plan(series: RunSeries, *, saturated: bool) -> Iterator[Note]:
    values = ", ".join(f"{name} {format_ms(value)}" for name, value in corrected_ms(series).items())
    corrected = f" {_CORRECTED}: {values}." if values else ""
    behind = is_behind(series)
    pauses, concurrency = series.attrs.get("machine_pauses") or {}, series.plan.get("concurrency", 1)
    if pauses.get("count"):
        held = held_by_machine(series.df, pauses, concurrency=concurrency)
        began_late = held.late and bool(corrected or behind)
        if held.within or began_late:
            text = _stood_still(pauses, held, began_late=began_late)
            yield Note("This machine stood still", text + (corrected if held.alone else ""))
            if held.alone:
                return
    if behind:
        more = "" if saturated else ", or more at a time (-c),"
        yield Note(
            "The planned rate was not reached",
            f"The planned rate was not reached: {format_rate(series.figures['rate_hz'])} of "
            f"{format_rate(series.plan['rate_hz'])}. A lower rate (-r){more} may reach the planned rate.{corrected}",
        )
    elif not corrected:
        return
    elif (
        series.missing == 0
        and series.joined == 1
        and not behind_others(series.df, series.df["duration_ms"], concurrency=concurrency)
    ):
        yield Note(
            "Pings began late, and not behind others",
            "Some pings began late, though none before them took that long: other work on this machine, or other pings "
            f"to the same host, held them up.{corrected}",
        )
    else:
        yield Note(
            "Pings began late, behind others",
            f"Some pings began late, behind others that took long, or timed out.{corrected}",
        )


def _stood_still(pauses: Mapping[str, Any], held: Held, *, began_late: bool) -> str:
    longest = format_ms(pauses["longest_s"] * 1e3)
    often = f"once, for {longest}" if pauses["count"] == 1 else f"{pauses['count']} times, for up to {longest}"
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
    supported = client["wakes"] >= pings_needed(0.95)
    late = f"{format_ms(client['wake_p95_ms'])} late (p95)" if supported else f"over {format_ms(BUSY_WAKE_MS)} late"
    return f"it began {'' if supported else 'some '}pings {late}"


def skipped_starts(skipped: int) -> str:
    """Say how many planned starts a monitor has left out."""
    return f"{plural(skipped, 'planned start')} (during outages, or when more than 30 s behind)"
