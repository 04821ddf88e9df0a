"""A small part of the proof: enough experiments to notice a method that is broken, and not one that is a little off."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.statistics import comparison, series
from tests.statistics.figures import Share

pytestmark = pytest.mark.slow

_EXPERIMENTS = 60


@pytest.mark.parametrize(
    "figures",
    [
        comparison.false_differences,
        comparison.covered_differences,
        series.shown_percentiles,
        series.expected_errors,
        series.false_findings,
    ],
    ids=lambda figures: figures.__name__,
)
def test_a_few_experiments_keep_what_is_promised_of_them(figures: Callable[[int], Iterator[Share]]) -> None:
    assert [share.line() for share in figures(_EXPERIMENTS) if not share.holds] == []


def test_lines_one_after_the_other_would_show_differences_that_are_none() -> None:
    shares = {share.case: share.value for share in comparison.one_after_the_other(_EXPERIMENTS)}
    assert shares["drift"] > 0.5


@pytest.mark.parametrize(("hits", "holds"), [(30, True), (50, True), (150, False), (0, False)])
def test_a_share_holds_what_it_promises_but_for_chance(hits: int, *, holds: bool) -> None:
    assert Share("", "", hits, 1000, 0.035, 0.065).holds == holds
