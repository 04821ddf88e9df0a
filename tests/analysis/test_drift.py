"""Given a run whose latency moves, it is said; given noise, it is not."""

from __future__ import annotations

import numpy as np
import pytest

import donutwork_magics.frame.accessor  # noqa: F401 - the card is reached from the table
from donutwork_magics.analysis.diagnose import diagnose
from donutwork_magics.analysis.shape import FEWEST, Drift, drift
from tests.display.frames import frame


def noise(seed: int, n: int = 300, correlation: float = 0.8) -> list[float]:
    """Latencies of which each is like the one before, as real ones are."""
    chance = np.random.default_rng(seed)
    level, values = 0.0, []
    for step in chance.normal(size=n):
        level = correlation * level + step
        values.append(20.0 * float(np.exp(0.1 * level)))
    return values


@pytest.mark.slow
def test_noise_is_no_drift() -> None:
    found = [drift(np.array(noise(seed))) for seed in range(200)]
    assert sum(each is not None for each in found) <= 10


@pytest.mark.parametrize("change", [2.0, 0.5])
def test_a_level_that_moves_is_one(change: float) -> None:
    for seed in range(20):
        found = drift(np.array(noise(seed)) * np.linspace(1.0, change, 300))
        assert found is not None
        assert (found.last_ms > found.first_ms) == (change > 1)


def test_rows_are_looked_at_in_the_order_of_their_starts() -> None:
    df = frame([10.0] * 100 + [15.0] * 100 + [20.0] * 100)
    for table in (df, df.sample(frac=1.0, random_state=1)):
        (found,) = (each for each in diagnose(table) if each.name == "drift")
        assert found.evidence == {"first_ms": 10.0, "last_ms": 20.0}


def test_it_takes_enough_pings() -> None:
    values = np.repeat([10.0, 15.0, 20.0], FEWEST // 3)
    assert drift(values) == Drift(10.0, 20.0)
    assert drift(values[1:]) is None


def test_what_is_steady_but_for_a_hair_is_none() -> None:
    assert drift(np.repeat([10.0, 10.5], 100)) is None


def test_the_card_says_it() -> None:
    df = frame([10.0] * 100 + [15.0] * 100 + [20.0] * 100)
    assert "Latency drifted: its median was 10.0 ms in the first third, and 20.0 ms in the last." in " ".join(
        repr(df.donutwork).split()
    )
