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
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from donutwork_magics.units import format_ms, format_tick_ms, format_tick_s, short_name

Numbers: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Colours:
    """What a chart is drawn in; texts and lines stand out on a light and on a dark page."""

    text: str
    value: str
    error: str


SAVED: Final = Colours(text="#767d86", value="#4c8dd6", error="#cf222e")
"""For an image, which knows nothing of the page around it: these pass on white and on #111."""
LIVE: Final = Colours(
    text="currentColor", value="var(--jp-brand-color1,#4c8dd6)", error="var(--jp-error-color1,#cf222e)"
)
"""For what is drawn into a page, in the colours of its theme."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width, height and the size of letters in pixels, as drawn without scaling."""

    width: int
    height: int
    letter: int = 11
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


SMALL: Final = Size(288, 132)
"""Two stand side by side in a card, and one fills a narrow page."""
WIDE: Final = Size(560, 160, letter=12, fluid=True)
"""It fills a card, which is a page's own, wide or narrow."""

MOST_RIDGES: Final = 8
"""Labels whose histograms are drawn."""

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_LEFT: Final = 50
_RIGHT: Final = 10
_TOP: Final = 8
_BOTTOM: Final = 19
_STRIP: Final = 24
"""The height of the strip of errors, below the values."""
_COLUMN: Final = 2
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
        low, high = self.bounds
        share = (np.clip(self.scaled(values), low, high) - low) / (high - low)
        return np.asarray(self.start + share * (self.end - self.start), dtype=np.float64)

    def scaled(self, values: Numbers) -> Numbers:
        """Return the values on a scale on which the axis is even."""
        return np.log10(values) if self.logarithmic else values

    @property
    def bounds(self) -> tuple[float, float]:
        """The ends on that scale."""
        return (math.log10(self.low), math.log10(self.high)) if self.logarithmic else (self.low, self.high)

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
    size: Size = SMALL,
    colours: Colours = SAVED,
    title: str = "",
    span_s: tuple[float, float] | None = None,
    count_back: bool = False,
    column_px: int = _COLUMN,
) -> str:
    """Draw durations over the time of their start, and below them a strip with a cross for errors.

    Parameters
    ----------
    started_s, duration_ms, failed
        One each a ping; the duration of a failed one is not drawn.
    title
        What there is to see, for those who do not; empty where an ``alt`` says it.
    span_s
        From when to when is shown; by default what there is.
    count_back
        Count the time back from the end, which is now.
    column_px
        What is nearer to each other than this, where pings are many, becomes one stroke.

    Returns
    -------
    str
        An SVG document; at most some 8 kB, however many pings there are.
    """
    drawn = np.isfinite(started_s) & (np.isfinite(duration_ms) | failed)
    if span_s is not None:
        drawn &= started_s >= span_s[0]
    started_s, duration_ms, failed = started_s[drawn], duration_ms[drawn], failed[drawn]
    bottom = size.height - _BOTTOM - _STRIP
    first, last = span_s or ((float(started_s.min()), float(started_s.max())) if started_s.size else (0.0, 0.0))
    # A cross at the beginning must not touch the name of its strip.
    left, right = size.plot
    time = _Axis(first, max(last, first + 1e-3), left + _CROSS, right)
    values = _value_axis(duration_ms[~failed], bottom, _TOP)
    parts = [
        *(_value_grid(values, size) if values is not None else ()),
        *_time_ticks(time, bottom + _STRIP, size, count_back=count_back),
        *(
            _band(time.place(started_s[~failed]), values.place(duration_ms[~failed]), colours, column_px)
            if values
            else ()
        ),
        *_strip(time.place(started_s[failed]), bottom + _STRIP, size, colours, max(_CROSS, column_px)),
    ]
    return _document(parts, size, colours, title)


