"""The table of commands and options: the parser, the ``?`` text and ``help`` are made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args

from ..sampling.plan import GENTLE_RATE_HZ, MOST_IN_FLIGHT
from ..types import Env, Family, Http
from . import injection, values
from .commands import SandboxAction, WatchAction

T = TypeVar("T")

Scope: TypeAlias = Literal["call", "single", "makes series", "series"]
"""Where a setting applies: to any call, to a single call only, to a series only; or it makes a series."""


@dataclass(frozen=True, slots=True, eq=False)
class Setting(Generic[T]):
    """What options set; options that set the same are spellings of it, and exclude each other.

    Attributes
    ----------
    shown
        The default as text; empty where "not given" is the default.
    """

    name: str
    default: T
    shown: str = ""
    scope: Scope = "call"
    configurable: bool = False

    def by(self, *flags: str, read: Callable[[str], T], help: str, metavar: str = "", adds: bool = False) -> Option:
        """Make an option that sets this; here the type of its values is checked against the setting's."""
        return Option(self, flags, help, read, metavar, adds)


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """One spelling of a setting; made by `Setting.by`.

    Attributes
    ----------
    flags
        As typed, the short one first.
    read
        From the value's text to the value; raises ``ValueError`` (see `values`).
    metavar
        The value as help shows it; empty for a flag, which takes none.
    adds
        It may be repeated: its values, tuples, add up.
    """

    setting: Setting[Any]
    flags: tuple[str, ...]
    help: str
    read: Callable[[str], object]
    metavar: str
    adds: bool

    @property
    def long(self) -> str:
        """The long spelling."""
        return self.flags[-1]

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that its value may be, where the metavar lists some; capitals there stand for any other value."""
        parts = self.metavar.split("|")
        return tuple(part for part in parts if not (part.isalpha() and part.isupper())) if len(parts) > 1 else ()

    @property
    def names_setting(self) -> bool:
        """Whether it is the spelling that has the setting's name, and so the one of its default's text."""
        return self.long.removeprefix("--").replace("-", "_") == self.setting.name


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

    @property
    def usage(self) -> str:
        """It, as help shows it behind the command."""
        return f"[{self.metavar or self.shown or '|'.join(self.words)}]"


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """A command.

    Attributes
    ----------
    examples
        Pairs of a line and what it does.
    """

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
    def settings(self) -> frozenset[Setting[Any]]:
        """What its options set."""
        return frozenset(option.setting for option in self.options)


_HTTP: Final[tuple[Http, ...]] = get_args(Http)
_ENV: Final[tuple[Env, ...]] = get_args(Env)
_MANY: Final = 10**9

HTTP: Final[Setting[Http]] = Setting("http", "auto", "auto", configurable=True)
FAMILY: Final[Setting[Family | None]] = Setting("family", None)
TIMEOUT: Final[Setting[float]] = Setting("timeout", 10.0, "10s", configurable=True)
ENV: Final[Setting[Env | None]] = Setting("env", None, configurable=True)
OUT: Final[Setting[str | None]] = Setting("out", None)
WIDGET: Final[Setting[bool]] = Setting("widget", False, scope="single", configurable=True)

COUNT: Final[Setting[int | None]] = Setting("count", None, scope="makes series")
DURATION: Final[Setting[float | None]] = Setting("duration", None, scope="makes series")
RATE: Final[Setting[float | None]] = Setting("rate", GENTLE_RATE_HZ, "5", scope="series", configurable=True)
CONCURRENCY: Final[Setting[int]] = Setting("concurrency", 1, "1", scope="series", configurable=True)
WARMUP: Final[Setting[int]] = Setting("warmup", 0, "0", scope="series", configurable=True)
COLD: Final[Setting[bool]] = Setting("cold", False, scope="series", configurable=True)
LABEL: Final[Setting[str]] = Setting("label", "ping", "ping", scope="series")
JOURNAL: Final[Setting[str | None]] = Setting("journal", None, scope="series")
UNTIL: Final[Setting[float | None]] = Setting("until", None, scope="series")
EXPECT: Final[Setting[tuple[str, ...]]] = Setting("expect", (), scope="series")
QUIET: Final[Setting[bool]] = Setting("quiet", False, scope="series", configurable=True)
ALLOW_LOAD: Final[Setting[bool]] = Setting("allow_load", False, scope="series")
KEEP: Final[Setting[int]] = Setting("keep", 100_000, "100000", scope="series")

BLOCKS: Final[Setting[int | None]] = Setting("blocks", None)
ORDER_SEED: Final[Setting[int | None]] = Setting("seed", None)
"""Of the order of a cell's blocks; the sandbox has its own."""

STRICT: Final[Setting[bool]] = Setting("strict", False)
EXAMPLE: Final[Setting[str | None]] = Setting("example", None)

