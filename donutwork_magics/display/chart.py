"""Small charts as SVG text: arrays of numbers in, a picture of bounded size out, however many numbers there are.

Each column of a timeline shows the least, the middle and the greatest of its values (min/max decimation), so that no
outlier is lost and the time to draw depends on the width. An axis is logarithmic where its values span a factor of ten
or more, as latencies with a tail do. Bins follow Freedman and Diaconis ("On the histogram as a density estimator: L2
theory", 1981).
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from donutwork_magics.units import format_ms, format_tick_ms, format_tick_s, short_name

Numbers: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Look:
    """How a chart is drawn: width, height and letters in pixels without scaling, and its colours."""

    width: int
    height: int
    letter: int
    text: str
    value: str
    error: str
    fluid: bool = False
    """It gives way to a narrow page in its width alone: letters and strokes keep their size."""

    @property
    def plot(self) -> tuple[int, int]:
        """Where its values begin and end; beside them are the names of an axis."""
        # In a fluid chart those are beside what is stretched.
        return (0, self.width - _LEFT - _RIGHT) if self.fluid else (_LEFT, self.width - _RIGHT)

    def across(self, x: float) -> str:
        """Write a place of the plot for a text, which is not stretched with it."""
        return f"{100 * x / self.plot[1]:.3g}%" if self.fluid else _short(x)


SAVED: Final = Look(288, 132, 11, text="#767d86", value="#4c8dd6", error="#cf222e")
"""An image, which knows nothing of the page around it: its colours pass on white and on #111. Two stand side by side in
a card, and one fills a narrow page."""
LIVE: Final = Look(
    *(560, 160, 12),
    text="currentColor",
    value="var(--jp-brand-color1,#4c8dd6)",
    error="var(--jp-error-color1,#cf222e)",
    fluid=True,
)
"""Drawn into a page, in the colours of its theme; it fills a card, wide or narrow."""

MOST_RIDGES: Final = 8
"""Labels whose histograms are drawn."""

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_LEFT: Final = 50
_RIGHT: Final = 10
_TOP: Final = 8
_BOTTOM: Final = 19
_STRIP: Final = 24
"""The height of the strip of errors, below the values."""
_CROSS: Final = 6
_SPAN_OF_LOG: Final = 10.0
_FEWEST_BINS: Final = 8
_MOST_BINS: Final = 48
_MOST_BINS_OF_RIDGES: Final = 32
_RIDGE: Final = 24
_NAME: Final = 18
_MOST_TICKS: Final = 4
_TIME_STEPS_S: Final = (
    *(1, 2, 5, 10, 20, 30),
    *(60, 120, 300, 600, 1200, 1800),
    *(3600, 7200, 14_400, 28_800, 43_200, 86_400),
)
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class _Axis:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, values: Numbers) -> Numbers:
        """Return the pixels of some values; one that is outside stands at the edge."""
        low, high = self.low, self.high
        if self.logarithmic:
            values, low, high = np.log10(values), math.log10(low), math.log10(high)
        share = (np.clip(values, low, high) - low) / (high - low)
        return np.asarray(self.start + share * (self.end - self.start), dtype=np.float64)

    def ticks(self) -> list[float]:
        """Return two to five round values on the axis."""
        if not self.logarithmic:
            return _even_ticks(self.low, self.high, _round_up((self.high - self.low) / _MOST_TICKS))
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for digits in ((1, 2, 5), (1, 3), (1,)):
            values = [digit * 10.0**power for power in range(first, last + 1) for digit in digits]
            inside = [value for value in values if self.low <= value * 1.0001 and value <= self.high * 1.0001]
            if len(inside) <= _MOST_TICKS + 1:
                return inside
        return inside[:: math.ceil(len(inside) / _MOST_TICKS)]


def timeline(
    started_s: Numbers,
    duration_ms: Numbers,
    failed: Flags,
    *,
    look: Look = SAVED,
    title: str = "",
    span_s: tuple[float, float] | None = None,
    count_back: bool = False,
    column_px: int = 2,
) -> str:
    """Draw durations over the time of their start, and below them a strip with a cross for errors; some 8 kB at most.

    The title says what there is to see where no ``alt`` does. Time may be counted back from the end, which is now. What
    is nearer to each other than a column, where pings are many, becomes one stroke.
    """
    drawn = np.isfinite(started_s) & (np.isfinite(duration_ms) | failed)
    if span_s is not None:
        drawn &= started_s >= span_s[0]
    started_s, duration_ms, failed = started_s[drawn], duration_ms[drawn], failed[drawn]
    bottom = look.height - _BOTTOM - _STRIP
    first, last = span_s or ((float(started_s.min()), float(started_s.max())) if started_s.size else (0.0, 0.0))
    # A cross at the beginning must not touch the name of its strip.
    left, right = look.plot
    time = _Axis(first, max(last, first + 1e-3), left + _CROSS, right)
    parts = [*_time_ticks(time, bottom + _STRIP, look, count_back=count_back)]
    if not failed.all():
        ok_ms = duration_ms[~failed]
        values = _value_axis(ok_ms, bottom, _TOP)
        band = _band(time.place(started_s[~failed]), values.place(ok_ms), look, column_px)
        parts = [*_value_grid(values, look), *parts, *band]
    parts += _strip(time.place(started_s[failed]), bottom + _STRIP, look, max(_CROSS, column_px))
    return _document(parts, look, title)


@dataclass(frozen=True, slots=True)
class Bins:
    """How many durations are in each bin of a histogram; of several labels, on one axis."""

    edges: Numbers
    logarithmic: bool
    counts: Mapping[str, Numbers]
    """By label."""


def bins_of(parts_ms: Mapping[str, Numbers]) -> Bins:
    """Count the durations of each label, of the first few."""
    shown = {label: values[np.isfinite(values)] for label, values in list(parts_ms.items())[:MOST_RIDGES]}
    together = np.concatenate([np.empty(0), *shown.values()])
    edges, logarithmic = _edges(together, _MOST_BINS_OF_RIDGES if len(shown) > 1 else _MOST_BINS)
    counts = {label: np.histogram(values, edges)[0].astype(np.float64) for label, values in shown.items()}
    return Bins(edges, logarithmic, counts)


def histogram(bins: Bins, marks: Mapping[str, float]) -> str:
    """Draw how often which duration of one label occurs, and point at some values by their names, such as ``p50``."""
    bottom, top = SAVED.height - _BOTTOM, _TOP + 14
    across = _axis_of(bins)
    [counts] = bins.counts.values()
    parts = [
        _filled(across, bins, counts, bottom, top),
        f'<path d="M{_RIGHT} {bottom}H{SAVED.width - _RIGHT}" stroke="currentColor" stroke-opacity=".6"/>',
        *_value_ticks(across, bottom),
        *_marks(across, marks, top, bottom),
    ]
    return _document(parts, SAVED)


def ridges(bins: Bins, p50_ms: Mapping[str, float]) -> str:
    """Draw the histograms of several labels one below the other, on one axis, each with its p50 and a mark there."""
    look = replace(SAVED, height=(_NAME + _RIDGE) * len(bins.counts) + _BOTTOM)
    across = _axis_of(bins)
    parts: list[str] = []
    for row, (label, counts) in enumerate(bins.counts.items(), start=1):
        bottom = (_NAME + _RIDGE) * row
        mark_ms = p50_ms.get(label, math.nan)
        p50 = f", p50 {format_ms(mark_ms)}" if math.isfinite(mark_ms) else ""
        ends = f"M{_short(across.start)} {bottom}H{_short(across.end)}"
        parts += [
            _label(across.start, bottom - _RIDGE - 5, short_name(label) + p50, "start"),
            _filled(across, bins, counts, bottom, bottom - _RIDGE),
            f'<path d="{ends}" stroke="currentColor" stroke-opacity=".35"/>',
            *_marks(across, {"": mark_ms}, bottom - _RIDGE, bottom),
        ]
    parts += _value_ticks(across, look.height - _BOTTOM)
    return _document(parts, look)


def over_time(ok_ms: Numbers, errors: int) -> str:
    """Say what a timeline shows of the durations of successes, and on which scale."""
    scale = ", log scale" if is_logarithmic(ok_ms[np.isfinite(ok_ms)]) else ""
    return f"Duration over time{scale}{', × errors' if errors else ''}"


def is_logarithmic(values: Numbers) -> bool:
    """Tell whether values are shown on a logarithmic axis: they span a factor of ten, or more."""
    return bool(values.size and values.min() > 0 and values.max() >= _SPAN_OF_LOG * values.min())


def blocks(heights: Iterable[float]) -> str:
    """Draw a line of blocks for a terminal, one a height, from 0 to the greatest; a blank where there is none."""
    known = [height if math.isfinite(height) else 0.0 for height in heights]
    top = max(known, default=0.0)
    levels = len(_BLOCKS)
    return "".join(_BLOCKS[min(levels - 1, int(height / top * levels))] if height > 0 else " " for height in known)


def heights_over_time(started_s: Numbers, duration_ms: Numbers, columns: int) -> Numbers:
    """Return the greatest duration of each of so many stretches of time; NaN where there is none."""
    heights = np.full(columns, np.nan)
    if started_s.size:
        axis = _Axis(float(started_s.min()), float(started_s.max()) + 1e-9, 0.0, columns)
        at = np.minimum(axis.place(started_s).astype(np.int64), columns - 1)
        np.fmax.at(heights, at, duration_ms)
    return heights


def _value_axis(values: Numbers, start: float, end: float) -> _Axis:
    low, high = float(values.min()), float(values.max())
    if is_logarithmic(values):
        return _Axis(_round_down(low), _round_up(high), start, end, logarithmic=True)
    step = _round_up(max(high, 1e-6) / _MOST_TICKS)
    return _Axis(0.0, step * math.ceil(max(high, 1e-6) / step), start, end)


def _edges(values: Numbers, most: int) -> tuple[Numbers, bool]:
    """Choose the edges of the bins, and whether their axis is logarithmic."""
    if not values.size:
        return np.array([0.0, 1.0]), False
    logarithmic = is_logarithmic(values)
    scaled = np.log10(values) if logarithmic else values
    low, high = float(scaled.min()), float(scaled.max())
    if high - low < 1e-9 * max(1.0, abs(high)):
        margin = max(abs(high) * 0.1, 1e-6)
        low, high = low - margin, high + margin
    quarter, three_quarters = np.percentile(scaled, [25, 75])
    wide = 2 * float(three_quarters - quarter) / float(np.cbrt(values.size))
    bins = (high - low) / wide if wide > 0 else math.log2(values.size) + 1
    even = np.linspace(low, high, int(min(most, max(_FEWEST_BINS, math.ceil(bins)))) + 1)
    edges = 10.0**even if logarithmic else even
    # Rounding must not leave the least and the greatest outside.
    edges[0], edges[-1] = min(edges[0], values.min()), max(edges[-1], values.max())
    return edges, logarithmic


def _axis_of(bins: Bins) -> _Axis:
    low, high = float(bins.edges[0]), float(bins.edges[-1])
    return _Axis(low, high, _RIGHT + 4, SAVED.width - _RIGHT - 4, bins.logarithmic)


def _filled(across: _Axis, bins: Bins, counts: Numbers, bottom: float, top: float) -> str:
    """Draw the bins of one label as a filled outline."""
    edges = across.place(bins.edges)
    tops = _Axis(0.0, max(1.0, float(counts.max(initial=0))), bottom, top).place(counts)
    # Neighbours of one height are one step.
    lasts = np.append(np.flatnonzero(np.diff(tops)), tops.size - 1)
    steps = "".join(f"V{_short(tops[at])}H{_short(edges[at + 1])}" for at in lasts)
    outline = f"M{_short(edges[0])} {bottom}{steps}V{bottom}Z"
    return f'<path d="{outline}" fill="{SAVED.value}" fill-opacity=".55"/>'


def _value_grid(axis: _Axis, look: Look) -> Iterator[str]:
    ticks = axis.ticks()
    places = axis.place(np.array(ticks))
    left, right = look.plot
    lines = "".join(f"M{left} {_short(y)}H{right}" for y in places)
    yield f'<path d="{lines}" stroke="currentColor" stroke-opacity=".25"/>'
    for value, y in zip(ticks, places, strict=True):
        yield _label(left - 5, y + 4, format_tick_ms(value), "end")


def _time_ticks(axis: _Axis, bottom: float, look: Look, *, count_back: bool) -> Iterator[str]:
    span_s = axis.high - axis.low
    days = _round_up(span_s / _DAY_S / _MOST_TICKS)
    step_s = next((step for step in _TIME_STEPS_S if span_s / step <= _MOST_TICKS), days * _DAY_S)
    if span_s < 1:
        step_s = _round_up(span_s / _MOST_TICKS)
    origin = axis.high if count_back else axis.low
    offsets = _even_ticks(-span_s, 0.0, step_s) if count_back else _even_ticks(0.0, span_s, step_s)
    places = axis.place(origin + np.array(offsets))
    yield _ticks(places, bottom)
    for offset, x in zip(offsets, places, strict=True):
        name = format_tick_s(offset) if offset or not count_back else "now"
        yield _label(look.across(x), bottom + 14, name, "end" if x > axis.end - 14 else "middle")


def _value_ticks(axis: _Axis, bottom: float) -> Iterator[str]:
    values = axis.ticks()
    places = axis.place(np.array(values))
    yield _ticks(places, bottom)
    for value, x in zip(values, places, strict=True):
        near_edge = "end" if x > SAVED.width - 24 else "start" if x < 24 else "middle"
        yield _label(x, bottom + 14, format_tick_ms(value), near_edge)


def _ticks(places: Numbers, bottom: float) -> str:
    lines = "".join(f"M{_short(x)} {bottom}v3" for x in places)
    return f'<path d="{lines}" stroke="currentColor" stroke-opacity=".6"/>'


def _band(x: Numbers, y: Numbers, look: Look, column_px: int) -> Iterator[str]:
    """Draw a dot each; where they are many, each column from its least to its greatest, and a dot at its middle."""
    stroke = f'stroke="{look.value}" fill="none" stroke-linecap="round"'
    places, middle = x, y
    if x.size > (x.max() - x.min()) / column_px:
        column = np.round(x / column_px).astype(np.int64)
        order = np.lexsort((y, column))
        column, y = column[order], y[order]
        starts = np.flatnonzero(np.diff(column, prepend=column[0] - 1))
        ends = np.append(starts[1:], column.size)
        places, middle = (column[starts] * column_px).astype(np.float64), y[(starts + ends - 1) // 2]
        band = "".join(
            f"M{_short(at)} {_short(top)}V{_short(foot)}"
            for at, top, foot in zip(places, y[starts], y[ends - 1], strict=True)
            if foot - top >= 1
        )
        yield f'<path d="{band}" {stroke} stroke-width="{column_px}" stroke-opacity=".45"/>'
    dots = "".join(f"M{_short(at)} {_short(mid)}h0" for at, mid in zip(places, middle, strict=True))
    yield f'<path d="{dots}" {stroke} stroke-width="3"/>'


def _strip(x: Numbers, bottom: float, look: Look, apart_px: int) -> Iterator[str]:
    left, right = look.plot
    yield f'<path d="M{left} {bottom}H{right}" stroke="currentColor" stroke-opacity=".6"/>'
    if not x.size:
        return
    # One that is closer than a cross is wide could not be told from it.
    places = np.unique(np.round(x / apart_px).astype(np.int64)) * apart_px
    # Signs, as lines would be stretched where it is fluid: a place for each is one for all.
    yield (
        f'<text x="{" ".join(map(look.across, places))}" y="{bottom - 2}" text-anchor="middle" font-size="16" '
        f'font-weight="bold" fill="{look.error}">{"×" * places.size}</text>'
    )
    yield _label(left - 5, bottom - 3, "errors", "end")


def _marks(axis: _Axis, marks: Mapping[str, float], top: float, bottom: float) -> Iterator[str]:
    taken = -math.inf
    for name, value in marks.items():
        x = float(axis.place(np.array([value]))[0])
        # Too near, its name would stand on the other's, and a line without a name says nothing.
        if not math.isfinite(value) or x - taken < 13:
            continue
        yield f'<path d="M{_short(x)} {top - 2}V{bottom}" stroke="currentColor" stroke-dasharray="3 2"/>'
        if name:
            yield _label(x, top - 6, name, "end" if x > axis.end - 12 else "middle" if x - taken >= 26 else "start")
        taken = x


def _label(x: float | str, y: float, text: str, anchor: str) -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x if isinstance(x, str) else _short(x)}" y="{_short(y)}"{where}>{html.escape(text)}</text>'


def _document(parts: Sequence[str], look: Look, title: str = "") -> str:
    known_as = f' role="img" aria-label="{html.escape(title)}"' if title else ""
    titled = f"<title>{html.escape(title)}</title>" if title else ""
    fit = f'viewBox="0 0 {look.width} {look.height}"'
    if look.fluid:
        # What is drawn is stretched to the width that there is; texts stand in that width as they are.
        fit = f'style="max-width:100%;box-sizing:border-box;padding:0 {_RIGHT}px 0 {_LEFT}px;overflow:visible"'
        drawn = [part for part in parts if "<path " in part]
        parts = [
            f'<svg width="100%" height="{look.height}" viewBox="0 0 {look.plot[1]} {look.height}" '
            'preserveAspectRatio="none" overflow="visible">',
            *(part.replace("<path ", '<path vector-effect="non-scaling-stroke" ') for part in drawn),
            "</svg>",
            *(part for part in parts if part not in drawn),
        ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{look.width}" height="{look.height}" {fit}{known_as} '
        f'color="{look.text}">{titled}'
        f'<g font-family="sans-serif" font-size="{look.letter}" fill="currentColor">{"".join(parts)}</g></svg>'
    )


def _even_ticks(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [number * step for number in range(first, last + 1)]


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= value * 0.9999)


def _round_down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(digit * power for digit in (5, 2, 1) if digit * power <= value * 1.0001)


def _short(value: float) -> str:
    """Write a pixel to half a one, as briefly as it goes."""
    return f"{round(2 * value) / 2:g}"
