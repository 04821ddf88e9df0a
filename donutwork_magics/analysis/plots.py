"""Plots of a table with matplotlib (extra ``plot``): they return `Axes`, take ``ax=``, and say units and counts.

The colours are told apart by people who see fewer of them, and are read on white and on black; lines differ in their
dashes too. Everything else has the colours of the style that is set.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from donutwork_magics.analysis.compare import compare
from donutwork_magics.analysis.counted import as_array, attributes, clock_s, counted, measured, planned_order
from donutwork_magics.analysis.intervals import (
    FEWEST_EFFECTIVE,
    RISK,
    n_effective,
    percentile,
    pings_needed,
    quantile_intervals,
)
from donutwork_magics.analysis.series import typical, with_labels
from donutwork_magics.columns import PHASES
from donutwork_magics.errors import AnalysisError, DonutworkError
from donutwork_magics.frame.schema import restored
from donutwork_magics.units import format_ms, plural, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

COLOURS: Final = ("#4c8dd6", "#d9822b", "#2a9d8f", "#c2679b", "#8a9a3b", "#9a7fd1", "#b5763f", "#767d86")
"""Of similar lightness, so that none is lost on white or on black."""

_BAD: Final = "#e5484d"
_MARKERS: Final = "os^DvPp*"
_DASHES: Final = ("-", "--", "-.", ":")
_MOST_LABELS: Final = 8
_WIDE: Final = 10
"""From a ratio of the largest to the median on, an axis is logarithmic."""
_LINES: Final = 2000
"""A line has so many points at most."""
_MARKS: Final = (0.5, 0.95, 0.99)
_SINCE: Final = "time since the first ping ({})"
_PERCENTAGES: Final = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)


class Plots:
    """``df.donutwork.plot``: each method draws one plot of a table of schema 1, into ``ax`` where that is given."""

    def __init__(self, df: pd.DataFrame) -> None:
        self._df = df

    def timeline(self, ax: Axes | None = None, *, metric: str = "duration_ms") -> Axes:
        """Draw each ping over time, with errors, outages, rests and pauses of this machine marked.

        Parameters
        ----------
        ax
            Where to draw; a new figure where there is none.
        metric
            A column in milliseconds.

        Raises
        ------
        AnalysisError
            A ValueError: the frame lacks a column, or has nothing to draw.
        DonutworkError
            matplotlib is not installed.
        """
        parts, attrs = _parts(self._df, metric), attributes(self._df)
        ax = _axes(ax)
        together = pd.concat(parts.values())
        # Outages are on the clock of all rows, those of a warm-up too.
        at_s = clock_s(restored(self._df))[together.index]
        unit_s, unit = _time(at_s)
        errors = 0
        for look, (label, rows) in zip(_looks(), parts.items(), strict=False):
            values = measured(rows, metric)
            mark = _MARKERS[COLOURS.index(look["color"])]
            dots = {"color": look["color"], "ms": 3, "mew": 0, "rasterized": True, "label": label}
            ax.plot(at_s[values.index] / unit_s, values, mark, **dots)
            failed = rows[rows["error"].notna()]
            errors += len(failed)
            if len(failed):
                ax.plot(at_s[failed.index] / unit_s, failed["duration_ms"], "x", color=_BAD, ms=6, zorder=3, label="_")
        if errors:
            ax.plot([], [], "x", color=_BAD, label="errors")
        outages = _first(attrs, "outages")
        places = ", ".join(sorted({each["place"] for each in outages if each.get("place")}))
        for name, spans, colour in (
            (
                f"outage of {places}" if places else "outage",
                [(each["at_s"], each["length_s"]) for each in outages],
                _BAD,
            ),
            ("rest, as the server asked", _first(attrs, "pauses"), COLOURS[4]),
            ("this machine stood still", _first(attrs, "machine_pauses"), COLOURS[-1]),
        ):
            for at, (begin_s, length_s) in enumerate(spans):
                ends = (begin_s / unit_s, (begin_s + length_s) / unit_s)
                ax.axvspan(*ends, color=colour, alpha=0.25, lw=0, label="_" if at else name)
        _scale(ax.yaxis, _values(parts, metric))
        return _finished(ax, f"{_name(metric)} over time", parts, x=_SINCE.format(unit), y=_unit(metric))

    def histogram(self, ax: Axes | None = None, *, metric: str = "duration_ms") -> Axes:
        """Draw how many pings took how long; parameters and errors are those of `timeline`."""
        parts, ax = _parts(self._df, metric), _axes(ax)
        everything = _values(parts, metric)
        is_wide = _scale(ax.xaxis, everything)
        low, high = everything.min(), everything.max() or 1.0
        count = min(100, max(10, math.ceil(2 * everything.size ** (1 / 3))))
        # Where all take the same time, bins need a width all the same.
        bins = (np.geomspace if is_wide else np.linspace)(low, high if high > low else low + 1, count + 1).tolist()
        for look, (label, rows) in zip(_looks(), parts.items(), strict=False):
            values = as_array(measured(rows, metric))
            ax.hist(values, bins, histtype="stepfilled", alpha=0.25, color=look["color"])
            ax.hist(values, bins, histtype="step", label=label, **look)
        if len(parts) == 1:
            for quantile, dash in zip(_MARKS, (":", "--", "-."), strict=True):
                if math.isfinite(value := percentile(everything, quantile)):
                    name = f"p{100 * quantile:g} {format_ms(value)}"
                    ax.axvline(value, color=COLOURS[1], ls=dash, label=name)
        return _finished(ax, f"{_name(metric)}, histogram", parts, x=_unit(metric), y="pings")

    def ecdf(self, ax: Axes | None = None, *, metric: str = "duration_ms") -> Axes:
        """Draw which share of the pings took no longer than a time; parameters and errors are those of `timeline`.

        The 95 % band is that of Dvoretzky, Kiefer and Wolfowitz (P. Massart, "The tight constant in the
        Dvoretzky-Kiefer-Wolfowitz inequality", 1990), on the effective sample size; it is left out where pings are too
        alike for it.
        """
        parts, ax = _parts(self._df, metric), _axes(ax)
        for look, (label, rows) in zip(_looks(), parts.items(), strict=False):
            values = as_array(measured(rows, metric))
            if not values.size:
                continue
            share = np.arange(1, values.size + 1) / values.size
            shown = np.unique(np.linspace(0, values.size - 1, min(values.size, _LINES)).astype(int))
            in_order, share = np.sort(values)[shown], share[shown]
            ax.step(in_order, share, where="post", label=label, **look)
            effective = n_effective(values <= np.median(values))
            if effective >= FEWEST_EFFECTIVE:
                half = math.sqrt(math.log(2 / RISK) / (2 * effective))
                low, high = np.clip(share - half, 0, 1), np.clip(share + half, 0, 1)
                ax.fill_between(in_order, low, high, step="post", alpha=0.2, color=look["color"], lw=0)
        _scale(ax.xaxis, _values(parts, metric))
        ax.set_ylim(-0.02, 1.02)
        ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        return _finished(ax, f"{_name(metric)}, shares with 95 % bands", parts, x=_unit(metric), y="pings up to this")

    def percentiles(self, ax: Axes | None = None, *, metric: str = "duration_ms") -> Axes:
        """Draw percentiles with their intervals on HdrHistogram's axis; parameters and errors are those of `timeline`.

        Each line ends where the sample supports no higher percentile.
        """
        parts, ax = _parts(self._df, metric), _axes(ax)
        most = 0.5
        for look, (label, rows) in zip(_looks(), parts.items(), strict=False):
            values = as_array(measured(rows, metric))
            # The highest quantile that so many values support.
            highest = RISK ** (1 / values.size) if values.size else 0.0
            if highest < 0.5 or values.size < pings_needed(0.5):
                continue
            most = max(most, highest)
            at = np.append(0, np.geomspace(1.25, 1 / (1 - highest), 40))
            quantiles = np.unique(np.clip(1 - 1 / np.maximum(at, 1.05), 0.05, highest))
            found = quantile_intervals(values, quantiles.tolist())
            nines = 1 / (1 - quantiles)
            ax.plot(nines, [each.value for each in found], label=label, **look)
            ends = np.array([(each.low, each.high) for each in found]).T
            ax.fill_between(nines, *ends, alpha=0.2, color=look["color"], lw=0)
        if not ax.lines:
            ax.text(0.5, 0.5, f"p50 needs {pings_needed(0.5)} pings", ha="center", va="center", transform=ax.transAxes)
        ax.set_xscale("log")
        shown = [share for share in _PERCENTAGES if share <= most]
        ax.set_xticks([1 / (1 - share) for share in shown], [f"p{100 * share:g}" for share in shown])
        ax.minorticks_off()
        _scale(ax.yaxis, _values(parts, metric))
        title = f"{_name(metric)}, percentiles with 95 % intervals"
        return _finished(ax, title, parts, x="percentile", y=_unit(metric))

    def heatmap(self, ax: Axes | None = None, *, metric: str = "duration_ms") -> Axes:
        """Draw how many pings took how long over time, all labels together.

        Parameters and errors are those of `timeline`.
        """
        check_matplotlib()
        from matplotlib import colormaps
        from matplotlib.colors import ListedColormap, LogNorm

        parts = _parts(self._df, metric)
        rows = pd.concat(parts.values(), ignore_index=True)
        values = measured(rows, metric)
        values = values[values > 0]
        if not len(values):
            raise AnalysisError(f"There is nothing to draw: no ping that counts has a {metric} above 0.")
        ax = _axes(ax)
        at_s = clock_s(rows)[values.index]
        unit_s, unit = _time(at_s)
        low, high = float(values.min()), float(values.max())
        columns = int(np.clip(values.size / 20, 10, 120))
        heights = np.geomspace(low * 0.98, high * 1.02, 41)
        counts, times, heights = np.histogram2d(at_s / unit_s, values, (columns, heights))
        shown = np.where(counts, counts, np.nan).T
        # Without the ends, which are lost on black and on white.
        colours = ListedColormap(colormaps["viridis"](np.linspace(0.25, 0.95, 256)))
        mesh = ax.pcolormesh(times, heights, shown, norm=LogNorm(vmin=1), cmap=colours, rasterized=True)
        _logarithmic(ax.yaxis)
        _logarithmic(ax.figure.colorbar(mesh, ax=ax, label="pings").ax.yaxis)
        return _finished(ax, f"{_name(metric)} over time", parts, x=_SINCE.format(unit), y=_unit(metric))

    def phases(self, ax: Axes | None = None) -> Axes:
        """Draw where the time of a typical ping goes, by label: the mean of those between the 40th and 60th percentile.

        Parameters and errors are those of `timeline`.
        """
        parts = _parts(self._df, "duration_ms", more=PHASES)
        ax = _axes(ax)
        means = pd.DataFrame([typical(rows)[list(PHASES)].mean() for rows in parts.values()]).fillna(0.0)
        places, left = np.arange(len(parts)), np.zeros(len(parts))
        for at, (column, name) in enumerate(PHASES.items()):
            lengths = means[column].to_numpy()
            if (lengths > 0).any():
                hatch = ("", "//", "..")[at % 3]
                ax.barh(
                    places, lengths, 0.6, left, color=COLOURS[at], label=name, hatch=hatch, edgecolor="white", lw=0.3
                )
                left += lengths
        ax.set_yticks(places, list(parts))
        # A single bar is not to fill the room.
        ax.set_ylim(max(len(parts), 3) - 0.5, -0.6)
        for place, length in zip(places, left, strict=True):
            ax.annotate(f" {format_ms(length)}", (length, place), va="center")
        ax.set_xlim(0, left.max() * 1.15 or 1.0)
        _finished(ax, "A typical ping, phase by phase", parts, x="mean of the 40th to 60th percentile (ms)", y="")
        if ax.get_legend_handles_labels()[0]:
            ax.legend(ncols=3, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.22))
        return ax

    def compare(self, ax: Axes | None = None, **arguments: Any) -> Axes:
        """Draw the differences to the baseline with their intervals; a hollow mark has no verdict.

        Parameters
        ----------
        ax
            Where to draw; a new figure where there is none.
        **arguments
            As for ``df.donutwork.compare``.

        Raises
        ------
        AnalysisError
            A ValueError: as for that.
        DonutworkError
            matplotlib is not installed.
        """
        found = compare(self._df, **arguments)
        ax = _axes(ax)
        ax.axvline(0, color=COLOURS[-1], lw=1)
        ends = found[["low_ms", "difference_ms", "high_ms"]].to_numpy(dtype=np.float64)
        for at, (low, difference, high) in enumerate(ends):
            has_interval = math.isfinite(low)
            if has_interval:
                ax.plot([low, high], [at, at], color=COLOURS[0], lw=2.5, solid_capstyle="butt")
            ax.plot(difference, at, "o", color=COLOURS[0], mfc=COLOURS[0] if has_interval else "none")
            words = _plain(found["verdict"].iloc[at])
            where: Any = ("axes fraction", "data")
            ax.annotate(words, (0.5, at), (0, 9), where, "offset points", ha="center", fontsize="small")
        ax.set_yticks(range(len(found)), [_plain(label) for label in found.index])
        ax.set_ylim(max(len(found), 3) - 0.5, -0.7)
        # Nothing is at an edge, and 0 is always in sight.
        known = ends[np.isfinite(ends)]
        reach = max(1e-9, np.ptp([0.0, *known])) * 0.1
        ax.set_xlim(min([0.0, *known]) - reach, max([0.0, *known]) + reach)
        metric, quantile = arguments.get("metric", "duration_ms"), arguments.get("q", 0.5)
        pings = plural(sum(map(len, _parts(self._df, metric).values())), "ping")
        ax.set_title(f"{_name(metric)}, p{100 * quantile:g}: {pings}, {plural(int(found['blocks'].max()), 'round')}")
        ax.set_xlabel(f"slower than {_plain(found.attrs['baseline'])} by (ms), 95 % intervals")
        return ax


def _axes(ax: Axes | None) -> Axes:
    check_matplotlib()
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def check_matplotlib() -> None:
    """Raise a `DonutworkError` that names the extra where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise DonutworkError('Plots need matplotlib, the extra "plot": pip install "donutwork_magics[plot]".')


def _parts(df: pd.DataFrame, metric: str, more: Iterable[str] = ()) -> dict[str, pd.DataFrame]:
    """Return the rows that count, by the text of their label; of very many labels the first ones."""
    rows = with_labels(counted(df, metric, more=more))
    if not len(measured(rows, metric)):
        raise AnalysisError(f"There is nothing to draw: no ping that counts has a {metric}.")
    places = planned_order(df)
    labels = sorted(rows["label"].drop_duplicates(), key=lambda label: places.get(label, len(places)))
    rows.attrs = {"labels": len(labels)}
    return {_plain(label): rows[rows["label"] == label] for label in labels[:_MOST_LABELS]}


def _values(parts: Mapping[str, pd.DataFrame], metric: str) -> Any:
    return as_array(pd.concat([measured(rows, metric) for rows in parts.values()]))


def _looks() -> Iterator[dict[str, Any]]:
    for at, colour in enumerate(COLOURS):
        yield {"color": colour, "ls": _DASHES[at % len(_DASHES)]}


def _first(attrs: Mapping[str, Any], what: str) -> list[Any]:
    return list((attrs.get(what) or {}).get("first") or [])


def _time(seconds: pd.Series[float]) -> tuple[float, str]:
    """Return the unit of a time axis, in seconds, and its name."""
    span_s = float(np.ptp(seconds))
    return next((each for each in ((3600.0, "h"), (60.0, "min")) if span_s > 5 * each[0]), (1.0, "s"))


def _scale(axis: Axis, values: Any) -> bool:
    """Make an axis logarithmic where the values are spread so widely; return whether it is."""
    is_wide = bool(values.min() > 0 and values.max() > _WIDE * np.median(values))
    if is_wide:
        _logarithmic(axis)
    return is_wide


def _logarithmic(axis: Axis) -> None:
    from matplotlib.ticker import LogFormatter

    (axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale)("log")
    # 20, not 2 x 10 to the 1.
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))


def _finished(ax: Axes, title: str, parts: Mapping[str, pd.DataFrame], *, x: str, y: str) -> Axes:
    errors = sum(int(rows["error"].notna().sum()) for rows in parts.values())
    pings = plural(sum(map(len, parts.values())), "ping") + (f", {plural(errors, 'error')}" if errors else "")
    labels = next(iter(parts.values())).attrs["labels"]
    cut = f", the first {len(parts)} of {labels} labels" if labels > len(parts) else ""
    ax.set_title(f"{title}: {pings}{cut}")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(alpha=0.25)
    handles, labels = ax.get_legend_handles_labels()
    if handles and len(parts) + len(handles) > 2:
        ax.legend(handles, labels, fontsize="small")
    return ax


def _name(metric: str) -> str:
    name = metric.removesuffix("_ms").replace("_", " ")
    return name.upper() if name in {"rrt", "dns", "tls", "ttfb"} else name.capitalize()


def _unit(metric: str) -> str:
    return f"{_name(metric)} (ms)"


def _plain(text: object) -> str:
    """Write a label so that matplotlib neither typesets it nor leaves it out of a legend."""
    name = short_name(text, 80).replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name
