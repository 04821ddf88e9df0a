"""The texts of help, made from the table of options and from the tables of columns and outcomes; pure.

The reference (columns, errors, settings and the card of a run) is tables: for a terminal here, and for the README.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..columns import COLUMNS
from ..errors import OUTCOMES
from . import options as o
from .parser import GrammarError, read_config

_WIDTH: Final = 79
_LEFT: Final = 24

_KEY: Final = (
    "The key is read from the environment variable DONUTWORK_API_KEY, never from a line. No key yet? "
    "%donutwork sandbox starts a local stand-in for the API."
)
_RESULT: Final = (
    "A result is a value: x = %donutwork ping, or -o x. A trailing ; hides it. The last one, also of a series "
    "that failed, is in _donutwork."
)
_VALUES: Final = (
    "A time without a unit is in seconds: -t 2, -i 0.2, but also 200ms, 10s, 1m, 1h. Counts may be 1e3, 1k or "
    "1_000, rates 5, 5/s or max. # begins a comment, on any line. -h or --help after a command shows its options."
)
_CELL: Final = (
    "A cell holds one ping or connection a line, with a label before a colon if you like. Options after %%donutwork "
    "are defaults for its lines, and a line's own win; -o there takes the result of the whole cell. Where all lines "
    "are pings, they take turns in blocks, so that drift affects all alike, and the result is one DataFrame, told "
    "apart by its column label. The whole cell is checked before the first request."
)
_CELL_EXAMPLE: Final = (
    "%%donutwork -n 100 -o df",
    "# does keeping the connection help?",
    "cold:  ping --cold",
    "warm:  ping",
)
_CONFIG: Final = (
    "Defaults for a session: %config DonutworkMagics.rate = 10, and likewise "
    + ", ".join(name for name in o.CONFIGURABLE if name != "rate")
    + ". %config DonutworkMagics shows them."
)


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


def _config(values: Mapping[str, object]) -> Table:
    """List what ``%config DonutworkMagics`` may set and, by name, what is set."""
    rows = (
        (
            f"{name} = {values[name]}" if name in values else name,
            option.default or ("none" if option.metavar else "off"),
            option.help,
        )
        for name, option in o.CONFIGURABLE.items()
    )
    title = "Defaults: %config DonutworkMagics.rate = 10 sets one, None takes it back"
    return Table(title, ("name", "built in", "meaning"), tuple(rows), ("", "built in: ", ""))


_COLUMNS: Final = Subject(
    "A DataFrame has one row a ping, in planned order. Times are in milliseconds: 0 where a phase did not happen (a "
    "reused connection), NaN where it was not reached or is unknown.",
    (
        Table(
            "Columns",
            ("column", "dtype", "meaning", "missing where"),
            tuple((each.name, each.dtype, each.meaning, each.missing) for each in COLUMNS),
            ("", "", "", "missing where "),
        ),
    ),
    (
        'df.attrs["donutwork"] describes the runs that the rows are of: the schema and, by the id in the column run, '
        "when it began, host and path, plan and seed, the sandbox's settings, rests that the server asked for, pauses "
        "of this machine, planned starts that were left out or still due at the end, pings in flight then with how "
        "long they had waited, outages, the client's own load, versions, platform, and how it ended. It holds no "
        "header and no key. pandas drops attrs where tables are joined; the card remembers the runs of this kernel all "
        "the same.",
    ),
)
_ERRORS: Final = Subject(
    "A failed single call raises a DonutworkError, whose kind is one of these. In a series a failure is a row with "
    "this error.",
    (
        Table(
            "Outcomes",
            ("error", "what happened", "what to do"),
            tuple((outcome.kind, *outcome.in_general()) for outcome in OUTCOMES.values()),
        ),
    ),
    (
        "unauthorized, forbidden, env_mismatch, and a Retry-After above 120 s end a series. So do five failures in a "
        "row of dns, connect, tls or the version of HTTP where nothing was ever reached. Once something was reached, "
        "an outage is data: the series goes on.",
        "Whatever ends a series, its completed rows are in _donutwork, and in the variable of -o.",
    ),
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
_SETTINGS: Final = Subject(
    "Settings are read at each command, so that a changed key needs no restart. There is no option for a key: it "
    "would be saved with the notebook.",
    (Table("Environment variables", ("variable", "meaning"), _VARIABLES), _config({})),
    (
        "Connections are direct: HTTPS_PROXY, HTTP_PROXY and ALL_PROXY are not used. Where one is set and the "
        "connection fails, the error says so.",
    ),
)
_PARTS: Final = (
    ("state", "The number of pings and errors, or why the run ended early. The badges name the sandbox and the env."),
    (
        "p50, p95, p99, max",
        "Percentiles of duration_ms. One is shown only if there are enough successes for it: 59 for p95, 299 for p99, "
        "2995 for p99.9. Below it stands its 95 % interval; where pings are too alike for one, the card says so.",
    ),
    (
        "corrected",
        "What a punctual caller would have waited, from the planned start on. It is shown where a stall or a rate out "
        "of reach makes it much longer.",
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
        "lines took turns in enough rounds.",
    ),
    (
        "Measured",
        "Counts, the rate, how late pings started, the client's own time, connections, and jitter (mean change from "
        "ping to ping).",
    ),
    ("Outages", "When the API could not be reached, for how long, and how."),
    ("Run details", "When and where it was measured, and with which versions."),
)
_CARD: Final = Subject(
    "The card of a run is what a series shows at its end, and what df.donutwork and load show. Its figures are those "
    "of the pings that succeeded, without warm-up; errors are counted beside them.",
    (Table("From top to bottom", ("part", "how to read it"), _PARTS),),
    ("The same figures as a DataFrame: df.donutwork.summary(), df.donutwork.percentiles(), df.donutwork.compare().",),
)

SUBJECTS: Final = {"columns": _COLUMNS, "errors": _ERRORS, "settings": _SETTINGS, "card": _CARD}
"""By the names in `options.REFERENCE`."""


def docstring() -> str:
    """Give the whole text: the overview, then each command with its options and examples."""
    return "\n".join([help_text(None), *("\n" + help_text(name) for name in o.SPECS if name != "help")])


def help_text(topic: str | None) -> str:
    """Give the text on one command, or (None) the overview; the last line ends with a newline.

    Raises
    ------
    KeyError
        `topic` is neither a command nor a subject of the reference.
    """
    if topic is None:
        lines = _overview()
    elif topic in o.SPECS:
        lines = _command(o.SPECS[topic])
    else:
        lines = _subject(SUBJECTS[topic])
    return "\n".join(lines) + "\n"


def config_text(values: Mapping[str, object]) -> str:
    """Give the text of ``%config DonutworkMagics``: what may be set, and what is.

    Parameters
    ----------
    values
        By name, what is set, as the user typed it; None is not set.
    """
    set_now = {name: _shown(name, value) for name, value in values.items() if value is not None}
    return "\n".join(_reference(_config(set_now))).lstrip()


def _shown(name: str, value: object) -> str:
    # What is not valid may be a key.
    try:
        read_config({name: value})
    except GrammarError:
        return "(not valid)"
    return str(value)


def overview_rows() -> tuple[tuple[str, str], ...]:
    """Give the commands as pairs of usage and meaning."""
    return (
        ("%donutwork", "where calls go, and which key is set; no request"),
        *((f"%donutwork {spec.name}", spec.summary) for spec in o.SPECS.values()),
        ("%%donutwork", "an experiment: one command a line, in turns"),
    )


def _overview() -> Iterator[str]:
    yield "Check a Donutwork API key in one line, and measure latency as a DataFrame."
    yield from _table("Commands", overview_rows())
    for text in (_KEY, _RESULT, _VALUES):
        yield from _paragraph(text)
    yield from _table("A cell", [])
    yield from (f"  {line}" for line in _CELL_EXAMPLE)
    yield from _paragraph(_CELL)
    yield from _table("Options of a cell, and those of ping", map(_row, o.HEADER_OPTIONS))
    yield from _paragraph(_CONFIG)


def _command(spec: o.Spec) -> Iterator[str]:
    usage = [f"%donutwork {spec.name}"]
    if spec.argument is not None:
        usage.append(f"[{spec.argument.metavar or spec.argument.shown or '|'.join(spec.argument.words)}]")
    yield " ".join([*usage, *(["[options]"] if spec.options else [])])
    yield from _paragraph(spec.about)
    for section in dict.fromkeys(_section(spec, option) for option in spec.options):
        yield from _table(section, [_row(option) for option in spec.options if _section(spec, option) == section])
    yield from _table("Examples", [])
    for line, meaning in spec.examples:
        yield f"  {line}"
        yield f"      {meaning}"


def _subject(subject: Subject) -> Iterator[str]:
    yield from _wrapped(subject.about, _WIDTH)
    for table in subject.tables:
        yield from _reference(table)
    for text in subject.more:
        yield from _paragraph(text)


def _reference(table: Table) -> Iterator[str]:
    prefixes = (table.prefixes or ("",) * len(table.head))[1:]
    rows = (
        (name, "; ".join(prefix + cell for prefix, cell in zip(prefixes, cells, strict=True) if cell))
        for name, *cells in table.rows
    )
    # Some cells are sentences, and end as such.
    return _table(table.title, ((name, text.replace(".; ", ". ")) for name, text in rows))


def _section(spec: o.Spec, option: o.Option) -> str:
    if spec is o.WATCH:
        return "Each call" if option.scope == "call" else "The watch"
    if spec not in o.CELL_SPECS:
        return "Options"
    if option.scope in ("makes series", "series"):
        return "A series (needs -n or -d)"
    return "Each call"


def _row(option: o.Option) -> tuple[str, str]:
    # A long option without a short one stands under the other long ones.
    flags = ", ".join(option.flags) if len(option.flags) > 1 else f"    {option.long}"
    default = f" (default {option.default})" if option.default else ""
    return f"{flags} {option.metavar}".rstrip(), option.help + default


def _paragraph(text: str) -> Iterator[str]:
    yield ""
    yield from _wrapped(text, _WIDTH)


def _wrapped(text: str, width: int) -> list[str]:
    # A number and its % stay together.
    lines = textwrap.wrap(text.replace(" %", "\N{NO-BREAK SPACE}%"), width, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _table(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield ""
    yield title
    indent = " " * (_LEFT + 4)
    for left, right in rows:
        first, *more = _wrapped(right, _WIDTH - len(indent))
        if len(left) > _LEFT:
            yield f"  {left}"
            yield f"{indent}{first}"
        else:
            yield f"  {left:<{_LEFT}}  {first}"
        yield from (f"{indent}{line}" for line in more)
