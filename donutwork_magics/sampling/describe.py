"""A run in a small dict of plain values: what travels with its table, and stands in its journal."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from donutwork_magics._version import __version__
from donutwork_magics.client.endpoints import PING

if TYPE_CHECKING:
    from donutwork_magics.sampling.run import Run, Series

SCHEMA: Final = 1
"""Of the table and of the journal: they have the same columns."""

UNFINISHED: Final = "unfinished"
"""How a run has ended whose journal has no end: its process ended before it did, or it goes on."""

CONTINUED: Final = "continued"
"""How a journal ends that was moved while its run went on: the later rows are in another file."""


def describe(run: Run) -> dict[str, Any]:
    """Describe a run: what was planned, where, with what, how the client fared, and how it ended.

    It is an allow-list, without a header or a key: it travels with every copy of the frame into pickle and parquet.
    """
    first = run.series[0].target
    return {
        "schema": SCHEMA,
        "host": first.host,
        "path": first.base_url.path.rstrip("/") + PING.path,
        "sandbox": first.sandbox,
        "plan": [_planned(series) for series in run.series],
        "seed": None,
        "pauses": run.pauses.as_attrs(),
        "machine_pauses": run.machine_pauses.as_attrs(),
        "outages": run.outages.as_attrs(),
        "skipped": run.skipped,
        "client": [load.as_attrs() for load in run.clients],
        "in_flight": run.in_flight,
        "ended": run.ended,
        "versions": _versions(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _planned(series: Series) -> dict[str, Any]:
    return {
        **series.plan.as_attrs(),
        "http": series.http,
        "family": series.family,
        "timeout_s": series.timeout_s,
        "env": series.target.env,
        "host": series.target.host,
        "sandbox": series.target.sandbox,
    }


@cache
def _versions() -> dict[str, str]:
    return {
        "donutwork_magics": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("httpx", "pandas")},
    }
