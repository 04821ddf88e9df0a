"""The card of a run: a DataFrame of pings at a glance, one series or several side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from donutwork_magics.analysis.compare import compare, pings_for
from donutwork_magics.analysis.counted import above_wait, as_array, attributes, counted
from donutwork_magics.analysis.diagnose import CORRECTED, Finding, findings
from donutwork_magics.analysis.expectations import Judgement, Outcome, judge
from donutwork_magics.analysis.intervals import pings_needed
from donutwork_magics.analysis.series import (
    RunSeries,
    corrected_ms,
    is_behind,
    labels_of,
    rate_hz,
    series_of,
    typical,
    with_labels,
)
from donutwork_magics.analysis.summary import NEEDED, PERCENTILES, summarised
from donutwork_magics.columns import PHASES
from donutwork_magics.display.card import ICONS, Breakdown, Card, Details, Figure, Pictures, Section, Table, Tone
from donutwork_magics.display.cards import badges, card_of, phases, wait
from donutwork_magics.display.run_charts import COARSE_PX, comparison_pictures, run_pictures, timelines
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import KINDS, AnalysisError
from donutwork_magics.frame.schema import missing_columns, repeated_columns, restored
from donutwork_magics.sampling.outages import FEWEST
from donutwork_magics.sampling.series import CONTINUED, INTERRUPTED, NARROW, UNFINISHED
from donutwork_magics.units import (
    UNKNOWN,
    enumerate_some,
    format_difference_ms,
    format_interval_ms,
    format_ms,
    format_plan,
    format_rate,
    format_s,
    format_share,
    format_tick_s,
    format_utc,
    plural,
    short_name,
)

_MOST_LABELS: Final = 20
"""Of a comparison; a saved notebook is not to grow without end."""
_MOST_CARDS: Final = 3
_MOST_TIMELINES: Final = 2
_MOST_KINDS: Final = 3
_MOST_UNFOLDED: Final = 3
"""Outages in sight."""
_MOST_WHOLE: Final = 2
_MOST_NAMED: Final = 4
_MINUTE_S: Final = 60.0
_USUAL_LABEL: Final = "ping"
_MOSTLY: Final = 0.8
_TYPICAL: Final = "Typical ping{} (mean of the 40th to 60th percentile)"
_ENDED: Final = {
    "journal_failed": "ended early, as the journal could not be written",
    "out_of_files": "ended early, as this machine's limit of open files was reached",
    "out_of_threads": "ended early, as the system started no further thread",
    "prober_lost": "ended early, as the process that pings was lost",
    "unexpected_error": "ended early by a fault of this extension",
}
_OUTCOMES: Final[dict[Outcome, Tone]] = {"holds": "ok", "fails": "bad", "undecided": "off"}
_WIDTHS: Final = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_NARROWER: Final = 0.9


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

    df: pd.DataFrame
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return self._repr_mimebundle_()["text/plain"]


@card_of.register
def _run_card(run: RunCard) -> Card:
    lacking, repeated, why = missing_columns(run.df), repeated_columns(run.df), ""
    if lacking or repeated:
        why = f"It lacks {enumerate_some(lacking)}." if lacking else f"It has {enumerate_some(repeated)} twice."
    else:
        try:
            df = with_labels(restored(run.df))
        except AnalysisError as error:
            why = str(error)
    if why:
        return Card("Pings", "off", "not a table of pings", notes=(why,))
    attrs, labels = attributes(df), labels_of(df) or [_USUAL_LABEL]
    is_comparison = len(labels) > 1
    series = {label: series_of(df, attrs, label if is_comparison else None) for label in labels[:_MOST_LABELS]}
    found, judged = findings(df, attrs, series), _judged(series)
    whole = summarised(counted(df, "duration_ms", more=NEEDED)) if is_comparison else series[labels[0]].figures
    tone, state = _state(whole, attrs, found, judged.values())
    outages, folded_outages = _outages(attrs)
    detailed = series if is_comparison and len(labels) <= _MOST_CARDS else {}
    # Their corrected times are in sight.
    late = {finding.label for finding in _told(found) if CORRECTED in finding.text}
    return Card(
        title="Pings",
        tone=tone,
        state=state,
        name="" if is_comparison or labels == [_USUAL_LABEL] else str(labels[0]),
        badges=_badges(df, attrs),
        figures=() if is_comparison else _latency(series[labels[0]]),
        notes=(*run.notes, *_notes(found)),
        sections=(
            *_expectations(judged),
            *(_compared(df, series, labels) if is_comparison else _alone(series[labels[0]])),
            *outages,
        ),
        details=(
            *(
                _label_details(label, own, drawn=len(labels) <= _MOST_TIMELINES, corrected=str(label) not in late)
                for label, own in detailed.items()
            ),
            *folded_outages,
            *_details(df, attrs, _of_the_whole(attrs) if is_comparison else ()),
        ),
    )


def _alone(series: RunSeries) -> Iterator[Section]:
    yield from run_pictures(series.df, series.figures)
    yield from _breakdowns(series.df)
    yield Table("Measured", (*_measured(series), *_of_the_whole(series.attrs)))


def _compared(df: pd.DataFrame, series: Mapping[Any, RunSeries], labels: list[Any]) -> Iterator[Section]:
    compared, figures = compare(df), {label: own.figures for label, own in series.items()}
    yield _verdicts(compared, labels)
    yield from comparison_pictures(df, figures)
    cut = f'; the first {len(series)} of {len(labels)} labels, all are in df.donutwork.summary(by="label")'
    differences_ms = compared["difference_ms"].to_dict()
    yield Table(
        f"Duration by label, Δ to the first{cut if len(labels) > len(series) else ''}",
        tuple(
            (
                short_name(label),
                format_ms(own["p50_ms"]),
                format_difference_ms(differences_ms.get(label, math.nan)),
                format_ms(own["p95_ms"]),
                format_ms(own["max_ms"]),
                f"{own['n']:.0f}",
                f"{own['errors']:.0f}",
            )
            for label, own in figures.items()
        ),
        head=("label", "p50", "Δ p50", "p95", "max", "n", "errors"),
    )
    if len(labels) <= _MOST_CARDS:
        yield _phases_by_label(series)


def _verdicts(compared: pd.DataFrame, labels: list[Any]) -> Table:
    """Say of each label how it compares with the first; of all together where that is the same."""
    verdicts = {short_name(label): verdict for label, verdict in compared["verdict"].items()}
    if len(compared) > 1 and compared["verdict"].nunique() == 1:
        verdicts = {f"all {len(compared)}": compared["verdict"].iloc[0]}
    rounds = compared["blocks"].max()
    of_rounds = f", {rounds} rounds, 95 % intervals" if rounds else ""
    shown = tuple(verdicts.items())[: _MOST_LABELS - 1]
    return Table(f"Compared with {short_name(labels[0])}: p50 of the duration{of_rounds}", shown)


def _phases_by_label(series: Mapping[Any, RunSeries]) -> Table:
    columns = {**PHASES, "rrt_ms": "server"}
    ok = {label: own.rows[own.rows["error"].isna()] for label, own in series.items()}
    means = {label: typical(_with_rrt(own))[list(columns)].mean(skipna=False) for label, own in ok.items()}
    for label, own in ok.items():
        if _is_above_wait(own):
            means[label]["rrt_ms"] = math.nan
    # NaN is not above 0 either.
    happened = [column for column in columns if any(mean[column] > 0 for mean in means.values())]
    server = "; server is its RRT, within the first byte" if "rrt_ms" in happened else ""
    return Table(
        f"{_TYPICAL.format('')}{server}",
        tuple((short_name(label), *(format_ms(mean[column]) for column in happened)) for label, mean in means.items()),
        head=("label", *(columns[column] for column in happened)),
    )


def _label_details(label: Any, series: RunSeries, *, drawn: bool, corrected: bool) -> Details:
    late_ms = corrected_ms(series) if corrected else {}
    # In one row, as three labels with figures of their own would make a card of over 30 kB.
    durations = ", ".join(
        figure.name
        if figure.value == UNKNOWN
        else f"{figure.name} {figure.value}" + (f" ({figure.interval})" if figure.interval else "")
        for figure in (
            *_latency(series),
            *(Figure(format_ms(value), f"{name} corrected") for name, value in late_ms.items()),
        )
    )
    rows = (("Durations", durations), *_measured(series, most_kinds=_MOST_KINDS))
    pictures = timelines(series.df, column_px=COARSE_PX) if drawn else ()
    content = (*((Pictures(pictures),) if pictures else ()), Table("Measured", rows))
    return Details(f"More about {short_name(label)}", content)


def _judged(series: Mapping[Any, RunSeries]) -> dict[str, Judgement]:
    """Judge what was expected of each series, by label and expectation."""
    judged = [(label, judge(text, own.df)) for label, own in series.items() for text in own.plan.get("expect") or ()]
    return {f"{f'{short_name(label)}: ' if len(series) > 1 else ''}{each.expectation}": each for label, each in judged}


def _expectations(judged: Mapping[str, Judgement]) -> tuple[Table, ...]:
    rows = tuple(
        (name, f"{ICONS[_OUTCOMES[each.outcome]]} {str(each).removeprefix(f'{each.expectation} ').removeprefix('is ')}")
        for name, each in judged.items()
    )
    return (Table("Expectations, judged by 95 % intervals", rows),) if rows else ()


def _state(
    figures: Mapping[str, Any], attrs: Mapping[str, Any], found: tuple[Finding, ...], judged: Iterable[Judgement]
) -> tuple[Tone, str]:
    ended = attrs.get("ended")
    n, errors = int(figures["n"]), int(figures["errors"])
    counted = f"{plural(n, 'ping')}, {plural(errors, 'error') if errors else 'no errors'}"
    if ended in {INTERRUPTED, UNFINISHED, CONTINUED}:
        return "warn", f"{ended}: {counted}"
    if ended in KINDS and n == _planned(attrs):
        # The ping that would have ended it was the last one.
        who = "the planned ping" if n == 1 else f"all {n} planned pings"
        return "bad", f"{who} failed" if errors == n else f"{counted}, all that were planned"
    if ended and ended != NARROW:
        return "bad", f"{_ENDED.get(ended, f'ended early by {ended}')}: {counted}"
    if ended:
        counted += ", enough for its interval (--until)"
    if any(each.outcome == "fails" for each in judged):
        return "bad", f"{counted}, not as expected"
    if n and errors == n:
        return "bad", counted
    doubtful = any(finding.casts_doubt for finding in found)
    return ("warn" if errors or doubtful else "ok" if n else "off"), counted


def _planned(attrs: Mapping[str, Any]) -> float:
    """Return how many pings were planned; infinite where that is not known, or a duration was to end them."""
    counts = [plan.get("count") for plan in attrs.get("plan") or [{}]]
    return math.inf if None in counts else sum(filter(None, counts))


def _badges(df: pd.DataFrame, attrs: Mapping[str, Any]) -> tuple[str, ...]:
    # A journal may have runs against several hosts.
    places = {bool(plan.get("sandbox", attrs.get("sandbox"))) for plan in attrs.get("plan") or [{}]}
    sandbox = "" if True not in places else "sandbox" if places == {True} else "partly sandbox"
    return badges(sandbox, map(str, df["env"].dropna().unique()))


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
    percentiles = {
        name: _percentile_figure(name, figures, quantile, series.intervals[name])
        for name, quantile in PERCENTILES.items()
    }
    known = [figure for name, figure in percentiles.items() if math.isfinite(figures[name])]
    unknown = [figure for figure in percentiles.values() if figure not in known]
    return (*known, _max(series), *unknown)


def _are_few(n: float) -> bool:
    """Tell whether there is not even a median: then shares and means of them say less than their counts."""
    return n < pings_needed(0.50)


def _percentile_figure(
    column: str, figures: Mapping[str, Any], quantile: float, interval: tuple[float, float] = (math.nan, math.nan)
) -> Figure:
    name, needed = column.removesuffix("_ms"), pings_needed(quantile)
    if math.isfinite(figures[column]):
        return Figure(format_ms(figures[column]), name, format_interval_ms(*interval))
    of_what = "successes" if figures["ok"] < needed else "successes whose time is known"
    return Figure(UNKNOWN, f"{name} needs {needed} {of_what}")


def _max(series: RunSeries) -> Figure:
    ok = _succeeded(series.df)
    reused = ok["reused"].to_numpy(dtype=bool)
    is_alone = not reused[ok["duration_ms"].to_numpy().argmax()] and reused.mean() > _MOSTLY
    return Figure(format_ms(series.figures["max_ms"]), "max, on a new connection" if is_alone else "max")


def _breakdowns(df: pd.DataFrame) -> tuple[Breakdown, ...]:
    """Break down the pings in the middle, and their wait for the first byte: the same rows, so that both add up."""
    ok = _succeeded(df)
    rows = _with_rrt(ok)
    n = len(rows)
    whose, all_of_them = (f" of the {n} with an RRT", f"the {n} with an RRT") if n < len(ok) else ("", "all")
    caption = f"Phases: mean of {all_of_them}"
    if not _are_few(n):
        rows, caption = typical(rows), _TYPICAL.format(whose)
    elif n == 1:
        caption = f"Phases of the ping{' with an RRT' if whose else ''}"
    value = "mean" if n > 1 else "time"
    means = {name: float(rows[name].mean()) for name in PHASES}
    # A mean of fewer rows would not be a part of the wait.
    parts = rows[["ttfb_ms", "rrt_ms", "tcp_rtt_ms"]].mean(skipna=False)
    return (*phases(means, caption, value), *(() if _is_above_wait(ok) else wait(dict(parts), value)))


def _is_above_wait(ok: pd.DataFrame) -> bool:
    return above_wait(as_array(ok["ttfb_ms"]) - as_array(ok["rrt_ms"])) > 0


def _with_rrt(ok: pd.DataFrame) -> pd.DataFrame:
    """Return the successes with an RRT, if at least half of them have one, and else all."""
    known = ok["rrt_ms"].notna()
    return ok[known] if known.mean() >= 0.5 else ok


def _succeeded(df: pd.DataFrame) -> pd.DataFrame:
    return df[df["error"].isna() & ~df["warmup"].astype(bool)]


def _measured(series: RunSeries, *, most_kinds: int = len(KINDS)) -> Iterator[tuple[str, str]]:
    figures = series.figures
    yield "Pings", _pings(series)
    if series.joined > 1 and series.plan.get("endless"):
        yield "Runs", f"{series.joined}, as the watch was started again or changed"
    yield "Errors", _errors(series, most_kinds)
    if narrower := _narrower(series):
        yield "Interval of p50", narrower
    reached_hz, in_blocks = rate_hz(series)
    if math.isfinite(reached_hz):
        planned = f", {format_plan(series.plan['rate_hz'])}" if "rate_hz" in series.plan else ""
        yield "Rate", f"{format_rate(reached_hz)}{' within its blocks' if in_blocks else ''}{planned}"
    if math.isfinite(figures["lag_p50_ms"]):
        median = ", median" if figures["n"] > 1 else ""
        yield "Start lag", f"{format_ms(figures['lag_p50_ms'])} behind the plan{median}"
    if series.client:
        own = f"{format_ms(series.client['own_p50_ms'])} per ping (median), outside the measured time"
        if "client_saturated" in series.client["notices"]:
            # Where the rate was reached, the client was not what limited it.
            is_limit = is_behind(series) or series.plan.get("rate_hz", 0) is None
            own += ", and so the limit of the rate" if is_limit else f"; {series.client['cpu_share']:.0%} of a core"
        yield "Client's own time", own
    yield "Connections", _connections(series)
    if math.isfinite(figures["jitter_ms"]) and not _are_few(figures["ok"]):
        yield "Jitter", f"{format_ms(figures['jitter_ms'])} from ping to ping, mean"
    retried = int(series.df["retried"].astype(bool).sum())
    if retried:
        yield "Retried", f"{plural(retried, 'ping')}, on a new connection"


def _of_the_whole(attrs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what is known of the run, and not of each label."""
    outages = attrs.get("outages") or {}
    if outages.get("count"):
        several = len({outage.get("place") for outage in outages["first"]}) > 1
        each = ", each service by itself" if several else ""
        yield "Outages", f"{outages['count']} in the whole run, {_length(outages['total_s'])} in total{each}"
    pauses = attrs.get("pauses") or {}
    if pauses.get("count"):
        total = format_ms(pauses["total_s"] * 1e3)
        yield "Pauses", f"{pauses['count']} in the whole run, {total} in total, as the server asked"
    stood_still = attrs.get("machine_pauses") or {}
    if stood_still.get("count"):
        longest = format_ms(stood_still["longest_s"] * 1e3)
        yield "Machine pauses", f"{stood_still['count']} in the whole run, the longest {longest}"
    if attrs.get("skipped"):
        yield "Skipped", skipped_starts(attrs["skipped"])
    if overdue := attrs.get("overdue"):
        starts = plural(sum(each["starts"] for each in overdue), "planned start")
        yield "Not made", f"{starts}, due as the run ended"
    if in_flight := attrs.get("in_flight"):
        waited = format_ms(max(each["waited_ms"] for each in in_flight))
        longest = waited if len(in_flight) == 1 else f"up to {waited}"
        yield "Abandoned", f"{plural(len(in_flight), 'ping')} in flight at the end, after {longest}, without a row"


