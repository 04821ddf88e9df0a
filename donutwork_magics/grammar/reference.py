"""The reference: columns, errors, settings and the card of a run, as tables for help and for the README; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..columns import COLUMNS
from ..errors import OUTCOMES
from . import options as o


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as the head has; where a cell is empty, there is nothing to say.

    Attributes
    ----------
    prefixes
        What a text without a head says before each cell.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject of help that is no command."""

    about: str
    tables: tuple[Table, ...]
    more: tuple[str, ...] = ()


def columns() -> Subject:
    """Explain the columns of the DataFrame, and its attrs."""
    rows = ((each.name, each.dtype, each.meaning, each.missing) for each in COLUMNS)
    return Subject(
        "A DataFrame has one row a ping, in planned order. Times are in milliseconds: 0 where a phase did not happen "
        "(a "
        "reused connection), NaN where it was not reached or is unknown.",
        (
            Table(
                "Columns", ("column", "dtype", "meaning", "missing where"), tuple(rows), ("", "", "", "missing where ")
            ),
        ),
        (_ATTRS,),
    )


def errors() -> Subject:
    """Explain each outcome: what happened, and what to do."""
    rows = ((outcome.kind, *outcome.in_general()) for outcome in OUTCOMES.values())
    return Subject(
        "A failed single call raises a DonutworkError, whose kind is one of these. In a series a failure is a row with "
        "this error.",
        (Table("Outcomes", ("error", "what happened", "what to do"), tuple(rows)),),
        (_ENDS, _KEPT),
    )


def settings(values: Mapping[str, object] | None = None) -> Subject:
    """Explain the environment variables, and what ``%config`` sets.

    Parameters
    ----------
    values
        What it has set, by name, where it is valid: another text may be a key, and is not shown.
    """
    return Subject(
        _READ, (Table("Environment variables", ("variable", "meaning"), _VARIABLES), config(values or {})), (_DIRECT,)
    )


def config(values: Mapping[str, object]) -> Table:
    """List what ``%config DonutworkMagics`` may set and, as in `settings`, what is set."""
    rows = (
        (f"{each.name} = {values[each.name]}" if each.name in values else each.name, each.default, each.help)
        for each in o.CONFIGURABLE
    )
    title = "Defaults: %config DonutworkMagics.rate = 10 sets one, None takes it back"
    return Table(title, ("name", "built in", "meaning"), tuple(rows), ("", "built in: ", ""))


def card() -> Subject:
    """Explain how to read the card of a run."""
    return Subject(
        "The card of a run is what a series shows at its end, and what df.donutwork and load show. Its figures are "
        "those "
        "of the pings that succeeded, without warm-up; errors are counted beside them.",
        (Table("From top to bottom", ("part", "how to read it"), _CARD),),
        (
            "The same figures as a DataFrame: df.donutwork.summary(), df.donutwork.percentiles(), "
            "df.donutwork.compare().",
        ),
    )


SUBJECTS: Final = {"columns": columns, "errors": errors, "settings": settings, "card": card}


_ATTRS: Final = (
    'df.attrs["donutwork"] describes the runs that the rows are of: the schema and, by the id in the column run, '
    "when it "
    "began, host and path, plan and seed, the sandbox's settings, rests that the server asked for, pauses of this "
    "machine, planned starts that were left out, pings in flight at the end, outages, the client's own load, versions, "
    "platform, and how it ended. It holds no header and no key. pandas drops attrs where tables are joined; the card "
    "remembers the runs of this kernel all the same."
)
_ENDS: Final = (
    "unauthorized, forbidden, env_mismatch, and a rest of more than 120 s that the server asks for (Retry-After) end a "
    "series. So do five dns, connect or tls failures in a row where nothing was ever reached. Once something was "
    "reached, "
    "an outage is data: the series goes on."
)
_KEPT: Final = "Whatever ends a series, its completed rows are in _donutwork, and in the variable of -o."
_READ: Final = (
    "Settings are read at each command, so that a changed key needs no restart. There is no option for a key: it "
    "would be "
    "saved with the notebook."
)
_VARIABLES: Final = (
    ("DONUTWORK_API_KEY", "The key. It is shown nowhere, and sent to the base URL only."),
    (
        "DONUTWORK_BASE_URL",
        "Where calls go; https://api.hub.donutwork.com if it is not set. https only, except to this machine.",
    ),
    (
        "DONUTWORK_STAGING_API_KEY",
        "The key for --env staging. If it is not set, DONUTWORK_API_KEY and DONUTWORK_BASE_URL are used.",
    ),
    (
        "DONUTWORK_STAGING_BASE_URL",
        "The base URL for that key: a key never goes to the URL of another environment.",
    ),
    ("DONUTWORK_PRODUCTION_API_KEY", "The same for --env production."),
    ("DONUTWORK_PRODUCTION_BASE_URL", "The same for --env production."),
    ("DONUTWORK_CA_BUNDLE", "A PEM file of further roots, for a private certificate authority."),
)
_DIRECT: Final = (
    "Connections are direct: HTTPS_PROXY, HTTP_PROXY and ALL_PROXY are not used. Where one is set and the connection "
    "fails, "
    "the error says so."
)
_CARD: Final = (
    ("state", "The number of pings and errors, or why the run ended early. The badges name the sandbox and the env."),
    (
        "p50, p95, p99, max",
        "Percentiles of duration_ms. One is shown only if there are enough successes for it: 59 for p95, 299 for "
        "p99, 2995 "
        "for p99.9. Below it stands its 95 % interval; where pings are too alike for one, the card says so.",
    ),
    (
        "corrected",
        "What a punctual caller would have waited, from the planned start on. It is shown where a stall or a rate "
        "out of "
        "reach makes it much longer.",
    ),
    ("notes", "What is doubtful about the measurement, and what to do about it. Read them before the figures."),
    (
        "timeline, histogram",
        "Duration over time, and how often each duration came. Errors are marked below the timeline.",
    ),
    ("phases", "Where the time of a typical ping went (mean of the 40th to 60th percentile)."),
    (
        "wait for first byte",
        "In parts: the path (the kernel's round trip), the server (the RRT of its reply), and the rest, which is "
        "explained by neither.",
    ),
    (
        "comparison",
        "For several labels: the difference to the first, its interval and a verdict. There is a verdict only if the "
        "lines "
        "took turns in enough rounds.",
    ),
    (
        "Measured",
        "Counts, the rate, how late pings started, the client's own time, connections, and jitter (mean change from "
        "ping "
        "to ping).",
    ),
    ("Outages", "When the API could not be reached, for how long, and how."),
    ("Run details", "When and where it was measured, and with which versions."),
)
