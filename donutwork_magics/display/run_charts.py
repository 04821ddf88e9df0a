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
    blocks,
    ends_of_bins,
    heights_of_bins,
    heights_over_time,
    histogram,
    is_logarithmic,
    over_time,
    ridges,
    timeline,
)
from donutwork_magics.units import format_interval_ms, format_ms, format_tick_s, plural, short_name

_BLOCKS: Final = 60
_FEWEST: Final = 2
"""A chart of a single ping would tell nothing."""
_MOST_NAMED: Final = 4
_FINE_PX: Final = 2
_COARSE_PX: Final = 8


def run_pictures(df: pd.DataFrame, figures: Mapping[str, Any]) -> tuple[Pictures, ...]:
    """Draw the timeline and the histogram of one series; none where there are too few pings.

    Parameters
    ----------
    figures
        Its row of the summary.
    """
    ok_ms = _numbers(df.loc[df["error"].isna() & ~df["warmup"].astype(bool), "duration_ms"])
    # Of fewer, the dots of the timeline tell more.
    histograms = [_histogram(ok_ms, figures)] if ok_ms.size >= pings_needed(0.50) else []
    return _side_by_side([*_timelines(df), *histograms])


def label_pictures(df: pd.DataFrame) -> tuple[Pictures, ...]:
    """Draw the timeline of one label of a comparison, more coarsely: a card has several."""
    return _side_by_side(_timelines(df, column_px=_COARSE_PX))


def comparison_pictures(df: pd.DataFrame, figures: Mapping[Any, Mapping[str, Any]]) -> tuple[Pictures, ...]:
    """Draw the histograms of several labels on one axis.

    Parameters
    ----------
    figures
        The row of the summary of each label that is to be shown.
    """
    ok = df[df["error"].isna() & ~df["warmup"].astype(bool)]
    parts = {str(label): _numbers(ok.loc[ok["label"] == label, "duration_ms"]) for label in figures}
    parts = {label: values for label, values in parts.items() if values.size}
    if not parts:
        return ()
    medians_ms = {str(label): each["p50_ms"] for label, each in figures.items()}
    low, high = map(format_ms, ends_of_bins(parts))
    cut = f", the first {MOST_RIDGES} of {df['label'].nunique()}" if len(parts) > MOST_RIDGES else ""
    alt = f"Durations of each label on one axis{cut}, {low} to {high}, and their medians. "
    alt += "; ".join(_named(parts, medians_ms))
    heights = heights_of_bins(parts)
    axis = _axis(low, high, max(map(len, heights.values())))
    lines = (*((short_name(label), blocks(each)) for label, each in heights.items()), ("", axis))
    picture = Picture(f"Durations by label{cut}", alt, ridges(parts, medians_ms), lines)
    return (Pictures((picture,)),)


def _side_by_side(pictures: list[Picture]) -> tuple[Pictures, ...]:
    return (Pictures(tuple(pictures)),) if pictures else ()


def _timelines(df: pd.DataFrame, *, column_px: int = _FINE_PX) -> list[Picture]:
    counted = df[~df["warmup"].astype(bool)]
    started_s, duration_ms = _numbers(clock_s(counted)), _numbers(counted["duration_ms"])
    known = np.isfinite(started_s)
    if known.sum() < _FEWEST:
        return []
    started_s, duration_ms = started_s[known], duration_ms[known]
    failed = counted["error"].notna().to_numpy(dtype=bool)[known]
    ok_ms = duration_ms[~failed]
    errors = int(failed.sum())
    seen = [f"Durations of {plural(ok_ms.size, 'ping')} over {format_tick_s(float(np.ptp(started_s)))}"]
    if ok_ms.size:
        median = format_ms(float(np.median(ok_ms)))
        seen.append(f"from {format_ms(ok_ms.min())} to {format_ms(ok_ms.max())}, half of them up to {median}")
    seen.append(f"{plural(errors, 'error')}, marked by crosses" if errors else "no errors")
    return [
        Picture(
            over_time(ok_ms, errors),
            "; ".join(seen) + ".",
            timeline(started_s, duration_ms, failed, column_px=column_px),
            tuple(_lines(started_s, duration_ms, failed)),
        )
    ]


def _lines(started_s: Numbers, duration_ms: Numbers, failed: Flags) -> Iterator[tuple[str, str]]:
    if not failed.all():
        heights = np.array(heights_over_time(started_s, np.where(failed, np.nan, duration_ms), _BLOCKS))
        ok_ms = duration_ms[~failed & np.isfinite(duration_ms)]
        high_ms = float(ok_ms.max(initial=0.0))
        if is_logarithmic(ok_ms):
            low_ms = float(ok_ms.min())
            # The least is a block, too: a blank is where there is none.
            yield (
                format_interval_ms(low_ms, high_ms).replace(" to ", "–"),
                blocks(np.log10(heights) - math.log10(low_ms) + 1e-9),
            )
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


def _histogram(ok_ms: Numbers, figures: Mapping[str, Any]) -> Picture:
    marks = {name: figures[f"{name}_ms"] for name in ("p50", "p95", "p99")}
    known = [f"{name} {format_ms(value)}" for name, value in marks.items() if math.isfinite(value)]
    scale = "logarithmic" if is_logarithmic(ok_ms[np.isfinite(ok_ms)]) else "linear"
    low, high = map(format_ms, ends_of_bins({"": ok_ms}))
    heights = heights_of_bins({"": ok_ms})[""]
    seen = [f"Histogram of {plural(ok_ms.size, 'duration')} on a {scale} axis, {low} to {high}", *known]
    return Picture(
        "Histogram of durations, log scale" if scale == "logarithmic" else "Histogram of durations",
        "; ".join(seen) + ".",
        histogram(ok_ms, marks),
        (("", blocks(heights)), ("", _axis(low, high, len(heights)))),
    )


def _named(parts: Mapping[str, Numbers], medians_ms: Mapping[str, float]) -> Iterator[str]:
    for label in list(parts)[:_MOST_NAMED]:
        yield f"{short_name(label)}: p50 {format_ms(medians_ms[label])}"
    if len(parts) > _MOST_NAMED:
        yield f"and {len(parts) - _MOST_NAMED} more"


def _numbers(column: pd.Series[Any]) -> Numbers:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)
