"""A run as one page of HTML that needs nothing else, from the question to the versions."""

from __future__ import annotations

import base64
import html
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from donutwork_magics._version import __version__
from donutwork_magics.analysis.compare import compare
from donutwork_magics.analysis.counted import attributes, counted
from donutwork_magics.analysis.diagnose import diagnose
from donutwork_magics.analysis.plots import Plots, check_matplotlib
from donutwork_magics.analysis.series import labels_of, with_labels
from donutwork_magics.analysis.summary import percentiles, summary
from donutwork_magics.errors import DonutworkError
from donutwork_magics.frame.schema import COLUMNS, restored
from donutwork_magics.units import (
    UNKNOWN,
    clean,
    enumerate_some,
    format_difference_ms,
    format_interval_ms,
    format_ms,
    format_plan,
    format_share,
    format_utc,
    plural,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LABELS: Final = 30
_PLOTS: Final[tuple[Callable[..., Axes], ...]] = (
    Plots.timeline,
    Plots.heatmap,
    Plots.histogram,
    Plots.ecdf,
    Plots.percentiles,
    Plots.phases,
)
_QUANTILES: Final = (0.5, 0.95, 0.99)
# Nothing is loaded and nothing is run, whatever a text may hold.
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_OF_RESULT: Final = (
    "Durations of successes without warm-up; in brackets 95 % intervals, which are left out where the pings are too "
    "few or too alike for them."
)
_OF_COMPARISON: Final = (
    "Lines ran interleaved, in rounds of random order. Estimate: Hodges and Lehmann; intervals and p: exact Wilcoxon "
    "signed rank of block medians, for all lines together with 95 %."
)
_STYLE: Final = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; background: #fff; max-width: 800px; margin: 24px auto;
       padding: 0 16px; overflow-wrap: anywhere; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 18px; margin: 28px 0 6px; break-after: avoid; }