def histogram(duration_ms: Numbers, marks: Mapping[str, float], *, size: Size = SMALL, colours: Colours = SAVED) -> str:
    """Draw how often which duration occurs.

    Parameters
    ----------
    duration_ms
        One a ping that succeeded.
    marks
        Values to point at, by name, such as ``p50``.
    """
    values = duration_ms[np.isfinite(duration_ms)]
    bottom = size.height - _BOTTOM
    top = _TOP + 14
    edges, logarithmic = _edges(values)
    counts = np.histogram(values, edges)[0].astype(np.float64)
    across = _Axis(float(edges[0]), float(edges[-1]), _RIGHT + 4, size.width - _RIGHT - 4, logarithmic)
    up = _Axis(0.0, max(1.0, float(counts.max(initial=0))), bottom, top)
    steps = _steps(across.place(edges), up.place(counts), bottom)
    parts = [
        f'<path d="{steps}" fill="{colours.value}" fill-opacity=".55"/>',
        *_baseline(across, bottom, size),
        *_marks(across, marks, top, bottom),
    ]
    return _document(parts, size, colours, "")


def ridges(parts_ms: Mapping[str, Numbers], p50_ms: Mapping[str, float], *, colours: Colours = SAVED) -> str:
    """Draw the histograms of several labels one below the other, on one axis, each with its p50 and a mark there.

    Parameters
    ----------
    parts_ms, p50_ms
        Durations and p50 by label; the first few are drawn.
    """
    shown = _shown(parts_ms)
    size = Size(SMALL.width, (_NAME + _RIDGE) * len(shown) + _BOTTOM)
    edges, logarithmic = _edges(_together(shown), _MOST_BINS_OF_RIDGES if len(shown) > 1 else _MOST_BINS)
    across = _Axis(float(edges[0]), float(edges[-1]), _RIGHT + 4, size.width - _RIGHT - 4, logarithmic)
    parts: list[str] = []
    for row, (label, values) in enumerate(shown.items(), start=1):
        bottom = (_NAME + _RIDGE) * row
        mark_ms = p50_ms.get(label, math.nan)
        p50 = f", p50 {format_ms(mark_ms)}" if math.isfinite(mark_ms) else ""
        parts.append(_label(across.start, bottom - _RIDGE - 5, short_name(label) + p50, "start"))
        parts += _ridge(across, np.histogram(values, edges)[0].astype(np.float64), edges, bottom, colours)
        parts += _marks(across, {"": mark_ms}, bottom - _RIDGE, bottom)
    parts += _baseline(across, size.height - _BOTTOM, size, line=False)
    return _document(parts, size, colours, "")


def over_time(ok_ms: Numbers, errors: int) -> str:
    """Say what a timeline shows of the durations of successes, and on which scale."""
    scale = ", log scale" if is_logarithmic(ok_ms[np.isfinite(ok_ms)]) else ""
    return f"Duration over time{scale}{', × errors' if errors else ''}"


def is_logarithmic(values: Numbers) -> bool:
    """Tell whether values are shown on a logarithmic axis: they span a factor of ten, or more."""
    return bool(values.size and values.min() > 0 and values.max() >= _SPAN_OF_LOG * values.min())


def blocks(heights: Iterable[float]) -> str:
    """Draw a line of blocks for a terminal, one a height, from 0 to the greatest; a blank where there is none."""
    known = list(heights)
    top = max((height for height in known if math.isfinite(height)), default=0.0)
    return "".join(_block(height / top) if top > 0 and math.isfinite(height) else " " for height in known)


def heights_over_time(started_s: Numbers, duration_ms: Numbers, columns: int) -> list[float]:
    """Return the greatest duration of each of so many stretches of time; NaN where there is none."""
    known = np.isfinite(started_s)
    started_s, duration_ms = started_s[known], duration_ms[known]
    heights = np.full(columns, np.nan)
    if started_s.size:
        axis = _Axis(float(started_s.min()), float(started_s.max()) + 1e-9, 0.0, columns)
        at = np.minimum(axis.place(started_s).astype(np.int64), columns - 1)
        np.fmax.at(heights, at, duration_ms)
    return [float(height) for height in heights]


