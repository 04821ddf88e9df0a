"""How often the interval of a percentile misses it, and what is decided by it is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from donutwork_magics.analysis.intervals import (
    QuantileInterval,
    next_look,
    quantile_intervals,
    series_is_narrow,
    share_interval,
)
from donutwork_magics.analysis.shape import bursts, drift, modes, slow_start
from tests.statistics.figures import Share
from tests.statistics.processes import PROCESSES, in_bursts, true_quantile

QUANTILES = (0.5, 0.9, 0.95)
_MOST = 3000


def covered_percentiles(experiments: int) -> Iterator[Share]:
    """In how many of the series that have an interval does it hold the percentile?"""
    random = np.random.default_rng(11)
    for pings in (300, 1000):
        for name, process in PROCESSES.items():
            drawn_ms = process(random, experiments, pings)
            found = [quantile_intervals(series, QUANTILES) for series in drawn_ms]
            for at, quantile in enumerate(QUANTILES):
                shown = [each[at] for each in found if np.isfinite(each[at].low)]
                truth = true_quantile(name, quantile)
                hits = sum(not _misses(each, truth) for each in shown)
                promised = (0.93, 0.975) if _is_promised(name, pings, quantile) else (0.0, 1.0)
                what = f"p{100 * quantile:.0f} of {pings} pings: it is covered where shown"
                yield Share(what, name, hits, len(shown), *promised)


def shown_percentiles(experiments: int) -> Iterator[Share]:
    """How many series have an interval at all, and how many show one that misses?"""
    random = np.random.default_rng(12)
    for pings in (100, 300, 1000):
        for name, process in PROCESSES.items():
            found = [quantile_intervals(series, [0.5])[0] for series in process(random, experiments, pings)]
            shown = [each for each in found if np.isfinite(each.low)]
            yield Share(f"p50 of {pings} pings: an interval is shown", name, len(shown), experiments)
            misses = sum(_misses(each, true_quantile(name, 0.5)) for each in shown)
            promised = 0.07 if pings >= 300 else 0.1
            yield Share(f"p50 of {pings} pings: one that misses is shown", name, misses, experiments, at_most=promised)


def stopped_series(experiments: int) -> Iterator[Share]:
    """A series with ``--until 5%``: how often does the interval at which it ended miss the median?"""
    random = np.random.default_rng(13)
    for name, process in PROCESSES.items():
        misses = ended = 0
        for series in process(random, experiments, _MOST):
            pings = next_look(0)
            while pings <= _MOST and not series_is_narrow(series[:pings], 0.05):
                pings = next_look(pings)
            if pings <= _MOST:
                ended += 1
                misses += _misses(quantile_intervals(series[:pings], [0.5])[0], true_quantile(name, 0.5))
        # What drifts has another median by then; and only chance ends a series that is so alike.
        promised = 1.0 if name in {"drift", "alike, 0.95"} else 0.07
        yield Share("--until 5% of a series: the median is missed", name, misses, ended, at_most=promised)


def expected_percentiles(experiments: int) -> Iterator[Share]:
    """``--expect`` where the limit is the truth itself, the hardest case: how often is it said to hold, or to fail?"""
    random = np.random.default_rng(14)
    for name, process in PROCESSES.items():
        for quantile in (0.5, 0.95):
            limit = true_quantile(name, quantile)
            found = [
                quantile_intervals(series, [quantile], cautious=True)[0]
                for series in process(random, experiments, 1000)
            ]
            for word, hits in (
                ("holds", sum(each.high < limit for each in found)),
                ("fails", sum(each.low > limit for each in found)),
            ):
                # Where bursts come five times in a series, nothing tells of those that did not come.
                promised = 1.0 if name == "bursts" and quantile > 0.5 else 0.04
                what = f'--expect "p{100 * quantile:.0f}<the true one", 1000 pings: {word}'
                yield Share(what, name, hits, experiments, at_most=promised)


def expected_errors(experiments: int) -> Iterator[Share]:
    """The same for the share of errors, also where they come in outages."""
    random = np.random.default_rng(15)
    for share in (0.01, 0.05):
        for length in (1.01, 10.0):
            failed = in_bursts(share, length)(random, experiments, 2000)
            found = [share_interval(series) for series in failed]
            case = f"{share:.0%}, {'apart' if length < 2 else 'some 10 in a row'}"
            for word, hits in (
                ("holds", sum(high < share for _, high in found)),
                ("fails", sum(low > share for low, _ in found)),
            ):
                what = f'--expect "errors<the true share", 2000 pings: {word}'
                # Two outages are expected there, and one series of seven has none: nothing tells what it has not seen.
                promised = 0.06 if share * 2000 / length > 3 else 1.0
                yield Share(what, case, hits, experiments, at_most=promised)


def false_findings(experiments: int) -> Iterator[Share]:
    """Series that do not change: how often is a finding made that is not so?"""
    random = np.random.default_rng(16)
    for name in ("independent", "alike, 0.5", "alike, 0.8", "alike, 0.95"):
        drawn_ms = PROCESSES[name](random, experiments, 300)
        for finding, is_found in (
            ("drift", lambda series: drift(series) is not None),
            ("warm-up not over", lambda series: slow_start(series) > 0),
            ("several modes", lambda series: bool(modes(series))),
            ("bursts of outliers", lambda series: bursts(series) is not None),
        ):
            hits = sum(map(is_found, drawn_ms))
            # What wanders so slowly does drift, as far as 300 pings can tell.
            promised = {"drift": 1.0}.get(finding, 0.1) if name == "alike, 0.95" else 0.05
            yield Share(f"finding of 300 steady pings: {finding}", name, hits, experiments, at_most=promised)


def true_findings(experiments: int) -> Iterator[Share]:
    """Series whose tail comes in bursts, so that its interval misses too often: how often is that said?"""
    random = np.random.default_rng(17)
    for pings in (300, 1000):
        hits = sum(bursts(series) is not None for series in PROCESSES["bursts"](random, experiments, pings))
        yield Share(f"finding of {pings} pings: bursts of outliers", "bursts", hits, experiments)


def _misses(found: QuantileInterval, truth: float) -> bool:
    # Without an upper end, an interval says only what is below.
    return found.low > truth or found.high < truth


def _is_promised(name: str, pings: int, quantile: float) -> bool:
    """Tell whether an interval is promised to hold: not beyond 0.8, and not in the tail where bursts are few."""
    if name == "bursts" and quantile > 0.5:
        return False
    return name != "alike, 0.95" and (name != "alike, 0.8" or pings >= 300)


ALL = (
    covered_percentiles,
    shown_percentiles,
    stopped_series,
    expected_percentiles,
    expected_errors,
    false_findings,
    true_findings,
)