p { margin: 4px 0; } .muted { color: #59636e; }
.wide { overflow-x: auto; margin: 6px 0; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; break-inside: avoid; }
th, td { padding: 3px 14px 3px 0; text-align: left; vertical-align: top; border-bottom: 1px solid #d1d9e0;
         overflow-wrap: normal; }
th { font-weight: 600; } tbody th { font-weight: 400; min-width: 6em; overflow-wrap: anywhere; }
figure { margin: 12px 0; break-inside: avoid; } img { max-width: 100%; }
li { margin: 6px 0; break-inside: avoid; }
@page { size: A4; margin: 15mm; }
@media print { body { font-size: 11px; margin: 0; padding: 0; } table { font-size: 10px; }
               th, td { padding-right: 8px; } .wide { overflow: visible; } }
"""


def report(df: pd.DataFrame, file: str | os.PathLike[str], *, question: str | None = None) -> Path:
    """Write a run as one self-contained page of HTML; it prints on A4.

    Parameters
    ----------
    df
        A table of schema 1.
    file
        Where; a file of that name is replaced.
    question
        What was to be found out, in one line; one that fits the table without it.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    AnalysisError
        A ValueError: the frame lacks a column, or no ping in it has a duration.
    DonutworkError
        matplotlib is not installed, or the file cannot be written; nothing half written is left.
    """
    check_matplotlib()
    page = _page(df, question)
    problem = ""
    try:
        path = Path(file)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with part.open("x", encoding="utf-8") as stream:
                stream.write(page)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except (OSError, TypeError, ValueError) as error:
        problem = (isinstance(error, OSError) and error.strerror) or "no name of a file"
    if problem:
        raise DonutworkError(f"The report cannot be written ({problem}). Choose another place.")
    return path


def _page(df: pd.DataFrame, question: str | None) -> str:
    counted(df, "duration_ms", more=COLUMNS)
    df = with_labels(restored(df))
    attrs, labels = attributes(df), labels_of(df)
    several = len(labels) > 1
    first, *others = map(str, labels or [""])
    differ = f"{'Does' if len(others) == 1 else 'Do'} {enumerate_some(others, 4)} differ from {first}?"
    asked = question or (differ if several else "How long does a ping take?")
    setup = [
        ("address", f"{attrs.get('host', '')}{attrs.get('path', '')}"),
        *([("seed", str(attrs["seed"]))] if attrs.get("seed") is not None else []),
        ("platform", str(attrs.get("platform", ""))),
    ]
    if not attrs:
        setup = [("measured", "not known: df.attrs was lost, for example by concat or a CSV file")]
    versions = [*(attrs.get("versions") or {}).items(), ("this report", __version__)]
    body = [
        f"<h1>{_text(asked)}</h1>",
        f'<p class="muted">{_text(_when(df, attrs))}</p>',
        "<h2>Set-up</h2>",
        _table(("line", "pings", "rate", "connections", "HTTP", "timeout"), _lines(attrs)),
        _table(("what", "value"), setup),
        "<h2>Result</h2>",
        _table(("label", "pings", "errors", "p50", "p95", "p99", "max"), _result(df)),
        f'<p class="muted">{_OF_RESULT}</p>',
        *(_comparison(df) if several else ()),
        "<h2>Plots</h2>",
        *(_figure(df, draw) for draw in (*((Plots.compare,) if several else ()), *_PLOTS)),
        "<h2>Diagnosis</h2>",
        _diagnosis(df),
        "<h2>Versions</h2>",
        _table(("what", "version"), versions),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{_text(asked)}</title><style>{_STYLE}</style></head>\n"
        f'<body class="tex2jax_ignore mathjax_ignore">\n{"".join(body)}\n</body></html>\n'
    )


def _when(df: pd.DataFrame, attrs: Mapping[str, Any]) -> str:
    began, last = df["timestamp"].min(), df["timestamp"].max()
    parts = [plural(len(df), "ping")]
    if not pd.isna(began):
        until = format_utc(last.timestamp(), date=began.date() != last.date())
        parts.append(f"{format_utc(began.timestamp())} to {until}")
    if attrs:
        parts.append("sandbox" if attrs.get("sandbox") else str(attrs.get("host", "")))
        parts += [f"ended: {attrs['ended']}"] if attrs.get("ended") else []
    return ", ".join(filter(None, parts))


def _comparison(df: pd.DataFrame) -> Iterator[str]:
    found = compare(df)
    rows = [
        (
            str(label),
            str(row["verdict"]),
            format_difference_ms(row["difference_ms"]),
            UNKNOWN if pd.isna(row["ratio"]) else f"{row['ratio']:.3f}",
            UNKNOWN if pd.isna(row["p_value"]) else f"{row['p_value']:.2g}",
            str(row["blocks"]),
        )
        for label, row in found.head(_MOST_LABELS).iterrows()
    ]
    yield f"<h2>Comparison</h2><p>Median duration, against <strong>{_text(found.attrs['baseline'])}</strong>:</p>"
    yield _table(("label", "verdict", "difference", "ratio", "p", "rounds"), rows)
    if found["blocks"].max():
        yield f'<p class="muted">{_OF_COMPARISON}</p>'


def _result(df: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    figures = summary(df, by="label").head(_MOST_LABELS)
    intervals = percentiles(df, _QUANTILES, by="label")
    for label, row in zip(figures.index, figures.to_dict("records"), strict=True):
        errors = f"{row['errors']}"
        if row["n"]:
            low, high = format_share(row["error_share_low"]), format_share(row["error_share_high"])
            errors += f" ({low} to {high})"
        times = []
        for value, low, high in intervals.xs(label)[["value_ms", "low_ms", "high_ms"]].to_numpy():
            interval = format_interval_ms(low, high)
            times.append(f"{format_ms(value)} ({interval})" if interval else format_ms(value))
        yield (str(label), str(row["n"]), errors, *times, format_ms(row["max_ms"]))


def _diagnosis(df: pd.DataFrame) -> str:
    items = []
    for each in diagnose(df)[: 3 * _MOST_LABELS]:
        name = f"{each.name}, {each.label}" if each.label else each.name
        items.append(f"<li><strong>{_text(name)}</strong>: {_text(each)}</li>")
    return f"<ul>{''.join(items)}</ul>" if items else "<p>Nothing doubtful was found.</p>"


def _figure(df: pd.DataFrame, draw: Callable[..., Axes]) -> str:
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stream = io.BytesIO()
    # A glyph that no font has is a box, and no reason to warn.
    with matplotlib.style.context("default"), warnings.catch_warnings(action="ignore"):
        figure = Figure(figsize=(7.6, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        title = draw(Plots(df), figure.subplots()).get_title().replace(r"\$", "$")
        figure.savefig(stream, format="png", dpi=120)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<figure><img alt="{_text(title)}" src="data:image/png;base64,{data}"></figure>'


def _lines(attrs: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for plan in (attrs.get("plan") or [])[:_MOST_LABELS]:
        how_many = [f"{plan['count']}"] if plan.get("count") else []
        how_many += [f"{plan['duration_s']:g} s"] if plan.get("duration_s") else []
        how_many += [f"{plan['warmup']} for warm-up"] if plan.get("warmup") else []
        yield (
            str(plan.get("label", "")),
            ", ".join(how_many) or "until stopped",
            format_plan(plan.get("rate_hz")),
            f"{'cold' if plan.get('cold') else 'warm'}, {plan.get('concurrency', 1)} at a time",
            str(plan.get("http", "")),
            f"{plan['timeout_s']:g} s" if plan.get("timeout_s") else "",
        )


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    body = "".join(
        f'<tr><th scope="row">{_text(first)}</th>{"".join(f"<td>{_text(cell)}</td>" for cell in others)}</tr>'
        for first, *others in rows
    )
    if not body:
        return ""
    names = "".join(f'<th scope="col">{_text(name)}</th>' for name in head)
    return f'<div class="wide"><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(text: object) -> str:
    return html.escape(clean(str(text)))
