"""What pauses of this machine did to the rows of a run, so that the API is not blamed for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import pandas as pd

from donutwork_magics.sampling.pauses import MACHINE_PAUSE_MS

_SMALLEST_OVERLAP_MS: Final = MACHINE_PAUSE_MS / 2
"""Threads wake up one after the other: a ping may begin shortly before the pause is reported to have ended."""

_MOST_LAG: Final = 2.0
"""A lag may exceed the pause: a worker also waits for the interpreter lock before and after it, for shorter times."""


class Held(NamedTuple):
    """How pauses of this machine show in some rows."""

    within: int
    """Pings whose duration holds one."""
    late: bool
    """Whether pings were to begin during one; also where only some of the pauses are known."""
    alone: bool
    """Whether the pauses explain the lags: none is much longer, and no duration long enough to delay the next ping."""


def held_by_machine(df: pd.DataFrame, pauses: Mapping[str, Any], *, concurrency: int) -> Held:
    """Find the pings that pauses of this machine held up.

    A server that stalls shows in a duration: while all workers wait for replies, the next ping cannot begin. A lag that
    no duration explains comes from this machine.

    Parameters
    ----------
    df
        The rows of one label, in planned order, as `donutwork_magics.frame.restored.restored` returned them.
    pauses
        The ``machine_pauses`` of the run.
    concurrency
        How many pings were in flight at most.
    """
    started_ms, duration_ms = df["started_ms"], df["duration_ms"]
    within_ms = _paused_ms(started_ms, started_ms + duration_ms, pauses)
    within = within_ms > 0
    late = bool((_paused_ms(df["scheduled_ms"], started_ms, pauses) > 0).any())
    # A pause may have begun a little earlier than is known.
    own_ms = duration_ms - within_ms - MACHINE_PAUSE_MS * within
    period_ms = (df["scheduled_ms"].diff() / df["seq"].astype("float64").diff()).median()
    explained_ms = _MOST_LAG * (pauses["total_s"] * 1e3 + pauses["count"] * MACHINE_PAUSE_MS)
    alone = not (own_ms > concurrency * period_ms).any() and bool(df["lag_ms"].max() <= explained_ms)
    return Held(int(within.sum()), late or pauses["count"] > len(pauses["first"]), alone)


def _paused_ms(from_ms: pd.Series[float], until_ms: pd.Series[float], pauses: Mapping[str, Any]) -> pd.Series[float]:
    """Compute for how much of each time this machine stood still, as far as that is known."""
    paused_ms = pd.Series(0.0, index=from_ms.index)
    for at_s, pause_s in pauses["first"]:
        overlap_ms = until_ms.clip(upper=(at_s + pause_s) * 1e3) - from_ms.clip(lower=at_s * 1e3)
        paused_ms += overlap_ms.where(overlap_ms >= _SMALLEST_OVERLAP_MS, 0.0)
    return paused_ms
