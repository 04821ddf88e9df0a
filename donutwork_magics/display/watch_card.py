"""How a watch looks: its live card, the line that is its value, and the card that is left."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from donutwork_magics.analysis.summary import pings_needed
from donutwork_magics.display.card import Card, Figure, Pictures, Tone
from donutwork_magics.display.html import muted, to_html
from donutwork_magics.display.readings import Reading, live_picture
from donutwork_magics.display.run import RunCard
from donutwork_magics.display.units import UNKNOWN, format_ms, format_rate, format_utc, plural

if TYPE_CHECKING:
    from donutwork_magics.watch import State, Watch

_CHART_S: Final = 300.0
_RATE_OF_S: Final = 30.0
_TONES: Final[dict[State, Tone]] = {"running": "running", "paused": "off", "stopped": "off"}


def live_card(watch: Watch, reading: Reading) -> Card:
    """Make the card of a watch that is not over."""
    p50_ms, p95_ms = reading.percentiles_ms()
    needed = pings_needed(0.95)
    ok = int((~reading.failed).sum())
    supported = ok >= needed
    drawn = reading.started_s.size > 0
    return Card(
        title="Watch",
        tone=_TONES[watch.state],
        state=f"{watch.series.plan.label}: {watch.state}",
        # A page that has lost the kernel goes on to show it.
        badges=(*_badges(watch), f"as of {format_utc(time.time(), date=False)}"),
        figures=(
            Figure(format_ms(p50_ms), "p50 lately"),
            Figure(format_ms(p95_ms) if supported else UNKNOWN, "p95 lately" if supported else f"p95 needs {needed}"),
            Figure(str(watch.rows.total), "pings"),
            Figure(str(watch.rows.errors), "errors"),
            Figure(format_rate(_rate_hz(reading)), "rate lately"),
        ),
        notes=(watch.problem,) if watch.problem else (),
        sections=(Pictures((live_picture(reading, watch.elapsed_s, _CHART_S),)),) if drawn else (),
    )


def last_card(watch: Watch) -> RunCard:
    """Make the card that a watch leaves."""
    return RunCard(watch.df, (watch.problem,) if watch.problem else ())


def caption(watch: Watch, began_s: float, ended_s: float | None) -> dict[str, str]:
    """Render the line above a panel, which is left where the panel itself cannot be shown.

    Parameters
    ----------
    began_s, ended_s
        When it was begun, and stopped if it was, in seconds since 1970.
    """
    target = watch.series.target
    text = f"Watch of {'the sandbox' if target.sandbox else target.host}, {format_utc(began_s)}"
    if ended_s is None:
        text += ": its panel lives as long as its kernel."
    else:
        text += f" to {format_utc(ended_s)}."
    return {"text/plain": text, "text/html": muted(text)}


def watch_line(watch: Watch) -> dict[str, str]:
    """Render a watch as a value: one line of text, or a small card that says how to go on."""
    tone: Tone = "bad" if watch.problem and watch.state == "stopped" else _TONES[watch.state]
    kept = "" if watch.state == "stopped" else " .stop() ends it."
    card = Card(
        title="Watch",
        tone=tone,
        state=f"{watch.series.plan.label}: {watch.state}, {plural(watch.rows.total, 'ping')} so far",
        badges=_badges(watch),
        notes=(*((watch.problem,) if watch.problem else ()), f"Its .df has the rows so far as a DataFrame.{kept}"),
    )
    return {"text/plain": repr(watch), "text/html": to_html(card)}


def _badges(watch: Watch) -> tuple[str, ...]:
    target = watch.series.target
    return ("sandbox" if target.sandbox else target.host, *((target.env,) if target.env else ()))


def _rate_hz(reading: Reading) -> float:
    if reading.started_s.size < 2:
        return math.nan
    lately = reading.started_s[reading.started_s >= reading.started_s[-1] - _RATE_OF_S]
    span_s = float(lately[-1] - lately[0])
    return (lately.size - 1) / span_s if span_s > 0 else math.nan
