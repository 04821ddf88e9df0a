"""From a line to its command: words, then options as layers, then one typed value.

A layer holds what one source (a line, a cell's header, ``%config``) sets. Layers are merged by setting, not by
option, so that ``--ipv4`` on a line takes the place of ``--ipv6`` in the header.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar, cast

from ..sampling.plan import Plan
from . import options as o
from .commands import (
    CallOptions,
    CheckCommand,
    Command,
    ConnectionCommand,
    HelpCommand,
    LoadCommand,
    Overview,
    PingCommand,
    SandboxAction,
    SandboxCommand,
    StopWatchesCommand,
    TutorialCommand,
    VersionCommand,
    WatchCommand,
    WatchStatusCommand,
)
from .injection import fault_shares
from .lexer import lex, strip_end
from .parse_errors import (
    NO_KEY_OPTION,
    GrammarError,
    defaults_text,
    did_you_mean,
    minding_keys,
    nearest,
    refuse_secrets,
    resembles_key_option,
)

T = TypeVar("T")

NO_DEFAULTS: Final[Mapping[str, object]] = MappingProxyType({})

_HELP: Final = frozenset({"-h", "--help"})
_VERSION: Final = frozenset({"-V", "--version"})
_SPECS: Final = (*o.SPECS.values(), o.HEADER)
_HEADER_FLAGS: Final = frozenset(flag for option in o.HEADER_OPTIONS for flag in option.flags)
_UNEXPANDED: Final = re.compile(r"\$[^\W\d]|\{")
"""How a value begins in which IPython found nothing to expand: it leaves ``$name`` and ``{expression}`` as they are."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and the option as it was spelled (a word of the grammar, so it may be shown)."""

    spelling: str
    value: Any


Layer: TypeAlias = dict[o.Setting[Any], Given]


def parse_line(line: str, *, defaults: Mapping[str, object] = NO_DEFAULTS, secrets: Iterable[str] = ()) -> Command:
    """Read what stands behind ``%donutwork``.

    Parameters
    ----------
    defaults
        By name, what ``%config DonutworkMagics`` sets, as the user typed it; None is not set.
    secrets
        Keys that the line must not contain.

    Raises
    ------
    GrammarError
        The line, or one of the defaults that it would use, is not valid.
    """
    configured = defaults_text(defaults)
    refuse_secrets({"line": line, "default that %config sets": configured}, secrets)
    text, silenced = strip_end(line)
    with minding_keys(f"{line}\n{configured}"):
        words = split(text)
        if not words:
            return Overview(silenced)
        return replace(_command(words, defaults), silenced=silenced)


def _command(words: list[str], defaults: Mapping[str, object]) -> Command:
    if not _HELP.isdisjoint(words):
        return HelpCommand(words[0] if words[0] in o.SPECS else None)
    if words[0] in _VERSION:
        return VersionCommand()
    spec, arguments, own = read_command(words)
    config = read_config(defaults) if spec in o.CALL_SPECS else {}
    return build(spec, arguments, own, config)


def split(text: str) -> list[str]:
    """Split into words.

    Raises
    ------
    GrammarError
        A quote is not closed, or a word resembles an option for a key.
    """
    lexed = lex(text)
    if lexed.quote:
        raise GrammarError("A quote is not closed: add the missing \" or '.")
    words = [*lexed.words, *([] if lexed.last is None else [lexed.last])]
    if any(word.startswith("-") and resembles_key_option(word) for word in words):
        raise GrammarError(NO_KEY_OPTION)
    return words


def read_command(words: list[str]) -> tuple[o.Spec, list[str], Layer]:
    """Find the command, its arguments, and what its options set."""
    spec = o.SPECS.get(words[0])
    if spec is not None:
        return spec, *read_options(spec, words[1:])
    if words[0].startswith("-"):
        raise GrammarError("A command comes before its options, for example: %donutwork ping -n 5.")
    if resembles_key_option(words[0]):
        raise GrammarError(NO_KEY_OPTION)
    raise GrammarError(f"Unknown command{did_you_mean(words[0], o.SPECS)} The commands are {', '.join(o.SPECS)}.")


def read_options(spec: o.Spec, words: Iterable[str]) -> tuple[list[str], Layer]:
    """Part the words behind a command into arguments and options."""
    queue = deque(words)
    arguments: list[str] = []
    layer: Layer = {}
    while queue:
        word = queue.popleft()
        if not word.startswith("-"):
            arguments.append(word)
            continue
        spelling, attached = cut(word)
        option = spec.spellings.get(spelling)
        if option is None:
            raise _unknown_option(spec, spelling)
        if not option.metavar and attached is not None:
            raise GrammarError(f"{spelling} takes no value.")
        if option.metavar and attached is None:
            # The empty text is what each reader refuses with its own words.
            attached = queue.popleft() if queue and is_value(queue[0]) else ""
        if attached is not None:
            _refuse_unexpanded(attached)
        try:
            value = option.read(attached or "")
        except ValueError as error:
            raise GrammarError(f"{spelling} {error}") from None
        _put(layer, option, Given(spelling, value))
    return arguments, layer