def heights_of_bins(parts_ms: Mapping[str, Numbers]) -> dict[str, list[float]]:
    """Return how many durations are in each bin of the histogram; of several labels on one axis, of the first few."""
    shown, edges = _shown(parts_ms), _edges_of(parts_ms)
    return {label: [float(count) for count in np.histogram(values, edges)[0]] for label, values in shown.items()}


def ends_of_bins(parts_ms: Mapping[str, Numbers]) -> tuple[float, float]:
    """Return where the first of those bins begins, and the last ends."""
    edges = _edges_of(parts_ms)
    return float(edges[0]), float(edges[-1])


def _edges_of(parts_ms: Mapping[str, Numbers]) -> Numbers:
    shown = _shown(parts_ms)
    return _edges(_together(shown), _MOST_BINS_OF_RIDGES if len(shown) > 1 else _MOST_BINS)[0]


def _shown(parts_ms: Mapping[str, Numbers]) -> dict[str, Numbers]:
    return {label: values[np.isfinite(values)] for label, values in list(parts_ms.items())[:MOST_RIDGES]}


def _together(parts_ms: Mapping[str, Numbers]) -> Numbers:
    return np.concatenate([np.empty(0), *parts_ms.values()])


def _block(share: float) -> str:
    return _BLOCKS[min(len(_BLOCKS) - 1, int(share * len(_BLOCKS)))] if share > 0 else " "


def _value_axis(values: Numbers, start: float, end: float) -> _Axis | None:
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    if is_logarithmic(values):
        return _Axis(_round_down(low), _round_up(high), start, end, logarithmic=True)
    step = _round_up(max(high, 1e-6) / _MOST_TICKS)
    return _Axis(0.0, step * math.ceil(max(high, 1e-6) / step), start, end)


def _edges(values: Numbers, most: int = _MOST_BINS) -> tuple[Numbers, bool]:
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


def _value_grid(axis: _Axis, size: Size) -> Iterator[str]:
    ticks = axis.ticks()
    places = axis.place(np.array(ticks))
    left, right = size.plot
    lines = "".join(f"M{left} {_short(y)}H{right}" for y in places)
    yield f'<path d="{lines}" stroke="currentColor" stroke-opacity=".25"/>'
    for value, y in zip(ticks, places, strict=True):
        yield _label(left - 5, y + 4, format_tick_ms(value), "end")


def _time_ticks(axis: _Axis, bottom: float, size: Size, *, count_back: bool) -> Iterator[str]:
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
        yield _label(size.across(x), bottom + 14, name, "end" if x > axis.end - 14 else "middle")


def _band(x: Numbers, y: Numbers, colours: Colours, column_px: int) -> Iterator[str]:
    """Draw a dot each; where they are many, each column from its least to its greatest, and a dot at its middle."""
    if not x.size:
        return
    look = f'stroke="{colours.value}" fill="none" stroke-linecap="round"'
    room = (x.max() - x.min()) / column_px
    if x.size <= room:
        places, middle = x, y
    else:
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
        yield f'<path d="{band}" {look} stroke-width="{column_px}" stroke-opacity=".45"/>'
    dots = "".join(f"M{_short(at)} {_short(mid)}h0" for at, mid in zip(places, middle, strict=True))
    yield f'<path d="{dots}" {look} stroke-width="3"/>'


def _strip(x: Numbers, bottom: float, size: Size, colours: Colours, apart_px: int) -> Iterator[str]:
    left, right = size.plot
    yield f'<path d="M{left} {bottom}H{right}" stroke="currentColor" stroke-opacity=".6"/>'
    if not x.size:
        return
    # One that is closer than a cross is wide could not be told from it.
    places = np.unique(np.round(x / apart_px).astype(np.int64)) * apart_px
    # Signs, as lines would be stretched where it is fluid: a place for each is one for all.
    yield (
        f'<text x="{" ".join(map(size.across, places))}" y="{bottom - 2}" text-anchor="middle" font-size="16" '
        f'font-weight="bold" fill="{colours.error}">{"×" * places.size}</text>'
    )
    yield _label(left - 5, bottom - 3, "errors", "end")


