"""The card of a run: a DataFrame of pings at a glance, one series or several side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pandas as pd

from donutwork_magics.analysis.quantiles import pings_needed
from donutwork_magics.analysis.runs import clock_s, described
from donutwork_magics.analysis.summary import PERCENTILES
from donutwork_magics.display import card_of
from donutwork_magics.display.card import Breakdown, Card, Details, Figure, Table, Tone
from donutwork_magics.display.outages import outages_details, outages_row, outages_table
from donutwork_magics.display.phases import PHASES, known, phases, server_share
from donutwork_magics.display.run_charts import comparison_pictures, label_pictures, run_pictures
from donutwork_magics.display.run_notes import (
    corrected_ms,
    is_behind,
    notes_of,
    notes_of_labels,
    notes_on_the_journal,
    skipped_starts,
)
from donutwork_magics.display.run_series import RunSeries, figures_of, series_of
from donutwork_magics.display.text import to_text
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import KINDS
from donutwork_magics.frame.restored import restored
from donutwork_magics.frame.schema import missing_columns, repeated_columns
from donutwork_magics.sampling.describe import CONTINUED, UNFINISHED
from donutwork_magics.units import (
    UNKNOWN,
    enumerate_some,
    format_difference_ms,
    format_ms,
    format_plan,
    format_rate,
    format_share,
    format_utc,
    plural,
    short_name,
)

_MOST_LABELS: Final = 20
"""Of a comparison; a saved notebook is not to grow without end."""
_MOST_CARDS: Final = 3
_MOST_TIMELINES: Final = 2
_MOST_KINDS: Final = 3
_USUAL_LABEL: Final = "ping"
_WITHOUT: Final = "no label"
_MOSTLY: Final = 0.8
_IN_TURN: Final = "The labels ran one after the other: what changed meanwhile looks like a difference between them."
_UNKNOWN_PLACE: Final = (
    "Where this was measured is not in the table: it lost its attributes, as by concat or in a file."
)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RunCard(Displayed):
    """A table of pings that shows itself as a card.

    Parameters
    ----------
    df
        A table of schema 1.
    notes
        What to know before anything else, one line each.
    """

    df: pd.DataFrame = field()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return to_text(run_card(self))


@card_of.register
def run_card(run: RunCard) -> Card:
    """Make the card of a run."""
    lacking, repeated = missing_columns(run.df), repeated_columns(run.df)
    if lacking or repeated:
        why = f"It lacks {enumerate_some(lacking)}." if lacking else f"It has {enumerate_some(repeated)} twice."
        return Card("Pings", "off", "not a table of pings", notes=(why,))
    df = restored(run.df)
    # A file of text takes a label such as None for one that is not there.
    df = df.assign(label=df["label"].astype(object).where(df["label"].notna(), _WITHOUT))
    attrs = described(df)
    labels = list(df["label"].drop_duplicates())
    card = _one(df, attrs) if len(labels) < 2 else _comparison(df, attrs, labels)
    return replace(card, notes=(*run.notes, *card.notes, *(() if attrs else (_UNKNOWN_PLACE,))))


def _one(df: pd.DataFrame, attrs: Mapping[str, Any]) -> Card:
    series = series_of(df, attrs)
    notes = (*notes_on_the_journal(attrs), *(note.text for note in notes_of(series)))
    tone, state = _state(series.figures, attrs.get("ended"), notes)
    label = str(df["label"].iloc[0]) if len(df) else _USUAL_LABEL
    return Card(
        title="Pings",
        tone=tone,
        state=state,
        name="" if label == _USUAL_LABEL else label,
        badges=_badges(df, attrs),
        figures=_latency(series),
        notes=notes,
        sections=(
            *run_pictures(df, series.figures),
            *known(*_breakdowns(df)),
            Table("Measured", (*_measured(series), *_of_the_whole(attrs))),
            *outages_table(attrs),
        ),
        details=(*outages_details(attrs), *_details(df, attrs)),
    )


def _comparison(df: pd.DataFrame, attrs: Mapping[str, Any], labels: list[Any]) -> Card:
    series = {label: series_of(df, attrs, label) for label in labels[:_MOST_LABELS]}
    of_labels = notes_of_labels({label: tuple(notes_of(own)) for label, own in series.items()})
    notes = (*notes_on_the_journal(attrs), *of_labels)
    tone, state = _state(figures_of(df), attrs.get("ended"), notes)
    left_out = f'The first {len(series)} of {len(labels)} labels; all are in df.donutwork.summary(by="label").'
    unfolded = series if len(labels) <= _MOST_CARDS else {}
    figures = {label: own.figures for label, own in series.items()}
    return Card(
        title="Pings",
        tone=tone,
        state=state,
        badges=_badges(df, attrs),
        notes=(
            *notes,
            *((_IN_TURN,) if _ran_in_turn(df) else ()),
            *((left_out,) if len(labels) > len(series) else ()),
        ),
        sections=(
            *comparison_pictures(df, figures),
            Table(
                "Duration by label, Δ to the first",
                tuple(_compared(figures)),
                head=("label", "p50", "Δ p50", "p95", "max", "n", "errors"),
            ),
            *((_phases_by_label(unfolded),) if unfolded else ()),
            *outages_table(attrs),
        ),
        details=(
            *(_label_details(label, own, drawn=len(labels) <= _MOST_TIMELINES) for label, own in unfolded.items()),
            *outages_details(attrs),
            *_details(df, attrs, tuple(_of_the_whole(attrs))),
        ),
    )


def _compared(per_label: Mapping[Any, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    first = next(iter(per_label))
    first_p50_ms = per_label[first]["p50_ms"]
    for label, figures in per_label.items():
        yield (
            short_name(label),
            format_ms(figures["p50_ms"]),
            UNKNOWN if label == first else format_difference_ms(figures["p50_ms"] - first_p50_ms),
            format_ms(figures["p95_ms"]),
            format_ms(figures["max_ms"]),
            f"{figures['n']:.0f}",
            f"{figures['errors']:.0f}",
        )


def _phases_by_label(series: Mapping[Any, RunSeries]) -> Table:
    columns = {**PHASES, "rrt_ms": "server"}
    means = {label: _middle(own.df)[list(columns)].mean() for label, own in series.items()}
    # NaN is not above 0 either.
    happened = [column for column in columns if any(mean[column] > 0 for mean in means.values())]
    return Table(
        "Where the time went near p50: mean of the middle fifth; server is its RRT, within the first byte",
        tuple((short_name(label), *(format_ms(mean[column]) for column in happened)) for label, mean in means.items()),
        head=("label", *(columns[column] for column in happened)),
    )


def _ran_in_turn(df: pd.DataFrame) -> bool:
    times = clock_s(df).groupby(df["label"]).agg(["min", "max"]).sort_values("min")
    return len(times) > 1 and bool((times["min"].iloc[1:].to_numpy() >= times["max"].iloc[:-1].to_numpy()).all())


def _label_details(label: Any, series: RunSeries, *, drawn: bool) -> Details:
    # In one row, as three labels with figures of their own would make a card of over 30 kB.
    durations = ", ".join(
        figure.caption if figure.value == UNKNOWN else f"{figure.caption} {figure.value}" for figure in _latency(series)
    )
    rows = (("Durations", durations), *_measured(series, most_kinds=_MOST_KINDS))
    pictures = label_pictures(series.df) if drawn else ()
    return Details(f"More about {short_name(label)}", (*pictures, Table("Measured", rows)))


def _state(figures: Mapping[str, Any], ended: str | None, notes: tuple[str, ...] = ()) -> tuple[Tone, str]:
    n, errors = int(figures["n"]), int(figures["errors"])
    counted = f"{plural(n, 'ping')}, {plural(errors, 'error') if errors else 'no errors'}"
    if ended in {"interrupted", UNFINISHED, CONTINUED}:
        return "warn", f"{ended}: {counted}"
    if ended == "journal_failed":
        return "bad", f"ended early, as the journal could not be written: {counted}"
    if ended:
        return "bad", f"ended early by {ended}: {counted}"
    if n and errors == n:
        return "bad", counted
    return ("warn" if errors or notes else "ok" if n else "off"), counted


def _badges(df: pd.DataFrame, attrs: Mapping[str, Any]) -> tuple[str, ...]:
    # A journal may have runs against several hosts.
    places = {bool(plan.get("sandbox", attrs.get("sandbox"))) for plan in attrs.get("plan") or [{}]}
    sandbox = ("sandbox" if places == {True} else "partly sandbox",) if True in places else ()
    return (*sandbox, *map(str, df["env"].dropna().unique()))


def _latency(series: RunSeries) -> tuple[Figure, ...]:
    figures = series.figures
    if not figures["ok"]:
        return (Figure(f"{figures['errors']:.0f} of {figures['n']:.0f}", "failed"),) if figures["n"] else ()
    if _are_few(figures["ok"]):
        # No percentile of any kind: the first one says it for all.
        p50 = _percentile_figure("p50_ms", figures, 0.50)
        if figures["ok"] == 1:
            return Figure(format_ms(figures["max_ms"]), "the one success" if figures["errors"] else "duration"), p50
        return Figure(format_ms(figures["min_ms"]), "min"), _max(series), p50
    percentiles = {name: _percentile_figure(name, figures, quantile) for name, quantile in PERCENTILES.items()}
    known = [figure for name, figure in percentiles.items() if math.isfinite(figures[name])]
    unknown = [figure for figure in percentiles.values() if figure not in known]
    corrected = (Figure(format_ms(value), f"{name} corrected") for name, value in corrected_ms(series).items())
    return (*known, _max(series), *corrected, *unknown)


def _are_few(n: float) -> bool:
    """Tell whether there is not even a median: then shares and means of them say less than their counts."""
    return n < pings_needed(0.50)


def _percentile_figure(column: str, figures: Mapping[str, Any], quantile: float) -> Figure:
    name, needed = column.removesuffix("_ms"), pings_needed(quantile)
    if math.isfinite(figures[column]):
        return Figure(format_ms(figures[column]), name)
    of_what = "successes" if figures["ok"] < needed else "successes whose time is known"
    return Figure(UNKNOWN, f"{name} needs {needed} {of_what}")


def _max(series: RunSeries) -> Figure:
    ok = _succeeded(series.df)
    reused = ok["reused"].to_numpy(dtype=bool)
    is_alone = not reused[ok["duration_ms"].to_numpy().argmax()] and reused.mean() > _MOSTLY
    return Figure(format_ms(series.figures["max_ms"]), "max, on a new connection" if is_alone else "max")


def _breakdowns(df: pd.DataFrame) -> tuple[Breakdown | None, Breakdown | None]:
    """Break down the pings in the middle, and their wait for the first byte."""
    ok = _succeeded(df)
    n, caption = len(ok), "Phases: mean of all"
    if not _are_few(n):
        ok, caption = _middle(df), "Phases near p50: mean of the middle fifth"
    elif n == 1:
        caption = "Phases of the ping"
    value = "mean" if n > 1 else "time"
    means = {name: float(ok[name].mean()) for name in PHASES}
    answered = ok[["rrt_ms", "ttfb_ms"]].dropna().mean()
    return phases(means, caption, value), server_share(answered["rrt_ms"], answered["ttfb_ms"], value)


def _middle(df: pd.DataFrame) -> pd.DataFrame:
    """Return the pings in the middle: their phases add up to about the p50, which medians of phases do not."""
    ok = _succeeded(df).sort_values("duration_ms", kind="stable")
    return ok.iloc[math.floor(0.4 * len(ok)) : math.ceil(0.6 * len(ok))]


def _succeeded(df: pd.DataFrame) -> pd.DataFrame:
    return df[df["error"].isna() & ~df["warmup"].astype(bool)]


def _measured(series: RunSeries, *, most_kinds: int = len(KINDS)) -> Iterator[tuple[str, str]]:
    figures = series.figures
    yield "Pings", _pings(series)
    if series.joined > 1 and series.plan.get("endless"):
        yield "Runs", f"{series.joined}, one for each start and each change of the watch"
    yield "Errors", _errors(series, most_kinds)
    if math.isfinite(figures["rate_hz"]):
        yield "Rate", _rate(series)
    if math.isfinite(figures["lag_p50_ms"]):
        median = ", median" if figures["n"] > 1 else ""
        yield "Start lag", f"{format_ms(figures['lag_p50_ms'])} behind the plan{median}"
    if series.client:
        own = f"{format_ms(series.client['own_p50_ms'])} a ping, median, before and after what is measured"
        yield "Client's own time", f"{own}{_limit(series)}"
    yield "Connections", _connections(series)
    if math.isfinite(figures["jitter_ms"]) and not _are_few(figures["ok"]):
        yield "Jitter", f"{format_ms(figures['jitter_ms'])} from ping to ping, mean"
    retried = int(series.df["retried"].astype(bool).sum())
    if retried:
        yield "Sent again", f"{plural(retried, 'ping')}, on a new connection"


def _limit(series: RunSeries) -> str:
    """Say whether the client was what limited the rate: where that was reached, it was not."""
    if "client_saturated" not in series.client["notices"]:
        return ""
    if is_behind(series) or series.plan.get("rate_hz", 0) is None:
        return ", and so the limit of the rate"
    return f"; {series.client['cpu_share']:.0%} of a core"


def _of_the_whole(attrs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what is known of the run, and not of each label."""
    yield from outages_row(attrs)
    pauses = attrs.get("pauses") or {}
    if pauses.get("count"):
        total = format_ms(pauses["total_s"] * 1e3)
        yield "Pauses", f"{pauses['count']} in the whole run, {total} in total, as the server asked"
    stood_still = attrs.get("machine_pauses") or {}
    if stood_still.get("count"):
        longest = format_ms(stood_still["longest_s"] * 1e3)
        yield "Machine pauses", f"{stood_still['count']} in the whole run, the longest {longest}"
    if attrs.get("skipped"):
        yield "Left out", skipped_starts(attrs["skipped"])
    if attrs.get("in_flight"):
        yield "Given up", f"{plural(attrs['in_flight'], 'ping')} in flight at the end of the run, without a row"