def _narrower(series: RunSeries) -> str:
    """Say how wide the interval of the median is, and how many pings would make it narrower."""
    (low_ms, high_ms), p50_ms = series.intervals["p50_ms"], series.figures["p50_ms"]
    half_width_ms = (high_ms - low_ms) / 2
    if not half_width_ms > 0:
        return ""
    share = half_width_ms / p50_ms
    text = f"±{format_share(share)} (95 %)"
    for narrow in _WIDTHS:
        # Else both would read alike.
        if narrow < _NARROWER * share:
            pings = pings_for(narrow, half_width_ms, p50_ms, series.figures["ok"])
            return f"{text}; about {pings} pings would give ±{100 * narrow:g} %"
    return text


def _pings(series: RunSeries) -> str:
    plan = series.plan
    planned = [
        f"of {plan['count']} planned" if plan.get("count") else "",
        f"in {format_tick_s(plan['duration_s'])}" if plan.get("duration_s") else "",
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


def _outages(attrs: Mapping[str, Any]) -> tuple[tuple[Table, ...], tuple[Details, ...]]:
    """List the outages of a run, as far as they are described: in sight where they are few, folded where many."""
    outages = attrs.get("outages") or {}
    first = outages.get("first") or []
    if not first:
        return (), ()
    caption = f"Outages: {FEWEST} or more pings in a row without an answer or with a server error"
    if not all(outage["over"] for outage in first):
        caption += "; ≥: no ping was answered after it"
    is_named = any(outage.get("place") for outage in first)
    rows = (
        (
            format_utc(outage["began_s"]),
            # With both, the table would be too wide for a terminal.
            short_name(outage.get("place", "")) if is_named else _length(outage["at_s"]),
            f"{'' if outage['over'] else '≥ '}{_length(outage['length_s'])}",
            enumerate_some(outage["kinds"], 1),
            str(outage["pings"]),
        )
        for outage in first
    )
    table = Table(caption, tuple(rows), head=("began", "of" if is_named else "into run", "length", "errors", "pings"))
    if len(first) <= _MOST_UNFOLDED:
        return (table,), ()
    some = f", the first {len(first)}" if outages["count"] > len(first) else ""
    return (), (Details(f"{plural(outages['count'], 'outage')}{some}", (table,)),)


def _length(seconds: float) -> str:
    return format_ms(seconds * 1e3) if seconds < _MINUTE_S else format_s(seconds)


def _details(df: pd.DataFrame, attrs: Mapping[str, Any], more: Iterable[tuple[str, str]]) -> tuple[Details, ...]:
    rows = [*more]
    began = df["timestamp"].min()
    if not pd.isna(began):
        rows.append(("Began", format_utc(began.timestamp())))
    if attrs:
        host, sandbox = attrs.get("host", ""), attrs.get("sandbox")
        hosts = list(dict.fromkeys(plan.get("host", host) for plan in attrs.get("plan") or [{}]))
        rows.append(("Address", f"{hosts[0]}{attrs.get('path', '')}" if len(hosts) == 1 else enumerate_some(hosts)))
        if sandbox and isinstance(sandbox, Mapping):
            rows.append(("Sandbox", "; ".join(f"{name} {value}" for name, value in sandbox.items())))
        versions = ", ".join(f"{name} {version}" for name, version in (attrs.get("versions") or {}).items())
        rows += [("Made with", versions), ("Platform", str(attrs.get("platform", "")))]
    return (Details("Run details", (Table("Run", tuple(rows)),)),) if rows else ()


def skipped_starts(skipped: int) -> str:
    """Say how many planned starts a monitor has left out."""
    return f"{plural(skipped, 'planned start')} (during outages, or when more than 30 s behind)"


def _notes(found: Sequence[Finding]) -> Iterator[str]:
    """Write findings as notes: of two labels all that there is to know, and of more each kind once, and who has it.

    A card is not to grow with its labels.
    """
    told: set[str] = set()
    for finding in _told(found):
        if finding.label is None:
            yield str(finding)
            continue
        text = finding.text if finding.name in told else str(finding)
        alike = [] if _are_all_told(found) else [each for each in found if each.name == finding.name]
        others = dict.fromkeys(short_name(each.label) for each in alike if each.label != finding.label)
        names = enumerate_some(list(others), _MOST_NAMED - 1)
        also = f" The same of {names}: df.donutwork.diagnose() has their figures." if others else ""
        yield f"{short_name(finding.label)}: {text}{also}"
        told.add(finding.name)


def _told(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings whose texts are among the notes."""
    if _are_all_told(found):
        return list(found)
    first: dict[str, Finding] = {}
    for finding in found:
        if finding.label is not None:
            first.setdefault(finding.name, finding)
    return [finding for finding in found if finding.label is None or finding is first[finding.name]]


def _are_all_told(found: Sequence[Finding]) -> bool:
    return len({finding.label for finding in found} - {None}) <= _MOST_WHOLE
