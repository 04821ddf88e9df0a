"""Given a comparison, the words say how much, how surely, and what would show more."""

from __future__ import annotations

import math

import pytest

from donutwork_magics.analysis.compare import verdict
from donutwork_magics.analysis.intervals import Shift


@pytest.mark.parametrize(
    ("low", "estimate", "high", "ratio", "words"),
    [
        (-2.4, -2.1, -1.8, 0.92, "2.1 ms faster (1.8 to 2.4), 8 %"),
        (1.8, 2.1, 2.4, 1.08, "2.1 ms slower (1.8 to 2.4), 8 %"),
        (0.0183, 0.021, 0.0241, 1.002, "21 µs slower (18 to 24), 0.2 %"),
        (900.0, 1500.0, 2100.0, 16.0, "1.5 s slower (0.9 to 2.1), 1500 %"),
        (0.004, 0.5, 1.2, 1.05, "0.500 ms slower (0.004 to 1.200), 5 %"),
        (1.0, 1.0, 1.0, math.nan, "1.00 ms slower (1.00 to 1.00)"),
    ],
)
def test_a_difference_that_is_shown(low: float, estimate: float, high: float, ratio: float, words: str) -> None:
    assert verdict(Shift(estimate, low, high, 0.01), ratio, 25.0, 100) == words


@pytest.mark.parametrize(
    ("low", "high", "baseline_ms", "words"),
    [
        (-0.9, 1.1, 50.0, "−0.9 to +1.1 ms; some 400 pings a line would show 3 %"),
        (-5.0, 0.0, 1000.0, "−5 to 0 ms; some 230 pings a line would show 0.5 %"),
        (-0.9, 1.1, 0.0, "−0.9 to +1.1 ms"),
        (0.0, 0.0, 30.0, "0 to 0 ms"),
        (-0.01, 1.5, 0.0, "0 to +1.5 ms"),
    ],
)
def test_one_that_is_not(low: float, high: float, baseline_ms: float, words: str) -> None:
    assert verdict(Shift(0.0, low, high, 0.5), 1.0, baseline_ms, 225) == f"no difference shown: {words}"
