"""What to know before believing the figures of a run: notes, each with a topic for a list of those that have it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from donutwork_magics.analysis.drift import drift
from donutwork_magics.analysis.percentiles import pings_needed
from donutwork_magics.analysis.summary import PERCENTILES, summary
from donutwork_magics.display.run_series import RunSeries
from donutwork_magics.display.units import enumerate_some, format_ms, format_rate, plural, short_name
from donutwork_magics.sampling.client_load import BUSY_CPU_SHARE, BUSY_WAKE_MS

_RATE_REACHED: Final = 0.95
_FEW: Final = 0.01
_ANOTHER: Final = 1.5
"""A time that is so many times longer, and this much, tells another story."""
_WORTH_MS: Final = 1.0
_FROM_THE_PLAN: Final = "Corrected, from the planned start, as for someone who arrived on time"
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
    if "kernel_busy" in notices:
        yield Note(
            "Something else was busy beside the pings",
            f"Something else was busy beside the pings: {_busy(series.client)}. The times contain some of that.",
        )


def notes_of_labels(notes: Mapping[Any, tuple[Note, ...]]) -> Iterator[str]:
    """Say of two labels all that there is to know, and of more which have what: a card is not to grow with them."""
    if len(notes) <= _MOST_WHOLE:
        yield from (f"{short_name(label)}: {note.text}" for label, own in notes.items() for note in own)
        return
    for topic in dict.fromkeys(note.topic for own in notes.values() for note in own):
        having = [short_name(label) for label, own in notes.items() if any(note.topic == topic for note in own)]
        yield f"{topic}: {enumerate_some(having, _MOST_NAMED)}"


def corrected_ms(series: RunSeries) -> dict[str, float]:
    """Return the percentiles from the planned start where they tell another story, as behind a stall; else nothing."""
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
    if series.joined > 1:
        yield Note(
            "Several runs are joined",
            f"{series.joined} runs are joined here under one label. The figures are of all of them together.",
        )


def _notes_on_the_plan(series: RunSeries, *, saturated: bool) -> Iterator[Note]:
    corrected = ", ".join(f"{name} {format_ms(value)}" for name, value in corrected_ms(series).items())
    if is_behind(series):
        more = "" if saturated else ", or more at a time (-c),"
        yield Note(
            "The planned rate was not reached",
            f"The planned rate was not reached: {format_rate(series.figures['rate_hz'])} of "
            f"{format_rate(series.plan['rate_hz'])}. A lower rate (-r){more} may keep to the plan."
            + (f" {_FROM_THE_PLAN}: {corrected}." if corrected else ""),
        )
    elif corrected:
        yield Note(
            "Pings began late, behind others",
            f"Some pings began late, behind others that took long, or timed out. {_FROM_THE_PLAN}: {corrected}.",
        )


def _busy(client: Mapping[str, Any]) -> str:
    causes = []
    if client["other_cpu_share"] >= BUSY_CPU_SHARE:
        causes.append(f"other threads of this kernel took {client['other_cpu_share']:.0%} of a core")
    if client["wake_p95_ms"] >= BUSY_WAKE_MS:
        supported = client["wakes"] >= pings_needed(0.95)
        late = f"{format_ms(client['wake_p95_ms'])} late (p95)" if supported else f"over {format_ms(BUSY_WAKE_MS)} late"
        causes.append(f"this machine began {'' if supported else 'some '}pings {late}")
    return ", and ".join(causes)


def skipped_starts(skipped: int) -> str:
    """Say how many planned starts a monitor has left out."""
    return f"{plural(skipped, 'planned start')}: it was behind by more than 30 s, and went on from then"
