"""From a line to its command: words, then options as layers, then one typed value.

A layer holds what one source (a line, a cell's header, ``%config``) sets. Layers are merged by setting, not by
option, so that ``--ipv4`` on a line takes the place of ``--ipv6`` in the header.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar, cast

from . import words as w
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
    SeriesOptions,
    StopWatchesCommand,
    Topic,
    WatchCommand,
)
from .injection import fault_shares
from .refusals import (
    NO_KEY_OPTION,
    GrammarError,
    defaults_text,
    did_you_mean,
    minding_keys,
    refuse_secrets,
    resembles_key_option,
)

T = TypeVar("T")

NO_DEFAULTS: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and the option as it was spelled (a word of the grammar, so it may be shown)."""

    spelling: str
    value: Any


Layer: TypeAlias = dict[w.Setting[Any], Given]


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
    text, silenced = strip_semicolon(line)
    with minding_keys(f"{text}\n{configured}"):
        words = split(text)
        if not words:
            return Overview(silenced)
        spec, arguments, own = read_command(words)
        config = read_config(defaults) if spec in w.CALL_SPECS else {}
        return replace(build(spec, arguments, own, config), silenced=silenced)


def strip_semicolon(line: str) -> tuple[str, bool]:
    """Take off the trailing ``;`` that hides the Out; IPython passes it on."""
    text = line.strip()
    return text.removesuffix(";").rstrip(), text.endswith(";")


