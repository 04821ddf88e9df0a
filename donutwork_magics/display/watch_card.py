"""How a watch looks: its live card, the line that is its value, and the card that is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from IPython.display import display

from donutwork_magics.display.card import Card, Figure, Tone
from donutwork_magics.display.cards import badges_of
from donutwork_magics.display.html import muted, to_html
from donutwork_magics.display.readings import Reading, down_since, live_chart
from donutwork_magics.display.run import RunCard, skipped_starts
from donutwork_magics.units import format_plan, format_rate, format_s, format_utc, plural

if TYPE_CHECKING:
    from donutwork_magics.watch import State, Watch

_CHART_S: Final = 300.0
_RATE_OF_S: Final = 30.0
_TONES: Final[dict[State, Tone]] = {"running": "running", "paused": "off", "stopped": "off"}


def live_card(watch: Watch, reading: Reading) -> Card:
    """Make the card of a watch that is not over."""
    now_s = watch.elapsed_s
    down = down_since(watch.outage, watch.waiting_s)
    rate_hz, rate_of_s = reading.lately_hz(now_s, began_s=now_s - watch.part_s, window_s=_RATE_OF_S)
    # With the time: a page that has lost the kernel goes on to show it.
    state = f"{watch.series.plan.label}: {watch.state} at {format_utc(time.time(), date=False)}"
    return Card(
        title="Watch",
        tone="bad" if watch.outage else _TONES[watch.state],
        state=f"{state}, {down}" if down else state,
        badges=badges_of(watch.series.target),
        figures=(
            *reading.figures(),
            Figure(str(watch.rows.total), "pings"),
            Figure(str(watch.rows.errors), "errors"),
            Figure(format_rate(rate_hz), f"rate, last {format_s(rate_of_s)}"),
        ),
        notes=(
            *((watch.problem,) if watch.problem else ()),
            *((f"Skipped: {skipped_starts(watch.skipped)}.",) if watch.skipped else ()),
        ),
        sections=live_chart(reading, now_s, _CHART_S),
    )


def last_card(watch: Watch) -> RunCard:
    """Make the card that a watch leaves."""
    rows, file = watch.rows, watch.series.journal
    made_room = ""
    if rows.keep is not None and rows.total > rows.keep:
        where = f"; all{_which(watch)} are in {file.name}." if file else ", the most that --keep allows."
        made_room = f"The latest {plural(rows.keep, 'row')} of a watch of {plural(rows.total, 'ping')}{where}"
    return RunCard(watch.df, tuple(filter(None, (watch.problem, made_room))))


def caption(watch: Watch, ended_s: float | None, *, state: bool = True) -> dict[str, str]:
    """Render the line below a panel, which is left where the panel itself cannot be shown."""
    target = watch.series.target
    began = format_utc(watch.began_s)
    # With the time: a notebook that was saved goes on to show it.
    now = f"; {watch.state}, {plural(watch.rows.total, 'ping')} by {format_utc(time.time())}" if state else ""
    when = f"started {began}{now}; it stops when its kernel stops"
    text = f"Watch of {'the sandbox' if target.sandbox else target.host}, "
    text += f"{when if ended_s is None else f'{began} to {format_utc(ended_s)}'}."
    return {"text/plain": text, "text/html": muted(text)}


class CardAtTheEnd:
    """Where no panel can be shown: the cell in which a watch is stopped gets its card."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._is_shown = False

    def draw(self) -> None:
        """Show nothing, and be ready for the next end."""
        self._is_shown = False

    def freeze(self, *, in_cell: bool) -> None:
        """Display the card once."""
        if in_cell and not self._is_shown:
            self._is_shown = True
            display(last_card(self._watch))


def watch_line(watch: Watch) -> dict[str, str]:
    """Render a watch as a value: one line of text, or a small card that says how to go on.

    A notebook keeps the card for good: of a watch that goes on it says how it was started, which stays true, and leaves
    its state to the panel.
    """
    label, file = watch.series.plan.label, watch.series.journal
    journal = f" Each row{_which(watch)} is in {file.name}, too." if file else ""
    stopped = watch.state == "stopped"
    if stopped:
        state, use = f"stopped, {plural(watch.rows.total, 'ping')}", f".df has its rows as a DataFrame.{journal}"
    else:
        state = f"started {format_utc(watch.began_s)}, {format_plan(watch.series.plan.rate_hz)}"
        use = f"Its panel shows how it goes. .df has the rows so far as a DataFrame.{journal} .stop() ends it."
    card = Card(
        title="Watch",
        tone="bad" if stopped and watch.problem else "off",
        state=f"{label}: {state}",
        badges=badges_of(watch.series.target),
        notes=(*((watch.problem,) if watch.problem else ()), use),
    )
    return {"text/plain": repr(watch), "text/html": to_html(card)}


def _which(watch: Watch) -> str:
    """Say which rows are in the file of the journal; nothing where all are."""
    after = f" after the first {watch.rows_elsewhere}" if watch.rows_elsewhere else ""
    before = " before the failure" if watch.journal_failed else ""
    return " and".join(filter(None, (after, before)))
