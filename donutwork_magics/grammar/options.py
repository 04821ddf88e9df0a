"""The table of commands and options: the parser, the ``?`` text, ``help`` and the completion are made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, TypeAlias, get_args

from ..sampling.plan import MOST_IN_FLIGHT
from ..types import ENVS, Http
from . import values
from .commands import SandboxAction, WatchAction

Scope: TypeAlias = Literal["call", "single", "makes series", "series"]
"""Where an option applies: to any call, to a single call only, to a series only; or it makes a series."""


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """One spelling of a setting; options of one setting are spellings of it, and exclude each other.

    Attributes
    ----------
    setting
        The field that it sets, of a command or of its plan, which holds the built-in default.
    usage
        Its flags as typed, the short one first, and the value as help shows it, unless it takes none.
    read
        From the value's text to the value; raises ``ValueError`` (see `values`). A flag is given the empty text.
    default
        The built-in default as text; empty where "not given" is the default.
    adds
        It may be repeated: its values add up to a tuple.
    """

    setting: str
    usage: str
    help: str
    read: Callable[[str], object] = lambda _: True
    default: str = ""
    scope: Scope = "call"
    adds: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """Its spellings."""
        return tuple(word for word in self.usage.split() if word.startswith("-"))

    @property
    def long(self) -> str:
        """The long spelling."""
        return self.flags[-1]

    @property
    def metavar(self) -> str:
        """The value as help shows it; empty for a flag, which takes none."""
        last = self.usage.split()[-1]
        return "" if last.startswith("-") else last

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that its value may be, where the metavar lists some; capitals there stand for any other value."""
        parts = self.metavar.split("|")
        return tuple(part for part in parts if not (part.isalpha() and part.isupper())) if len(parts) > 1 else ()


@dataclass(frozen=True, slots=True, eq=False)
class Argument:
    """The one word that may follow a command: one of `words`, or where a `metavar` is, any that `read` takes.

    Attributes
    ----------
    shown
        What help shows in place of many words.
    """

    name: str
    words: tuple[str, ...] = ()
    metavar: str = ""
    read: Callable[[str], str] = str
    shown: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """A command; `examples` are pairs of a line and what it does."""

    name: str
    summary: str
    about: str
    options: tuple[Option, ...] = ()
    argument: Argument | None = None
    examples: tuple[tuple[str, str], ...] = ()

    @property
    def spellings(self) -> dict[str, Option]:
        """The options by each of their spellings."""
        return {flag: option for option in self.options for flag in option.flags}

    @property
    def settings(self) -> frozenset[str]:
        """What its options set."""
        return frozenset(option.setting for option in self.options)


def _without(options: tuple[Option, ...], *settings: str) -> tuple[Option, ...]:
    return tuple(option for option in options if option.setting not in settings)


_HTTP: Final[tuple[Http, ...]] = get_args(Http)
_MANY: Final = 10**9

_for_series: Final = partial(Option, scope="series")

