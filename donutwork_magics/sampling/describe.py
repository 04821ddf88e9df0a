"""A run in a small dict of plain values: what travels with its table, and stands in its journal."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from donutwork_magics._version import __version__
from donutwork_magics.client.replies import PING
from donutwork_magics.sampling.outages import Outages
from donutwork_magics.sampling.pauses import Pauses

if TYPE_CHECKING:
    from donutwork_magics.sampling.series import Series
    from donutwork_magics.sampling.workers import Run

SCHEMA: Final = 1
"""Of the table and of the journal: they have the same columns."""

UNFINISHED: Final = "unfinished"
"""How a run has ended whose journal has no end: its process ended before it did, or it goes on."""

INTERRUPTED: Final = "interrupted"
"""How a run has ended that Ctrl-C or another signal has ended."""

NARROW: Final = "narrow"
"""How a run has ended whose interval was as narrow as it was to become."""

CONTINUED: Final = "continued"
"""How a journal ends that was moved while its run went on: the later rows are in another file."""


def beginning(lines: Sequence[Series], *, sandbox: dict[str, Any] | None, seed: int | None) -> dict[str, Any]:
    """Describe what of a run is known before its first ping: what is planned, where, and with what.

    It is an allow-list, without a header or a key: it travels with every copy of the frame into pickle and parquet.
    """
    first = lines[0].target
    return {
        "began": datetime.now(UTC).isoformat(),
        "host": first.host,
        "path": first.base_url.path.rstrip("/") + PING.path,
        "sandbox": first.sandbox if sandbox is None else sandbox,
        "plan": [_planned(series) for series in lines],
        "seed": seed,
        "versions": _versions(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


NOT_BEGUN: Final[dict[str, Any]] = {
    "pauses": Pauses().as_attrs(),
    "machine_pauses": Pauses().as_attrs(),
    "outages": Outages().as_attrs(),
    "skipped": 0,
    "client": [],
    "in_flight": 0,
    "ended": UNFINISHED,
}
"""What `progress` says of a run before its first ping."""


def progress(run: Run) -> dict[str, Any]:
    """Describe how a run has fared so far."""
    return {
        "pauses": run.pauses.as_attrs(),
        "machine_pauses": run.machine_pauses.as_attrs(),
        "outages": run.outages.as_attrs(),
        "skipped": run.skipped,
        "client": run.client_loads(),
        "in_flight": run.in_flight,
        "ended": run.ended,
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
        "until": series.until,
        "expect": list(series.expect),
    }


@cache
def _versions() -> dict[str, str]:
    return {
        "donutwork_magics": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("httpx", "pandas")},
    }