def _ridge(across: _Axis, counts: Numbers, edges: Numbers, bottom: float, colours: Colours) -> Iterator[str]:
    up = _Axis(0.0, max(1.0, float(counts.max(initial=0))), bottom, bottom - _RIDGE)
    steps = _steps(across.place(edges), up.place(counts), bottom)
    yield f'<path d="{steps}" fill="{colours.value}" fill-opacity=".55"/>'
    ends = f"M{_short(across.start)} {bottom}H{_short(across.end)}"
    yield f'<path d="{ends}" stroke="currentColor" stroke-opacity=".35"/>'


def _baseline(axis: _Axis, bottom: float, size: Size, *, line: bool = True) -> Iterator[str]:
    if line:
        yield f'<path d="M{_RIGHT} {bottom}H{size.width - _RIGHT}" stroke="currentColor" stroke-opacity=".6"/>'
    values = axis.ticks()
    places = axis.place(np.array(values))
    yield _ticks(places, bottom)
    for value, x in zip(values, places, strict=True):
        near_edge = "end" if x > size.width - 24 else "start" if x < 24 else "middle"
        yield _label(x, bottom + 14, format_tick_ms(value), near_edge)


def _ticks(places: Numbers, bottom: float) -> str:
    lines = "".join(f"M{_short(x)} {bottom}v3" for x in places)
    return f'<path d="{lines}" stroke="currentColor" stroke-opacity=".6"/>'


def _marks(axis: _Axis, marks: Mapping[str, float], top: float, bottom: float) -> Iterator[str]:
    taken = -math.inf
    for name, value in marks.items():
        if not math.isfinite(value):
            continue
        x = float(axis.place(np.array([value]))[0])
        if x - taken < 13:
            # Its name would stand on the other's, and a line without a name says nothing.
            continue
        yield f'<path d="M{_short(x)} {top - 2}V{bottom}" stroke="currentColor" stroke-dasharray="3 2"/>'
        if name:
            yield _label(x, top - 6, name, "end" if x > axis.end - 12 else "middle" if x - taken >= 26 else "start")
        taken = x


def _steps(edges: Numbers, tops: Numbers, bottom: float) -> str:
    # Neighbours of one height are one step.
    lasts = np.append(np.flatnonzero(np.diff(tops)), tops.size - 1)
    steps = "".join(f"V{_short(tops[at])}H{_short(edges[at + 1])}" for at in lasts)
    return f"M{_short(edges[0])} {bottom}{steps}V{bottom}Z"


def _label(x: float | str, y: float, text: str, anchor: str) -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x if isinstance(x, str) else _short(x)}" y="{_short(y)}"{where}>{html.escape(text)}</text>'


def _document(parts: Sequence[str], size: Size, colours: Colours, title: str) -> str:
    known_as = f' role="img" aria-label="{html.escape(title)}"' if title else ""
    titled = f"<title>{html.escape(title)}</title>" if title else ""
    fit, drawn = _stretched(parts, size) if size.fluid else (f'viewBox="0 0 {size.width} {size.height}"', parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size.width}" height="{size.height}" {fit}{known_as} '
        f'color="{colours.text}">{titled}'
        f'<g font-family="sans-serif" font-size="{size.letter}" fill="currentColor">{"".join(drawn)}</g></svg>'
    )


def _stretched(parts: Sequence[str], size: Size) -> tuple[str, list[str]]:
    """Let what is drawn be stretched to the width that there is; texts stand in that width as they are."""
    lines = [part.replace("<path ", '<path vector-effect="non-scaling-stroke" ') for part in parts if "<path " in part]
    texts = [part for part in parts if "<path " not in part]
    opening = (
        f'<svg width="100%" height="{size.height}" viewBox="0 0 {size.plot[1]} {size.height}" '
        'preserveAspectRatio="none" overflow="visible">'
    )
    fit = f'style="max-width:100%;box-sizing:border-box;padding:0 {_RIGHT}px 0 {_LEFT}px;overflow:visible"'
    return fit, [opening, *lines, "</svg>", *texts]


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