COUNT: Final = Option("count", "-n --count N", "how many pings", values.whole(1, _MANY), scope="makes series")
LABEL: Final = _for_series("label", "--label L", "the label column", values.label, "ping")
_DURATION: Final = Option(
    "duration_s",
    "-d --duration 30s",
    "for how long pings are started; with -n too, whichever ends first",
    values.duration_s,
    scope="makes series",
)
_SERIES_OPTIONS: Final = (
    COUNT,
    _DURATION,
    _for_series(
        "rate_hz",
        "-r --rate R|max",
        "planned starts per second, on an absolute schedule; max: back to back, the next when the last ends",
        values.rate_hz,
        "5",
    ),
    _for_series(
        "rate_hz",
        "-i --interval 200ms",
        "the rate, given as the time between starts",
        lambda text: 1 / values.duration_s(text),
    ),
    _for_series(
        "concurrency",
        "-c --concurrency C",
        f"pings in flight at most, up to {MOST_IN_FLIGHT}, one connection each",
        values.whole(1, MOST_IN_FLIGHT),
        "1",
    ),
    _for_series(
        "warmup",
        "-w --warmup K",
        "K more pings first: rows marked warmup, left out of summaries",
        values.whole(0, _MANY),
        "0",
    ),
    _for_series("cold", "--cold", "a new connection for each ping"),
    LABEL,
    _for_series(
        "journal",
        "--journal FILE",
        "each row to this file as it is completed; load reads it, an existing journal is continued",
        values.file_name,
    ),
    _for_series(
        "until",
        "--until 5%",
        "end as soon as half the width of the p50's 95 % interval is at most this share of the p50 (in a cell: of "
        "the difference's interval, as a share of the baseline's p50); -n and -d still cap it",
        values.share,
    ),
    _for_series(
        "expect",
        "--expect LIMIT",
        "what has to hold, such as p95<200ms, ttfb_ms.p50<=40ms, max<1s or errors<1%; repeatable. Judged by its "
        "interval: it holds, fails (the cell fails, its rows are kept) or is undecided. A ping that timed out took its "
        "timeout or more; others that failed count for errors only",
        values.expectation,
        adds=True,
    ),
    _for_series("quiet", "-q --quiet", "no progress and no card; the DataFrame is still the result"),
    _for_series(
        "allow_load", "--allow-load", "permits more than 20/s, or -r max, against a host that is not this machine"
    ),
)

_OUT: Final = Option("out", "-o --out NAME", "store the result in the variable NAME; no Out", values.variable)
_CALL_OPTIONS: Final = (
    Option("http", f"--http {'|'.join(_HTTP)}", "the protocol", values.choice(_HTTP), "auto"),
    Option("family", "--ipv4", "IPv4 addresses only", lambda _: "ipv4"),
    Option("family", "--ipv6", "IPv6 addresses only", lambda _: "ipv6"),
    Option(
        "timeout_s",
        "-t --timeout 10s",
        "total deadline of one call, name resolution to last byte",
        values.duration_s,
        "10s",
    ),
    Option(
        "env",
        f"--env {'|'.join(ENVS)}",
        "which key and base URL (DONUTWORK_STAGING_... or DONUTWORK_PRODUCTION_...), and the env a reply must name",
        values.choice(ENVS),
    ),
    _OUT,
    Option("widget", "--widget", "a single call: a card with buttons (again, measure 50)", scope="single"),
)

PING: Final = Spec(
    "ping",
    "one call; with -n or -d a series, as a DataFrame",
    "One call of ping.json, which needs the permission ping:read. The result is a Ping, displayed as a "
    "card. With -n or -d it is a series of calls, and the result is a DataFrame with one row a ping.",
    options=_SERIES_OPTIONS + _CALL_OPTIONS,
    examples=(
        ("%donutwork ping", "one ping, as a card"),
        ("df = %donutwork ping -n 200 -r 5", "200 pings, 5 a second, into df"),
    ),
)

CONNECTION: Final = Spec(
    "connection",
    "how the API sees you: address, protocol, env",
    "One call of connection.json, which needs the permission connection:read. The result is a Connection, "
    "displayed as a card.",
    options=_CALL_OPTIONS,
    examples=(
        ("%donutwork connection", "one call, as a card"),
        ("%donutwork connection --env staging -o c", "with the staging key, into c"),
    ),
)

CHECK: Final = Spec(
    "check",
    "step by step: key, network, permissions, clock",
    "A preflight, one row a step with its time and what to do: the key, the environment, DNS, TCP, TLS and its "
    "certificate, each documented permission, the protocol, the API's version, the clock, proxies. It opens one "
    "connection, and sends one call of ping.json and one of connection.json on it; without a usable key it sends "
    "none, and still looks at the network. Steps that cannot run say why. A failed step does not fail the cell. "
    "The result is a CheckReport, whose ok is True where no step failed.",
    options=(
        *_without(_CALL_OPTIONS, "widget"),
        Option("strict", "--strict", "a failed step fails the cell, after the report is shown and stored"),
    ),
    examples=(
        ("%donutwork check", "every step, as a card"),
        ("%donutwork check --env production --strict", "stop Run All unless production is ready"),
    ),
)

