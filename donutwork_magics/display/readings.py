"""Looking at rows while they come in: the latest of them as arrays, errors counted once each, and a chart of them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from donutwork_magics.analysis.intervals import percentile, pings_needed
from donutwork_magics.display.card import Figure, Picture, Pictures
from donutwork_magics.display.chart import LIVE, Flags, Numbers, over_time, timeline
from donutwork_magics.sampling.outages import Outage
from donutwork_magics.sampling.rows import NOT_AVAILABLE, Rows
from donutwork_magics.units import format_ms, format_s, format_utc, plural

LATEST: Final = 6000
"""An update looks at so many rows at most: it costs the same after an hour."""
_OF_PERCENTILES: Final = 1000
_QUANTILES: Final = {"p50": 0.50, "p95": 0.95}
_SPANS_S: Final = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """The latest rows of a series, without warm-up."""

    started_s: Numbers
    """Since its first ping."""
    duration_ms: Numbers
    failed: Flags
    of_label: Flags
    """Which have the label of the last ping."""
    errors: int
    """In the whole series."""
    label: str = ""
    """Of the last ping."""
    cut: bool = False
    """Whether there are older rows, which are not among these."""

    @property
    def rate_hz(self) -> float:
        """Starts a second, from the first to the last; NaN before there are two."""
        span_s = float(np.ptp(self.started_s)) if self.started_s.size > 1 else 0.0
        return (self.started_s.size - 1) / span_s if span_s > 0 else math.nan

    def lately_hz(self, now_s: float, *, began_s: float, window_s: float) -> tuple[float, float]:
        """Return the starts a second in the last seconds, rests and hangs and all, and in how many seconds that was.

        The window is shorter where it would begin before `began_s`, or before the oldest ping that is known. The rate
        is NaN where it cannot be said yet.
        """
        if self.cut and self.started_s.size:
            began_s = max(began_s, float(self.started_s[0]))
        since_s = max(now_s - window_s, began_s)
        starts = int((self.started_s >= since_s).sum())
        # One that begins with a ping has one interval less.
        intervals = starts if since_s > began_s else starts - 1
        known = since_s > began_s or starts > 1
        return intervals / (now_s - since_s) if known else math.nan, now_s - since_s

    def percentiles_ms(self) -> tuple[float, float]:
        """Return p50 and p95 of the successes in the window; NaN where there are too few, as in a summary.

        Of several lines they are those of the line that pings: together they would be of none.
        """
        latest = slice(-_OF_PERCENTILES, None)
        values = self.duration_ms[self.of_label][latest][~self.failed[self.of_label][latest]]
        p50_ms, p95_ms = (percentile(values, quantile) for quantile in _QUANTILES.values())
        return p50_ms, p95_ms

    def figures(self) -> tuple[Figure, ...]:
        """Return p50 and p95 as figures that say of which pings they are."""
        size = int(self.of_label.sum())
        is_whole = not self.cut and size <= _OF_PERCENTILES
        window = "so far" if is_whole else f"of the latest {min(size, _OF_PERCENTILES)}"
        figures = []
        for (name, quantile), value_ms in zip(_QUANTILES.items(), self.percentiles_ms(), strict=True):
            caption = window if math.isfinite(value_ms) else f"needs {pings_needed(quantile)} successes"
            figures.append(Figure(format_ms(value_ms), f"{name} {caption}"))
        return tuple(figures)


_NO_TIMES, _NO_FLAGS = np.empty(0), np.empty(0, dtype=np.bool_)
NOTHING: Final = Reading(_NO_TIMES, _NO_TIMES, _NO_FLAGS, _NO_FLAGS, errors=0)
"""Before the first row."""


class Reader:
    """Reads the rows of a series again and again; those are left out that were there before it."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._counted = first
        self._errors = 0
        self._origin_s: float | None = None

    def read(self, rows: Rows) -> Reading:
        """Look at the rows as they are now."""
        tail = rows.tail(max(LATEST, rows.total - self._counted))
        own = max(0, self._first - tail.first)
        # Slices of arrays are copies, and numpy may keep looking at them.
        started_s = np.asarray(tail.started_ms[own:]) / 1e3
        failed = np.asarray(tail.error_codes[own:]) != NOT_AVAILABLE
        counted = np.asarray(tail.warmup[own:]) == 0
        new = max(0, self._counted - tail.first - own)
        self._errors += int((failed[new:] & counted[new:]).sum())
        self._counted = tail.first + own + started_s.size
        if self._origin_s is None and started_s.size:
            self._origin_s = float(started_s[0])
        codes = np.asarray(tail.label_codes[own:])
        latest = slice(max(0, started_s.size - LATEST), None)
        shown = counted[latest]
        return Reading(
            started_s[latest][shown] - (self._origin_s or 0.0),
            np.asarray(tail.duration_ms[own:])[latest][shown],
            failed[latest][shown],
            (codes == codes[-1:])[latest][shown],
            self._errors,
            tail.label,
            cut=tail.first + own > self._first or started_s.size > LATEST,
        )


def live_chart(reading: Reading, elapsed_s: float, last_s: float) -> tuple[Pictures, ...]:
    """Draw the latest rows, if there are any, of a series that has run so long; what is older leaves the chart."""
    if not reading.started_s.size:
        return ()
    span = next((span for span in (*_SPANS_S, last_s) if elapsed_s <= span <= last_s), None)
    first_s = 0.0 if span else elapsed_s - last_s
    if reading.cut and reading.started_s[0] > first_s:
        # Rows came in too fast to draw those of all the time: the chart is of as much as is there.
        span, first_s = None, float(reading.started_s[0])
        last_s = max(elapsed_s - first_s, 1e-3)
    seen = reading.started_s >= first_s
    ok_ms = reading.duration_ms[seen & ~reading.failed]
    alt = f"Durations of the last {format_s(min(elapsed_s, last_s))}: {plural(ok_ms.size, 'ping')}"
    if ok_ms.size:
        alt += f" from {format_ms(ok_ms.min())} to {format_ms(ok_ms.max())}"
    errors = int((seen & reading.failed).sum())
    alt += f", {plural(errors, 'error')}."
    svg = timeline(
        reading.started_s,
        reading.duration_ms,
        reading.failed,
        look=LIVE,
        title=alt,
        span_s=(first_s, first_s + (span or last_s)),
        count_back=span is None,
    )
    return (Pictures((Picture(over_time(ok_ms, errors), alt, svg, live=True),)),)


def down_since(outage: Outage | None, waiting_s: float) -> str:
    """Say since when the service has been down, for how long until now, and why, or for how long a ping has waited."""
    if outage is None:
        return f"no reply for {format_s(waiting_s)}" if waiting_s else ""
    # The wall clock may have been set back meanwhile.
    seconds = max(0.0, time.time() - outage.began_s)
    down = f"{outage.place} down since" if outage.place else "down since"
    return f"{down} {format_utc(outage.began_s, date=False)} ({format_s(seconds)}): {', '.join(outage.kinds)}"