def _pings(series: RunSeries) -> str:
    plan = series.plan
    planned = [
        f"of {plan['count']} planned" if plan.get("count") else "",
        f"in {plan['duration_s']:g} s" if plan.get("duration_s") else "",
    ]
    warmup = int(series.df["warmup"].astype(bool).sum())
    left_out = f", {warmup} more for warm-up left out" if warmup else ""
    return " ".join(filter(None, (f"{series.figures['n']:.0f}", *planned))) + left_out


def _errors(series: RunSeries, most_kinds: int) -> str:
    df, figures = series.df, series.figures
    if not figures["n"]:
        return "none"
    low, high = format_share(figures["error_share_low"]), format_share(figures["error_share_high"])
    few = _are_few(figures["n"])
    interval = "" if few else f" (95 % interval {low} to {high})"
    if not figures["errors"]:
        return f"none{interval}"
    counts = df.loc[~df["warmup"].astype(bool), "error"].dropna().value_counts()
    by_count = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    kinds = enumerate_some([f"{kind} {count}" for kind, count in by_count if count], most_kinds)
    share = f" of {figures['n']:.0f}" if few else f", {format_share(figures['error_share'])}"
    return f"{figures['errors']:.0f}{share}{interval}: {kinds}"


def _rate(series: RunSeries) -> str:
    achieved = format_rate(series.figures["rate_hz"])
    if "rate_hz" not in series.plan:
        return achieved
    return f"{achieved}, {format_plan(series.plan['rate_hz'])}"