LOAD: Final = Spec(
    "load",
    "a journal as a DataFrame, also after a crash",
    "Read a file that --journal wrote, also one whose kernel was killed. The result is the DataFrame of its rows, "
    "displayed as the run's card. The journal of a watch can be read while it goes on. No request is sent.",
    options=(
        Option(
            "example",
            "--example NAME",
            "in place of a FILE: a journal that comes with this package, such as night",
            values.name,
        ),
        _OUT,
    ),
    argument=Argument("file", metavar="FILE", read=values.file_name),
    examples=(
        ("df = %donutwork load night.jsonl", "what ping --journal night.jsonl has written"),
        ('%donutwork load "my runs/night.jsonl" -o df', "quotes, where a name has blanks"),
        ("%donutwork load --example night", "an hour of pings, to analyse without a server"),
    ),
)

WATCH: Final = Spec(
    "watch",
    "pings in the background, with a live panel",
    "Pings until it is stopped, while the kernel stays free for other cells. The result is a Watch: .df has the rows "
    "so far as a DataFrame, .stop() ends it and leaves its card, .wait(60) waits for its end, but no longer than 60 "
    "seconds, .start() goes on. In Jupyter a panel shows its state, and starts, pauses and stops it. A watch keeps the "
    "address and the key it started with. It stops by itself when continuing is pointless (the key is refused, or the "
    "address was never reached), with the kernel, and when its cell is run again. An outage does not stop it: it tries "
    "once a second until the service is back, and its card lists the outages. watch status shows every running watch, "
    "watch stop ends them. Options apply when a watch starts.",
    options=(
        replace(_DURATION, usage="-d --duration 8h", help="stop by itself after that time"),
        *_without(_SERIES_OPTIONS, "count", "duration_s", "warmup", "until", "expect", "quiet"),
        _for_series(
            "keep",
            "--keep N",
            "how many rows to keep in memory at most: the oldest are dropped; with --journal they stay in the file",
            values.whole(1, _MANY),
            "100000",
        ),
        *_without(_CALL_OPTIONS, "widget"),
    ),
    argument=Argument("action", get_args(WatchAction)),
    examples=(
        ("w = %donutwork watch", "5 pings a second, until w.stop()"),
        ("%donutwork watch -r 1 --keep 3600 -o hour", "one a second, into hour; the last hour is kept"),
        ("%donutwork watch -d 8h --journal night.jsonl", "for 8 hours, each row on the disk too, for load"),
        ("%donutwork watch status", "what every running watch has seen"),
        ("%donutwork watch stop", "end every running watch"),
    ),
)

SANDBOX: Final = Spec(
    "sandbox",
    "a local stand-in for the API: no key, no network",
    "The local stand-in for the API, in a process of its own on 127.0.0.1. While it is on, every call goes "
    "there, and every card says so; a watch that runs already keeps its address. Without an action: start it, or show "
    "its status where it is on. Options are for start.",
    options=(
        Option(
            "latency",
            "--latency D",
            "delay outside the server's own RRT: 20ms, or median and 95th percentile, 20ms/60ms",
            values.checked(values.delay_s),
        ),
        Option(
            "server_time", "--server-time D", "delay inside the RRT, written likewise", values.checked(values.delay_s)
        ),
        Option(
            "faults",
            "--fault KIND:SHARE",
            "a share of the replies goes wrong, as in rate_limited:0.05; repeatable; KIND is one of "
            + ", ".join(values.FAULTS[:-1])
            + f"; reset and hang, which are connection_lost and timeout; slow: {values.SLOW_S:g}s more, inside the RRT",
            values.checked(lambda text: values.fault_shares([text])),
            adds=True,
        ),
        Option(
            "stalls",
            "--stall 2s@10s",
            "10s after the start, all requests hang until 2s have passed, inside the RRT; repeatable",
            values.checked(values.stall_s),
            adds=True,
        ),
        Option(
            "retry_after_s",
            "--retry-after 1s",
            "what a rate_limited reply asks for, in whole seconds",
            values.retry_after_s,
            "1s",
        ),
        Option("seed", "--seed N", "the same delays, faults and stalls in each run", values.seed),
        Option("port", "--port P", "the local port; 0 is any free one", values.whole(0, values.LARGEST_PORT), "0"),
    ),
    argument=Argument("action", get_args(SandboxAction)),
    examples=(
        ("%donutwork sandbox", "start, or show the status"),
        ("%donutwork sandbox start --latency 20ms/60ms --seed 1", "a network, the same each run"),
    ),
)

