"""Outages in words: one line while one lasts, and a table of those that a run has seen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from donutwork_magics.display.card import Details, Table
from donutwork_magics.sampling.outages import FEWEST, Outage
from donutwork_magics.units import enumerate_some, format_ms, format_s, format_utc, plural

_MOST_UNFOLDED: Final = 3
_MINUTE_S: Final = 60.0


def down_since(outage: Outage | None) -> str:
    """Say since when the service has been down, for how long until now, and why; empty where it is not."""
    if outage is None:
        return ""
    # The wall clock may have been set back meanwhile.
    seconds = max(0.0, time.time() - outage.began_s)
    return f"down since {format_utc(outage.began_s, date=False)} ({format_s(seconds)}): {', '.join(outage.kinds)}"


def skipped_starts(skipped: int) -> str:
    """Say how many planned starts a monitor has left out."""
    return f"{plural(skipped, 'planned start')} (during outages, or when more than 30 s behind)"


def outages_row(attrs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the row that counts the outages of a run; none where there was none."""
    outages = attrs.get("outages") or {}
    if outages.get("count"):
        yield "Outages", f"{outages['count']} in the whole run, {_length(outages['total_s'])} in total"


def outages_table(attrs: Mapping[str, Any]) -> tuple[Table, ...]:
    """Make the table of the outages of a run where they are few."""
    first = _first(attrs)
    return (_table(first),) if 0 < len(first) <= _MOST_UNFOLDED else ()


def outages_details(attrs: Mapping[str, Any]) -> tuple[Details, ...]:
    """Fold the table of the outages of a run where they are many."""
    first = _first(attrs)
    if len(first) <= _MOST_UNFOLDED:
        return ()
    count = attrs["outages"]["count"]
    some = f", the first {len(first)}" if count > len(first) else ""
    return (Details(f"{plural(count, 'outage')}{some}", (_table(first),)),)


def _first(attrs: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list((attrs.get("outages") or {}).get("first") or [])


def _table(outages: list[dict[str, Any]]) -> Table:
    caption = f"Outages: {FEWEST} or more pings in a row without an answer or with a server error"
    if not all(outage["over"] for outage in outages):
        caption += "; ≥: no ping was answered after it"
    rows = (
        (
            format_utc(outage["began_s"]),
            _length(outage["at_s"]),
            f"{'' if outage['over'] else '≥ '}{_length(outage['length_s'])}",
            enumerate_some(outage["kinds"], 1),
            str(outage["pings"]),
        )
        for outage in outages
    )
    return Table(caption, tuple(rows), head=("began", "into run", "length", "errors", "pings"))


def _length(seconds: float) -> str:
    return format_ms(seconds * 1e3) if seconds < _MINUTE_S else format_s(seconds)
