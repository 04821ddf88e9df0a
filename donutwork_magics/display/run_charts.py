"""The charts of a run's card: durations over time and how they are spread, or the labels of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from donutwork_magics.analysis.counted import clock_s
from donutwork_magics.analysis.intervals import pings_needed
from donutwork_magics.display.card import Picture, Pictures
from donutwork_magics.display.chart import (
    MOST_RIDGES,
    Flags,
    Numbers,
    bins_of,
    blocks,
    heights_over_time,
    histogram,
    is_logarithmic,
    over_time,
    ridges,
    timeline,
)
from donutwork_magics.units import format_interval_ms, format_ms, format_tick_s, plural, short_name

COARSE_PX: Final = 8
"""The columns of a timeline in a card that has several."""
_BLOCKS: Final = 60
_FEWEST: Final = 2
"""A chart of a single ping would tell nothing."""
_MOST_NAMED: Final = 4


def run_pictures(df: pd.DataFrame, figures: Mapping[str, Any]) -> tuple[Pictures, ...]:
    """Draw the timeline and the histogram of one series, whose row of the summary is given; none of too few pings."""
    ok_ms = _numbers(df.loc[df["error"].isna() & ~df["warmup"].astype(bool), "duration_ms"])
    # Of fewer, the dots of the timeline tell more.
    histograms = (_histogram(ok_ms, figures),) if ok_ms.size >= pings_needed(0.50) else ()
    pictures = (*timelines(df), *histograms)
    return (Pictures(pictures),) if pictures else ()


def timelines(df: pd.DataFrame, *, column_px: int = 2) -> tuple[Picture, ...]:
    """Draw the timeline of one label; none where there are too few pings."""
    counted = df[~df["warmup"].astype(bool)]
    started_s, duration_ms = _numbers(clock_s(counted)), _numbers(counted["duration_ms"])
    known = np.isfinite(started_s)
    if known.sum() < _FEWEST:
        return ()
    started_s, duration_ms = started_s[known], duration_ms[known]
    failed = counted["error"].notna().to_numpy(dtype=bool)[known]
    ok_ms = duration_ms[~failed]
    errors = int(failed.sum())
    seen = [f"Durations of {plural(ok_ms.size, 'ping')} over {format_tick_s(float(np.ptp(started_s)))}"]
    if ok_ms.size:
        median = format_ms(float(np.median(ok_ms)))
        seen.append(f"from {format_ms(ok_ms.min())} to {format_ms(ok_ms.max())}, half of them up to {median}")
    seen.append(f"{plural(errors, 'error')}, marked by crosses" if errors else "no errors")
    svg = timeline(started_s, duration_ms, failed, column_px=column_px)
    lines = tuple(_lines(started_s, duration_ms, failed))
    return (Picture(over_time(ok_ms, errors), "; ".join(seen) + ".", svg, lines),)


def comparison_pictures(df: pd.DataFrame, figures: Mapping[Any, Mapping[str, Any]]) -> tuple[Pictures, ...]:
    """Draw the histograms of several labels on one axis: of those whose row of the summary is given."""
    ok = df[df["error"].isna() & ~df["warmup"].astype(bool)]
    parts = {str(label): _numbers(ok.loc[ok["label"] == label, "duration_ms"]) for label in figures}
    parts = {label: values for label, values in parts.items() if values.size}
    if not parts:
        return ()
    medians_ms = {str(label): each["p50_ms"] for label, each in figures.items()}
    bins = bins_of(parts)
    low, high = map(format_ms, bins.edges[[0, -1]])
    cut = f", the first {MOST_RIDGES} of {df['label'].nunique()}" if len(parts) > MOST_RIDGES else ""
    named = [f"{short_name(label)}: p50 {format_ms(medians_ms[label])}" for label in list(parts)[:_MOST_NAMED]]
    named += [f"and {len(parts) - _MOST_NAMED} more"] if len(parts) > _MOST_NAMED else []
    alt = f"Durations of each label on one axis{cut}, {low} to {high}, and their medians. {'; '.join(named)}"
    axis = _axis(low, high, bins.edges.size - 1)
    lines = (*((short_name(label), blocks(counts)) for label, counts in bins.counts.items()), ("", axis))
    return (Pictures((Picture(f"Durations by label{cut}", alt, ridges(bins, medians_ms), lines),)),)


def _histogram(ok_ms: Numbers, figures: Mapping[str, Any]) -> Picture:
    marks = {name: figures[f"{name}_ms"] for name in ("p50", "p95", "p99")}
    known = [f"{name} {format_ms(value)}" for name, value in marks.items() if math.isfinite(value)]
    bins = bins_of({"": ok_ms})
    scale, named = ("logarithmic", ", log scale") if bins.logarithmic else ("linear", "")
    low, high = map(format_ms, bins.edges[[0, -1]])
    seen = [f"Histogram of {plural(ok_ms.size, 'duration')} on a {scale} axis, {low} to {high}", *known]
    lines = (("", blocks(bins.counts[""])), ("", _axis(low, high, bins.edges.size - 1)))
    return Picture(f"Histogram of durations{named}", "; ".join(seen) + ".", histogram(bins, marks), lines)


def _lines(started_s: Numbers, duration_ms: Numbers, failed: Flags) -> Iterator[tuple[str, str]]:
    if not failed.all():
        heights = heights_over_time(started_s, np.where(failed, np.nan, duration_ms), _BLOCKS)
        ok_ms = duration_ms[~failed & np.isfinite(duration_ms)]
        high_ms = float(ok_ms.max(initial=0.0))
        if is_logarithmic(ok_ms):
            low_ms = float(ok_ms.min())
            # The least is a block, too: a blank is where there is none.
            heights = np.log10(heights) - math.log10(low_ms) + 1e-9
            yield format_interval_ms(low_ms, high_ms).replace(" to ", "–"), blocks(heights)
        else:
            yield f"0–{format_ms(high_ms)}", blocks(heights)
    if failed.any():
        crosses = heights_over_time(started_s, np.where(failed, 1.0, np.nan), _BLOCKS)
        yield "errors", "".join(" " if math.isnan(cross) else "×" for cross in crosses).rstrip()
    yield "", _axis("0 s", format_tick_s(float(np.ptp(started_s))), _BLOCKS)


def _axis(first: str, last: str, columns: int) -> str:
    """Write the ends of an axis below a line of blocks, or beside each other where it is too short."""
    room = columns - len(first) - len(last)
    return first + " " * room + last if room > 1 else f"{first} to {last}"


def _numbers(column: pd.Series[Any]) -> Numbers:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)