def read_config(defaults: Mapping[str, object]) -> Layer:
    """Read what ``%config`` sets, by the same rules as on a line; a number may be a number, a flag a bool."""
    layer: Layer = {}
    for name, value in defaults.items():
        if value is None:
            continue
        option = o.CONFIG_OPTIONS[name]
        spelling = f"%config DonutworkMagics.{name}"
        if not option.metavar:
            if not isinstance(value, bool):
                raise GrammarError(f"{spelling} needs True or False.")
            layer[option.setting] = Given(spelling, value)
            continue
        is_text = isinstance(value, str | int | float) and not isinstance(value, bool)
        try:
            layer[option.setting] = Given(spelling, option.read(str(value) if is_text else ""))
        except ValueError as error:
            raise GrammarError(f"{spelling} {error}") from None
    return layer


def is_series(layer: Layer) -> bool:
    """Tell whether a layer says how many or for how long."""
    return o.COUNT in layer or o.DURATION in layer


def build(spec: o.Spec, arguments: list[str], own: Layer, inherited: Layer) -> Command:
    """Make the command of what its own line gives, over what it inherits.

    Raises
    ------
    GrammarError
        An argument is not one of the command's, or an option of the line does not apply.
    """
    if spec in o.CELL_SPECS:
        return build_call(spec, arguments, own, inherited)
    argument = _read_argument(spec, arguments)
    if spec is o.CHECK:
        merged = inherited | own
        return CheckCommand(_call(merged, single=False), chosen(merged, o.STRICT))
    if spec is o.LOAD:
        return _load(argument, own)
    if spec is o.WATCH:
        return _watch(inherited | own) if argument is None else _running_watches(argument, own)
    if spec is o.SANDBOX:
        return _sandbox(cast("SandboxAction | None", argument), own)
    if spec is o.TUTORIAL:
        return TutorialCommand(argument)
    return VersionCommand() if spec is o.VERSION else HelpCommand(argument)


def build_call(spec: o.Spec, arguments: list[str], own: Layer, inherited: Layer) -> PingCommand | ConnectionCommand:
    """Make a command that calls the API; as `build`, for one of `options.CELL_SPECS`."""
    _read_argument(spec, arguments)
    merged = inherited | own
    single = not is_series(merged)
    _refuse_out_of_scope(own, single=single)
    call = _call(merged, single=single)
    if spec is o.CONNECTION:
        return ConnectionCommand(call)
    if single:
        return PingCommand(call)
    return PingCommand(
        call,
        _plan(merged),
        journal=chosen(merged, o.JOURNAL),
        quiet=chosen(merged, o.QUIET),
        until=chosen(merged, o.UNTIL),
        expect=chosen(merged, o.EXPECT),
    )


def chosen(layer: Layer, setting: o.Setting[T]) -> T:
    """Give what a layer sets, or the built-in default."""
    if setting not in layer:
        return setting.default
    value: T = layer[setting].value
    return value


def cut(word: str) -> tuple[str, str | None]:
    """Cut ``--opt=value`` and ``-n5`` into spelling and value."""
    name, equals, value = word.partition("=")
    # -count 5 is a slip for --count 5, not the option -c with the value "ount".
    slipped = any(f"-{name}" in spec.spellings for spec in _SPECS)
    if word.startswith("--") or slipped:
        return name, value if equals else None
    return word[:2], word[2:].removeprefix("=") or None


def is_value(word: str) -> bool:
    """Tell a value from the next option; ``-1`` is a value, which the option refuses in its own words."""
    return re.match("-(?![.0-9])", word) is None


def _put(layer: Layer, option: o.Option, given: Given) -> None:
    before = layer.get(option.setting)
    if before is None:
        layer[option.setting] = given
    elif option.adds:
        layer[option.setting] = Given(given.spelling, before.value + given.value)
    elif before.spelling in option.flags:
        raise GrammarError(f"{option.long} is given twice: give it once.")
    else:
        raise GrammarError(f"{before.spelling} and {given.spelling} exclude each other: give one of them.")


def _unknown_option(spec: o.Spec, spelling: str) -> GrammarError:
    if spelling in _HELP:
        return GrammarError("help is not allowed in a cell: run it as a line, %donutwork help ping.")
    if owners := _owners(spelling):
        return GrammarError(f"{spec.name} has no {spelling}: it is an option of {owners}.")
    near = did_you_mean(spelling, spec.spellings)
    nearest_of_all = nearest(spelling, (flag for other in _SPECS for flag in other.spellings))[:1]
    elsewhere = [f" {flag} is an option of {_owners(flag)}." for flag in nearest_of_all if flag not in spec.spellings]
    return GrammarError(f"{spec.name} has no such option{near}{''.join(elsewhere)} {_see(spec)}")


def _owners(spelling: str) -> str:
    names = [spec.name for spec in o.SPECS.values() if spelling in spec.spellings]
    return " and ".join([*names, o.HEADER.name] if spelling in _HEADER_FLAGS else names)


