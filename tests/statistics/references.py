"""The same numbers as scipy, where it has the same: the signed rank, order statistics, Wilson."""

from __future__ import annotations

import itertools

import numpy as np

from donutwork_magics.analysis.intervals import binomial_ranks, signed_rank, wilson

_CLOSE = 1e-9


def main() -> bool:
    """Compare with the scipy that is installed, print the largest distances, and return whether all are close."""
    sizes, quantiles = (30, 72, 100, 368, 3688), (0.1, 0.5, 0.9, 0.95, 0.99)
    hits = ((hits, n) for n in (1, 7, 50, 1000) for hits in range(0, n + 1, max(1, n // 9)))
    distances = {
        "signed rank, p-value": max(map(_signed_rank, range(6, 40))),
        "order statistics, ranks": max(itertools.starmap(_ranks, itertools.product(sizes, quantiles))),
        "Wilson, both ends": max(itertools.starmap(_wilson, hits)),
    }
    for name, distance in distances.items():
        print(f"{name:<30} {distance:.1e} from scipy's  {'holds' if distance <= _CLOSE else 'MISSED'} (<= {_CLOSE:g})")
    return max(distances.values()) <= _CLOSE


def _signed_rank(n: int) -> float:
    from scipy.stats import wilcoxon

    differences = np.random.default_rng(n).normal(0.3, 1.0, n)
    return float(abs(signed_rank(differences).p_value - wilcoxon(differences, method="exact").pvalue))


def _ranks(n: int, quantile: float) -> float:
    from scipy.stats import quantile_test

    theirs = quantile_test(np.arange(1.0, n + 1), q=0, p=quantile).confidence_interval(0.95)
    low, high = binomial_ranks(n, quantile)
    # Where the sample has no such end, scipy says NaN.
    return float(np.nanmax([0.0, abs(low - theirs.low), abs(high - theirs.high)]))


def _wilson(hits: int, n: int) -> float:
    from scipy.stats import binomtest

    theirs = binomtest(hits, n).proportion_ci(method="wilson")
    low, high = wilson(hits, n)
    return float(max(abs(low - theirs.low), abs(high - theirs.high)))