LATENCY: Final[Setting[str | None]] = Setting("latency", None)
SERVER_TIME: Final[Setting[str | None]] = Setting("server_time", None)
FAULTS: Final[Setting[tuple[str, ...]]] = Setting("faults", ())
STALLS: Final[Setting[tuple[str, ...]]] = Setting("stalls", ())
RETRY_AFTER: Final[Setting[int]] = Setting("retry_after", 1, "1s")
SEED: Final[Setting[int | None]] = Setting("seed", None)
PORT: Final[Setting[int]] = Setting("port", 0, "0")

_SERIES_OPTIONS: Final = (
    COUNT.by("-n", "--count", metavar="N", read=values.whole(1, _MANY), help="how many pings"),
    DURATION.by(
        "-d",
        "--duration",
        metavar="30s",
        read=values.duration_s,
        help="for how long pings are started; with -n too, whichever ends first",
    ),
    RATE.by(
        "-r",
        "--rate",
        metavar="R|max",
        read=values.rate_hz,
        help="planned starts per second, on an absolute schedule; max: back to back, the next when the last ends",
    ),
    RATE.by(
        "-i",
        "--interval",
        metavar="200ms",
        read=values.interval_as_rate_hz,
        help="the same, as the time from start to start",
    ),
    CONCURRENCY.by(
        "-c",
        "--concurrency",
        metavar="C",
        read=values.whole(1, MOST_IN_FLIGHT),
        help=f"pings in flight at most, up to {MOST_IN_FLIGHT}, one connection each",
    ),
    WARMUP.by(
        "-w",
        "--warmup",
        metavar="K",
        read=values.whole(0, _MANY),
        help="K more pings first: rows marked warmup, left out of summaries",
    ),
    COLD.by("--cold", read=values.constant(True), help="a new connection for each ping"),
    LABEL.by("--label", metavar="L", read=values.label, help="the label column"),
    JOURNAL.by(
        "--journal",
        metavar="FILE",
        read=values.file_name,
        help="each row to this file as it is completed; load reads it, an existing journal is continued",
    ),
    UNTIL.by(
        "--until",
        metavar="5%",
        read=values.share,
        help="end as soon as the interval of the p50 is that narrow (in a cell: of the difference, as a share of the "
        "baseline's p50); -n and -d still cap it",
    ),
    EXPECT.by(
        "--expect",
        metavar="LIMIT",
        read=values.expectation,
        adds=True,
        help="what has to hold, such as p95<200ms, ttfb_ms.p50<=40ms, max<1s or errors<1%; repeatable. Judged by its "
        "interval: it holds, fails (the cell fails, its rows are kept) or is undecided",
    ),
    QUIET.by(
        "-q",
        "--quiet",
        read=values.constant(True),
        help="no progress and no card; the DataFrame is still the result",
    ),
    ALLOW_LOAD.by(
        "--allow-load",
        read=values.constant(True),
        help="permits more than 20/s, or -r max, against a host that is not this machine",
    ),
)

_OUT_OPTION: Final = OUT.by(
    "-o",
    "--out",
    metavar="NAME",
    read=values.variable,
    help="store the result in the variable NAME; no Out",
)

_CALL_OPTIONS: Final = (
    HTTP.by("--http", metavar="|".join(_HTTP), read=values.choice(_HTTP), help="the protocol"),
    FAMILY.by("--ipv4", read=values.constant("ipv4"), help="IPv4 addresses only"),
    FAMILY.by("--ipv6", read=values.constant("ipv6"), help="IPv6 addresses only"),
    TIMEOUT.by(
        "-t",
        "--timeout",
        metavar="10s",
        read=values.duration_s,
        help="total deadline of one call, name resolution to last byte",
    ),
    ENV.by(
        "--env",
        metavar="|".join(_ENV),
        read=values.choice(_ENV),
        help="which key and base URL (DONUTWORK_STAGING_API_KEY, or PRODUCTION), and the env that the reply must say",
    ),
    _OUT_OPTION,
    WIDGET.by(
        "--widget",
        read=values.constant(True),
        help="a single call: its card below buttons (again, measure 50)",
    ),
)

_CHECK_OPTIONS: Final = (
    # A live card belongs to one call.
    *(option for option in _CALL_OPTIONS if option.setting is not WIDGET),
    STRICT.by(
        "--strict",
        read=values.constant(True),
        help="a failed step fails the cell, after the report is shown and stored",
    ),
)