def split(text: str) -> list[str]:
    """Split into words; quotes group, and nothing else is special: not ``#`` (``run#2``), no backslash.

    Raises
    ------
    GrammarError
        A quote is not closed, or a word resembles an option for a key.
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escape = ""
    # What is copied from a web page may hold no-break spaces, which look like any other.
    lexer.whitespace += "\N{NO-BREAK SPACE}"
    try:
        words = list(lexer)
    except ValueError:
        raise GrammarError("A quote is not closed: add the missing \" or '.") from None
    if any(word.startswith("-") and resembles_key_option(word) for word in words):
        raise GrammarError(NO_KEY_OPTION)
    return words


def read_command(words: list[str]) -> tuple[w.Spec, list[str], Layer]:
    """Find the command, its arguments, and what its options set."""
    spec = w.SPECS.get(words[0])
    if spec is not None:
        return spec, *read_options(spec, words[1:])
    if words[0].startswith("-"):
        raise GrammarError("A command comes before its options, for example: %donutwork ping -n 5.")
    if resembles_key_option(words[0]):
        raise GrammarError(NO_KEY_OPTION)
    raise GrammarError(f"Unknown command{did_you_mean(words[0], w.SPECS)} The commands are {', '.join(w.SPECS)}.")


def read_options(spec: w.Spec, words: Iterable[str]) -> tuple[list[str], Layer]:
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
        option = w.CONFIG_OPTIONS[name]
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
    return w.COUNT in layer or w.DURATION in layer


def build(spec: w.Spec, arguments: list[str], own: Layer, inherited: Layer) -> Command:
    """Make the command of what its own line gives, over what it inherits.

    Raises
    ------
    GrammarError
        An argument is not one of the command's, or an option of the line does not apply.
    """
    if spec in w.CELL_SPECS:
        return build_call(spec, arguments, own, inherited)
    argument = _read_argument(spec, arguments)
    if spec is w.CHECK:
        merged = inherited | own
        return CheckCommand(_call(merged, single=False), chosen(merged, w.STRICT))
    if spec is w.LOAD:
        return LoadCommand(str(argument), chosen(own, w.OUT))
    if spec is w.WATCH:
        return _watch(inherited | own) if argument is None else _stop_watches(own)
    if spec is w.SANDBOX:
        return _sandbox(cast("SandboxAction | None", argument), own)
    return HelpCommand(cast("Topic | None", argument))


def build_call(spec: w.Spec, arguments: list[str], own: Layer, inherited: Layer) -> PingCommand | ConnectionCommand:
    """Make a command that calls the API; as `build`, for one of `words.CELL_SPECS`."""
    _read_argument(spec, arguments)
    merged = inherited | own
    series = _series(merged) if is_series(merged) else None
    _refuse_out_of_scope(own, single=series is None)
    call = _call(merged, single=series is None)
    return PingCommand(call, series) if spec is w.PING else ConnectionCommand(call)


def chosen(layer: Layer, setting: w.Setting[T]) -> T:
    """Give what a layer sets, or the built-in default."""
    if setting not in layer:
        return setting.default
    value: T = layer[setting].value
    return value


def cut(word: str) -> tuple[str, str | None]:
    """Cut ``--opt=value`` and ``-n5`` into spelling and value."""
    name, equals, value = word.partition("=")
    # -count 5 is a slip for --count 5, not the option -c with the value "ount".
    slipped = any(f"-{name}" in spec.spellings for spec in w.SPECS.values())
    if word.startswith("--") or slipped:
        return name, value if equals else None
    return word[:2], word[2:].removeprefix("=") or None


def is_value(word: str) -> bool:
    """Tell a value from the next option; ``-1`` is a value, which the option refuses in its own words."""
    return re.match("-(?![.0-9])", word) is None


def _put(layer: Layer, option: w.Option, given: Given) -> None:
    before = layer.get(option.setting)
    if before is None:
        layer[option.setting] = given
    elif option.adds:
        layer[option.setting] = Given(given.spelling, before.value + given.value)
    elif before.spelling in option.flags:
        raise GrammarError(f"{option.long} is given twice: give it once.")
    else:
        raise GrammarError(f"{before.spelling} and {given.spelling} exclude each other: give one of them.")


def _unknown_option(spec: w.Spec, spelling: str) -> GrammarError:
    owners = [owner.name for owner in w.SPECS.values() if spelling in owner.spellings]
    if owners:
        return GrammarError(f"{spec.name} has no {spelling}: it is an option of {' and '.join(owners)}.")
    return GrammarError(f"{spec.name} has no such option{did_you_mean(spelling, spec.spellings)} {_see(spec)}")


def _see(spec: w.Spec) -> str:
    return f"See %donutwork help {spec.name}." if spec.name in w.SPECS else "See %donutwork help."


def _read_argument(spec: w.Spec, arguments: list[str]) -> object:
    if spec.argument is not None and spec.argument.metavar:
        return _read_free_argument(spec, spec.argument, arguments)
    if not arguments:
        return None
    known = spec.argument.words if spec.argument else ()
    if len(arguments) == 1 and arguments[0] in known:
        return arguments[0]
    unknown = next((word for word in arguments if word not in known), "")
    if resembles_key_option(unknown):
        raise GrammarError(NO_KEY_OPTION)
    if unknown.startswith("#"):
        raise GrammarError("A comment stands on a line of its own in a %%donutwork cell, not behind a command.")
    if spec.argument is None:
        near = did_you_mean(unknown, spec.spellings)
        raise GrammarError(f"{spec.name} takes options only{near} {_see(spec)}")
    if not unknown:
        raise GrammarError(f"{spec.name} takes one {spec.argument.name}, not more.")
    near = did_you_mean(unknown, (*known, *spec.spellings))
    which = f"It is one of {', '.join(known)}." if len(known) > 1 else f"The only {spec.argument.name} is {known[0]}."
    raise GrammarError(f"{spec.name} has no such {spec.argument.name}{near} {which}")


def _read_free_argument(spec: w.Spec, argument: w.Argument, arguments: list[str]) -> object:
    if len(arguments) > 1:
        raise GrammarError(f"{spec.name} takes one {argument.metavar}: put it in quotes if it has blanks.")
    try:
        return argument.read(*arguments or [""])
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
        http=chosen(layer, w.HTTP),
        family=chosen(layer, w.FAMILY),
        timeout_s=chosen(layer, w.TIMEOUT),
        env=chosen(layer, w.ENV),
        out=chosen(layer, w.OUT),
        widget=single and chosen(layer, w.WIDGET),
    )


def _series(layer: Layer) -> SeriesOptions:
    return SeriesOptions(
        count=chosen(layer, w.COUNT),
        duration_s=chosen(layer, w.DURATION),
        rate_hz=chosen(layer, w.RATE),
        concurrency=chosen(layer, w.CONCURRENCY),
        warmup=chosen(layer, w.WARMUP),
        cold=chosen(layer, w.COLD),
        label=chosen(layer, w.LABEL),
        journal=chosen(layer, w.JOURNAL),
        quiet=chosen(layer, w.QUIET),
        allow_load=chosen(layer, w.ALLOW_LOAD),
    )


def _watch(layer: Layer) -> WatchCommand:
    return WatchCommand(
        _call(layer, single=False),
        rate_hz=chosen(layer, w.RATE),
        cold=chosen(layer, w.COLD),
        label=chosen(layer, w.LABEL),
        keep=chosen(layer, w.KEEP),
        journal=chosen(layer, w.JOURNAL),
        allow_load=chosen(layer, w.ALLOW_LOAD),
    )


def _stop_watches(layer: Layer) -> StopWatchesCommand:
    if layer:
        raise GrammarError(f"{_spelling(layer)} is for a watch that begins: watch stop takes no options.")
    return StopWatchesCommand()


def _spelling(layer: Layer) -> str:
    return next(iter(layer.values())).spelling


def _sandbox(action: SandboxAction | None, layer: Layer) -> SandboxCommand:
    if layer and action in ("stop", "status"):
        raise GrammarError(f"{_spelling(layer)} is for sandbox start: sandbox {action} takes no options.")
    faults = chosen(layer, w.FAULTS)
    if faults:
        try:
            fault_shares(faults)
        except ValueError as error:
            raise GrammarError(f"--fault {error}") from None
    return SandboxCommand(
        action="start" if layer else action,
        latency=chosen(layer, w.LATENCY),
        server_time=chosen(layer, w.SERVER_TIME),
        faults=faults,
        retry_after_s=chosen(layer, w.RETRY_AFTER),
        seed=chosen(layer, w.SEED),
        port=chosen(layer, w.PORT),
    )
