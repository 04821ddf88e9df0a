"""What pauses of this machine did to the rows of a run, so that the API is not blamed for them."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import pandas as pd

from donutwork_magics.sampling.machine import MACHINE_PAUSE_MS

_SMALLEST_OVERLAP_MS: Final = MACHINE_PAUSE_MS / 2
"""Threads wake up one after the other: a ping may begin shortly before the pause is reported to have ended."""

_MOST_LAG: Final = 2.0
"""A lag may exceed the pause: a worker also waits for the interpreter lock before and after it, for shorter times."""

_MOST_EXPLAINED: Final = 0.1
"""Where durations explain this share of the largest lag at most, something else made pings late."""


class Held(NamedTuple):
    """How pauses of this machine show in some rows."""

    within: int
    """Pings whose duration holds one."""
    failed: int
    """How many of these failed."""
    late: bool
    """Whether pings were to begin during one; also where only some of the pauses are known."""
    alone: bool
    """Whether the pauses explain the lags: none is much longer, and durations explain next to nothing of them."""


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
    explained_ms = _MOST_LAG * (pauses["total_s"] * 1e3 + pauses["count"] * MACHINE_PAUSE_MS)
    alone = not behind_others(df, own_ms, concurrency=concurrency) and bool(df["lag_ms"].max() <= explained_ms)
    failed = int((within & df["error"].notna()).sum())
    return Held(int(within.sum()), failed, late or pauses["count"] > len(pauses["first"]), alone)


def behind_others(df: pd.DataFrame, duration_ms: pd.Series[float], *, concurrency: int) -> bool:
    """Tell whether such durations explain that pings began late: each worker has one ping in flight.

    Parameters
    ----------
    df
        The rows of one label, none of them missing.
    duration_ms
        How long each took.
    concurrency
        How many pings were in flight at most.
    """
    planned = df["scheduled_ms"].notna() & df["started_ms"].notna() & duration_ms.notna()
    if not planned.any():
        return False
    rows = df[planned].assign(duration_ms=duration_ms[planned]).sort_values("scheduled_ms", kind="stable")
    # Why the first one was late, rows that are no longer here might tell.
    free_ms = [float(rows["started_ms"].iloc[0])] * concurrency
    largest_ms = 0.0
    for scheduled_ms, took_ms in zip(rows["scheduled_ms"].tolist(), rows["duration_ms"].tolist(), strict=True):
        begins_ms = max(scheduled_ms, free_ms[0])
        largest_ms = max(largest_ms, begins_ms - scheduled_ms)
        heapq.heapreplace(free_ms, begins_ms + took_ms)
    return largest_ms > _MOST_EXPLAINED * float(rows["lag_ms"].max())


def _paused_ms(from_ms: pd.Series[float], until_ms: pd.Series[float], pauses: Mapping[str, Any]) -> pd.Series[float]:
    """Compute for how much of each time this machine stood still, as far as that is known."""
    paused_ms = pd.Series(0.0, index=from_ms.index)
    for at_s, pause_s in pauses["first"]:
        overlap_ms = until_ms.clip(upper=(at_s + pause_s) * 1e3) - from_ms.clip(lower=at_s * 1e3)
        paused_ms += overlap_ms.where(overlap_ms >= _SMALLEST_OVERLAP_MS, 0.0)
    return paused_ms