def _see(spec: o.Spec) -> str:
    return f"See %donutwork help {spec.name}." if spec.name in o.SPECS else "See %donutwork help."


def _refuse_unexpanded(word: str) -> None:
    if _UNEXPANDED.match(word):
        raise GrammarError("A $variable or {expression} on the line is not defined: define it in a cell above.")


def _read_argument(spec: o.Spec, arguments: list[str]) -> str | None:
    for word in arguments:
        _refuse_unexpanded(word)
    if not arguments:
        return None
    if spec.argument is not None and spec.argument.metavar:
        return _read_free_argument(spec, spec.argument, arguments)
    known = spec.argument.words if spec.argument else ()
    if len(arguments) == 1 and arguments[0] in known:
        return arguments[0]
    unknown = next((word for word in arguments if word not in known), "")
    if resembles_key_option(unknown):
        raise GrammarError(NO_KEY_OPTION)
    if spec.argument is None:
        near = did_you_mean(unknown, spec.spellings)
        raise GrammarError(f"{spec.name} takes {'options only' if spec.options else 'nothing'}{near} {_see(spec)}")
    if not unknown:
        raise GrammarError(f"{spec.name} takes one {spec.argument.name}, not more.")
    near = did_you_mean(unknown, (*known, *spec.spellings))
    which = f"It is one of {', '.join(known)}." if len(known) > 1 else f"The only {spec.argument.name} is {known[0]}."
    raise GrammarError(f"{spec.name} has no such {spec.argument.name}{near} {which}")


def _read_free_argument(spec: o.Spec, argument: o.Argument, arguments: list[str]) -> str:
    if len(arguments) > 1:
        raise GrammarError(f"{spec.name} takes one {argument.metavar}: put it in quotes if it has blanks.")
    try:
        return argument.read(arguments[0])
    except ValueError as error:
        raise GrammarError(f"{spec.name} {error}") from None


def _refuse_out_of_scope(own: Layer, *, single: bool) -> None:
    for setting, given in own.items():
        if setting.scope == "series" and single:
            raise GrammarError(f"{given.spelling} is for a series: add -n N (how many) or -d 30s (how long).")
        if setting.scope == "single" and not single:
            raise GrammarError(f"{given.spelling} is for a single call: leave it out, or leave out -n and -d.")


def _call(layer: Layer, *, single: bool) -> CallOptions:
    return CallOptions(
        http=chosen(layer, o.HTTP),
        family=chosen(layer, o.FAMILY),
        timeout_s=chosen(layer, o.TIMEOUT),
        env=chosen(layer, o.ENV),
        out=chosen(layer, o.OUT),
        widget=single and chosen(layer, o.WIDGET),
    )


def _plan(layer: Layer, *, endless: bool = False) -> Plan:
    return Plan(
        count=chosen(layer, o.COUNT),
        duration_s=chosen(layer, o.DURATION),
        rate_hz=chosen(layer, o.RATE),
        concurrency=chosen(layer, o.CONCURRENCY),
        warmup=chosen(layer, o.WARMUP),
        cold=chosen(layer, o.COLD),
        label=chosen(layer, o.LABEL),
        allow_load=chosen(layer, o.ALLOW_LOAD),
        endless=endless,
    )


def _load(file: str | None, layer: Layer) -> LoadCommand:
    example = chosen(layer, o.EXAMPLE)
    if file is None and example is None:
        raise GrammarError("load needs the name of a file, or --example NAME for a journal of this package.")
    if file is not None and example is not None:
        raise GrammarError("load takes a file or --example, not both.")
    return LoadCommand(file, example, chosen(layer, o.OUT))


def _watch(layer: Layer) -> WatchCommand:
    return WatchCommand(
        _call(layer, single=False),
        _plan(layer, endless=True),
        keep=chosen(layer, o.KEEP),
        journal=chosen(layer, o.JOURNAL),
    )


def _running_watches(action: str, layer: Layer) -> StopWatchesCommand | WatchStatusCommand:
    for given in layer.values():
        raise GrammarError(f"watch {action} takes no options: {given.spelling} applies when a watch starts.")
    return StopWatchesCommand() if action == "stop" else WatchStatusCommand()


def _sandbox(action: SandboxAction | None, layer: Layer) -> SandboxCommand:
    if action in ("stop", "status"):
        for given in layer.values():
            raise GrammarError(f"sandbox {action} takes no options: {given.spelling} applies when it starts.")
    faults = chosen(layer, o.FAULTS)
    if faults:
        try:
            fault_shares(faults)
        except ValueError as error:
            raise GrammarError(f"--fault {error}") from None
    return SandboxCommand(
        action="start" if layer else action,
        latency=chosen(layer, o.LATENCY),
        server_time=chosen(layer, o.SERVER_TIME),
        faults=faults,
        stalls=chosen(layer, o.STALLS),
        retry_after_s=chosen(layer, o.RETRY_AFTER),
        seed=chosen(layer, o.SEED),
        port=chosen(layer, o.PORT),
    )
