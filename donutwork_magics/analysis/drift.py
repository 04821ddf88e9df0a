"""Whether latency at the end of a run is another than at its beginning: then one figure for the whole hides it."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

FEWEST: Final = 60
_SMALLEST_SHARE: Final = 0.1


class Drift(NamedTuple):
    """The medians of the first and of the last third, in milliseconds."""

    first_ms: float
    last_ms: float


def drift(values_ms: npt.NDArray[np.float64]) -> Drift | None:
    """Compare the last third of a series with the first.

    It is a drift where the medians of the thirds go one way, each outer one lies outside of what most of the other
    third is (its 20th to 80th percentile), and they differ by a tenth at least. Pings one after the other are alike, so
    that a test which takes them for independent sees a drift in every other run; this rule asks for much more.

    Parameters
    ----------
    values_ms
        Shape (n,), in the order in which they were measured.

    Returns
    -------
    Drift or None
        None where there is none, or fewer than `FEWEST` values.
    """
    if values_ms.size < FEWEST:
        return None
    first, middle, last = (np.percentile(part, [20, 50, 80]) for part in np.array_split(values_ms, 3))
    apart = not first[0] <= last[1] <= first[2] and not last[0] <= first[1] <= last[2]
    one_way = min(first[1], last[1]) <= middle[1] <= max(first[1], last[1])
    if not apart or not one_way or abs(last[1] - first[1]) < _SMALLEST_SHARE * first[1]:
        return None
    return Drift(float(first[1]), float(last[1]))