TUTORIAL: Final = Spec(
    "tutorial",
    "notebooks to learn from, beside your own",
    "List the notebooks that come with this package, or copy the one that is named into the working directory. A file "
    "that is there already is left as it is. They run on the sandbox, without a key.",
    argument=Argument("name", metavar="NAME", read=values.name),
    examples=(("%donutwork tutorial first_ping", "copy the first of them"),),
)

VERSION: Final = Spec(
    "version",
    "of this extension, and of what it runs on",
    "The versions of this extension, Python, IPython, pandas and the operating system: for a report of a fault.",
    examples=(("%donutwork version", "the versions"),),
)

_COMMANDS: Final = (PING, CONNECTION, CHECK, WATCH, LOAD, SANDBOX, TUTORIAL, VERSION)

REFERENCE: Final = ("columns", "errors", "settings", "card")
"""The subjects of help that are not commands."""

HELP: Final = Spec(
    "help",
    "these commands; help ping: one, with its options",
    "The commands, or one of them with its options (-h or --help after the command shows the same). columns: what each "
    "column of the DataFrame means. errors: each outcome, and what to do. settings: the environment variables and the "
    "defaults that %config sets. card: how to read the card of a run.",
    argument=Argument(
        "subject",
        (*(spec.name for spec in _COMMANDS), "help", *REFERENCE),
        shown="COMMAND|" + "|".join(REFERENCE),
    ),
    examples=(
        ("%donutwork help ping", "ping and all its options"),
        ("%donutwork help columns", "what the columns of the DataFrame mean"),
    ),
)

SPECS: Final[dict[str, Spec]] = {spec.name: spec for spec in (*_COMMANDS, HELP)}

CELL_SPECS: Final = (PING, CONNECTION)
"""The commands that may stand in a ``%%donutwork`` cell."""

CALL_SPECS: Final = (*CELL_SPECS, CHECK, WATCH)
"""The commands that call the API; ``%config`` sets defaults of theirs."""

HEADER_OPTIONS: Final = (
    Option(
        "blocks",
        "--blocks B",
        "cut the pings of each line into B blocks: in each round every line has one, in shuffled order; 1: one "
        "line after the other (default 10, fewer where there are few pings; with --until up to 100)",
        values.whole(1, 1000),
    ),
    Option("seed", "--seed S", "the same order of the blocks in each run", values.seed),
)
"""Those that a cell's header has, and no line."""

HEADER: Final = Spec(
    "%%donutwork",
    summary="",
    about="",
    # A live card belongs to one call, and a label to one line.
    options=(*HEADER_OPTIONS, *_without(PING.options, "widget", "label")),
)
"""What stands behind ``%%donutwork``."""

CONFIGURABLE: Final[dict[str, Option]] = {
    name: PING.spellings[f"--{name}"]
    for name in ("rate", "concurrency", "warmup", "cold", "quiet", "http", "timeout", "env", "widget")
}
"""The defaults that ``%config DonutworkMagics.<name>`` may set, by name."""