_SANDBOX_OPTIONS: Final = (
    LATENCY.by(
        "--latency",
        metavar="D",
        read=injection.delay,
        help="delay outside the server's own RRT: 20ms, or median and 95th percentile, 20ms/60ms",
    ),
    SERVER_TIME.by("--server-time", metavar="D", read=injection.delay, help="delay inside the RRT, written likewise"),
    FAULTS.by(
        "--fault",
        metavar="KIND:SHARE",
        read=injection.fault,
        adds=True,
        help="a share of the replies goes wrong, as in rate_limited:0.05; repeatable; KIND is one of "
        + ", ".join(injection.FAULTS[:-1])
        + f"; reset and hang, which are connection_lost and timeout; slow: {injection.SLOW_S:g}s more, inside the RRT",
    ),
    STALLS.by(
        "--stall",
        metavar="2s@10s",
        read=injection.stall,
        adds=True,
        help="10s after the start, all requests hang until 2s have passed, inside the RRT; repeatable",
    ),
    RETRY_AFTER.by(
        "--retry-after",
        metavar="1s",
        read=injection.retry_after_s,
        help="what a rate_limited reply asks for, in whole seconds",
    ),
    SEED.by("--seed", metavar="N", read=injection.seed, help="the same delays, faults and stalls in each run"),
    PORT.by("--port", metavar="P", read=injection.port, help="the local port; 0 is any free one"),
)

PING: Final = Spec(
    "ping",
    "is everything right? -n or -d: a latency DataFrame",
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
    options=_CHECK_OPTIONS,
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
        EXAMPLE.by(
            "--example",
            metavar="NAME",
            read=values.name,
            help="in place of a FILE: a journal that comes with this package, such as night",
        ),
        _OUT_OPTION,
    ),
    argument=Argument("file", metavar="FILE", read=values.file_name),
    examples=(
        ("df = %donutwork load night.jsonl", "what ping --journal night.jsonl has written"),
        ('%donutwork load "my runs/night.jsonl" -o df', "quotes, where a name has blanks"),
        ("%donutwork load --example night", "an hour of pings, to analyse without a server"),
    ),
)

_WATCH_OPTIONS: Final = (
    DURATION.by("-d", "--duration", metavar="8h", read=values.duration_s, help="stop by itself after that time"),
    *(option for option in _SERIES_OPTIONS if option.setting in (RATE, CONCURRENCY, COLD, LABEL, JOURNAL, ALLOW_LOAD)),
    KEEP.by(
        "--keep",
        metavar="N",
        read=values.whole(1, _MANY),
        help="how many rows to keep in memory at most: the oldest are dropped; with --journal they stay in the file",
    ),
    *(option for option in _CALL_OPTIONS if option.setting is not WIDGET),
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
    options=_WATCH_OPTIONS,
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
    options=_SANDBOX_OPTIONS,
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
        ("ping", "connection", "check", "watch", "load", "sandbox", "tutorial", "help", "version", *REFERENCE),
        shown="COMMAND|" + "|".join(REFERENCE),
    ),
    examples=(
        ("%donutwork help ping", "ping and all its options"),
        ("%donutwork help columns", "what the columns of the DataFrame mean"),
    ),
)

VERSION: Final = Spec(
    "version",
    "of this extension, and of what it runs on",
    "The versions of this extension, Python, IPython, pandas and the operating system: for a report of a fault.",
    examples=(("%donutwork version", "the versions"),),
)

SPECS: Final[dict[str, Spec]] = {
    spec.name: spec for spec in (PING, CONNECTION, CHECK, WATCH, LOAD, SANDBOX, TUTORIAL, HELP, VERSION)
}

CELL_SPECS: Final = (PING, CONNECTION)
"""The commands that may stand in a ``%%donutwork`` cell."""

CALL_SPECS: Final = (*CELL_SPECS, CHECK, WATCH)
"""The commands that call the API; ``%config`` sets defaults of theirs."""

HEADER_OPTIONS: Final = (
    BLOCKS.by(
        "--blocks",
        metavar="B",
        read=values.whole(1, 1000),
        help="cut the pings of each line into B blocks: in each round every line has one, in shuffled order; 1: one "
        "line after the other (default 10, fewer where there are few pings; with --until up to 100)",
    ),
    ORDER_SEED.by("--seed", metavar="S", read=injection.seed, help="the same order of the blocks in each run"),
)
"""Those that a cell's header has, and no line."""

HEADER: Final = Spec(
    "%%donutwork",
    summary="",
    about="",
    # A live card belongs to one call, and a label to one line.
    options=(*HEADER_OPTIONS, *(option for option in PING.options if option.setting not in (WIDGET, LABEL))),
)
"""What stands behind ``%%donutwork``."""


@dataclass(frozen=True, slots=True)
class Configurable:
    """A default that ``%config DonutworkMagics.<name>`` may set; `default` is the built-in one as text."""

    name: str
    help: str
    default: str


CONFIG_OPTIONS: Final[dict[str, Option]] = {
    option.setting.name: option for option in PING.options if option.setting.configurable and option.names_setting
}

CONFIGURABLE: Final = tuple(
    Configurable(name, option.help, option.setting.shown or ("none" if option.metavar else "off"))
    for name, option in CONFIG_OPTIONS.items()
)