def _connections(series: RunSeries) -> str:
    df, plan = series.df, series.plan
    kind = [("cold" if plan["cold"] else "warm")] if "cold" in plan else []
    ok, share = series.figures["ok"], series.figures["reused_share"]
    reused = [f"{f'{ok * share:.0f} of {ok:.0f}' if _are_few(ok) else format_share(share)} reused"] if ok else []
    at_once = [f"{plan['concurrency']} at a time"] if plan.get("concurrency", 1) > 1 else []
    versions = [f"HTTP/{version}" for version in df["http_version"].dropna().unique()]
    tls = [str(version) for version in df["tls_version"].dropna().unique()]
    # A call that got no response may have failed before it came to TLS.
    without = ["no TLS"] if df.loc[df["http_version"].notna(), "tls_version"].isna().any() else []
    return ", ".join([*kind, *reused, *at_once, *versions, *tls, *without])


def _details(df: pd.DataFrame, attrs: Mapping[str, Any], more: tuple[tuple[str, str], ...] = ()) -> tuple[Details, ...]:
    rows = [*more]
    if len(df):
        began = df["timestamp"].min()
        rows += [] if pd.isna(began) else [("Began", format_utc(began.timestamp()))]
    if attrs:
        versions = attrs.get("versions") or {}
        rows += [
            ("Address", _address(attrs)),
            ("Made with", ", ".join(f"{name} {version}" for name, version in versions.items())),
            ("Platform", str(attrs.get("platform", ""))),
        ]
    return (Details("When, where and with what", (Table("Run", tuple(rows)),)),) if rows else ()


def _address(attrs: Mapping[str, Any]) -> str:
    host = attrs.get("host", "")
    hosts = list(dict.fromkeys(plan.get("host", host) for plan in attrs.get("plan") or [{}]))
    return f"{hosts[0]}{attrs.get('path', '')}" if len(hosts) == 1 else enumerate_some(hosts)
