"""From a line to its command: words, then options as layers, then one typed value.

A layer holds what one source (a line, a cell's header, ``%config``) sets. Layers are merged by setting, not by
option, so that ``--ipv4`` on a line takes the place of ``--ipv6`` in the header.

An error is one line, what is wrong and what is right, made of the grammar's words alone: what was typed may be a key.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

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
    SandboxCommand,
    SandboxOptions,
    TutorialCommand,
    VersionCommand,
    WatchCommand,
    WatchesCommand,
)
from .values import did_you_mean, fault_shares, nearest

T = TypeVar("T")

HoldsKey: TypeAlias = Callable[[str], bool]

NO_DEFAULTS: Final[Mapping[str, object]] = MappingProxyType({})
NO_KEYS: Final[HoldsKey] = frozenset[str]().__contains__

_HELP: Final = frozenset({"-h", "--help"})
_VERSION: Final = frozenset({"-V", "--version"})
_SPECS: Final = (*o.SPECS.values(), o.HEADER)
_HEADER_FLAGS: Final = frozenset(flag for option in o.HEADER_OPTIONS for flag in option.flags)
_UNEXPANDED: Final = re.compile(r"\$[^\W\d]|\{")
"""How a value begins in which IPython found nothing to expand: it leaves ``$name`` and ``{expression}`` as they are."""

_ROTATE: Final = "If you typed a real key, rotate it in the Donutwork dashboard, and clear this cell."
_NO_KEY_OPTION: Final = (
    f"There is no option for a key: set the environment variable DONUTWORK_API_KEY instead. {_ROTATE}"
)
_KEY_WORD: Final = re.compile(r"key|token|secret|bearer|passw|auth|credential", re.IGNORECASE)
_RUN: Final = re.compile(r"[A-Za-z0-9]{10,}", re.ASCII)
"""Long runs that mix letters and digits are rare but in keys: dates and versions have blanks, dots or dashes."""


class GrammarError(ValueError):
    """A line or a cell is not in the language; nothing was done and no request was sent."""


class Lexed(NamedTuple):
    """A text in its words, which white space ends; each is without the quotes around it."""

    words: tuple[str, ...]
    fragment: str
    """The last word as it stands there, with its quotes, where the text ends in it."""
    quote: str
    """The quote that is still open, or nothing."""
    comment: int | None
    """Where a comment begins, which is not read further."""


def lex(text: str) -> Lexed:
    r"""Part a text into its words: quotes group, a ``#`` behind white space begins a comment, all else is a letter.

    So ``run#2`` is a word, and so is ``C:\new\table``.
    """
    words: list[str] = []
    word: list[str] | None = None
    begins, quote = 0, ""
    for at, char in enumerate(text):
        if not quote and char.isspace():
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        if word is None:
            if char == "#":
                return Lexed(tuple(words), "", "", at)
            word, begins = [], at
        if not quote and char in "'\"":
            quote = char
        elif char == quote:
            quote = ""
        else:
            word.append(char)
    if word is None:
        return Lexed(tuple(words), "", "", None)
    return Lexed((*words, "".join(word)), text[begins:], quote, None)


def strip_end(text: str) -> tuple[str, bool]:
    """Take off a comment, and the trailing ``;`` that hides the Out, which IPython passes on; tell whether it did."""
    bare = text[: lex(text).comment].strip()
    return bare.removesuffix(";").rstrip(), bare.endswith(";")


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and the option as it was spelled (a word of the grammar, so it may be shown)."""

    option: o.Option
    spelling: str
    value: Any


Layer: TypeAlias = dict[str, Given]
"""By setting."""


def parse_line(line: str, *, defaults: Mapping[str, object] = NO_DEFAULTS, holds_key: HoldsKey = NO_KEYS) -> Command:
    """Read what stands behind ``%donutwork``.

    Parameters
    ----------
    defaults
        By name, what ``%config DonutworkMagics`` sets, as the user typed it; None is not set.
    holds_key
        Tells whether a text contains a key that is set: neither the line nor a default may.

    Raises
    ------
    GrammarError
        The line, or one of the defaults that it would use, is not valid.
    """
    with minding_keys("line", line, defaults, holds_key):
        text, silenced = strip_end(line)
        words = split(text)
        return replace(_command(words, defaults), silenced=silenced)


def _command(words: tuple[str, ...], defaults: Mapping[str, object]) -> Command:
    if not words:
        return Overview()
    if not _HELP.isdisjoint(words):
        return HelpCommand(words[0] if words[0] in o.SPECS else None)
    if words[0] in _VERSION:
        return VersionCommand()
    spec, arguments, own = read_command(words)
    return _build(spec, arguments, own, read_config(defaults) if spec in o.CALL_SPECS else {})


@contextmanager
def minding_keys(what: str, text: str, defaults: Mapping[str, object], holds_key: HoldsKey) -> Iterator[None]:
    """Refuse a text that contains a key that is set.

    What the block refuses gets the advice to rotate a key, where something in the text may be another one.
    """
    configured = "\n".join(value for value in defaults.values() if isinstance(value, str))
    for name, searched in ((what, text), ("default that %config sets", configured)):
        if holds_key(searched):
            raise GrammarError(
                f"The {name} contains the current API key; nothing was sent. "
                "Rotate it in the Donutwork dashboard, and clear this cell."
            )
    problem = ""
    try:
        yield
    except GrammarError as error:
        problem = str(error)
    if problem:
        may_hold_one = any(map(_mixes, _RUN.findall(f"{text}\n{configured}"))) and "rotate it" not in problem.lower()
        raise GrammarError(f"{problem} {_ROTATE}" if may_hold_one else problem)


def _mixes(run: str) -> bool:
    digits = sum(map(str.isdigit, run))
    return 2 <= digits <= len(run) - 2


def split(text: str) -> tuple[str, ...]:
    """Split into words, none of which resembles an option for a key."""
    lexed = lex(text)
    if lexed.quote:
        raise GrammarError("A quote is not closed: add the missing \" or '.")
    for word in lexed.words:
        if word.startswith("-"):
            _refuse_key_option(word)
    return lexed.words


def _refuse_key_option(word: str) -> None:
    """Refuse a word that looks like an attempt to pass a key (``--api-key``, ``-kABC``, ``token=...``)."""
    name = re.split("[=:]", word, maxsplit=1)[0]
    if word.startswith("-k") or _KEY_WORD.search(name):
        raise GrammarError(_NO_KEY_OPTION)


def read_command(words: tuple[str, ...]) -> tuple[o.Spec, list[str], Layer]:
    """Find the command, its arguments, and what its options set."""
    spec = o.SPECS.get(words[0])
    if spec is not None:
        return spec, *read_options(spec, words[1:])
    if words[0].startswith("-"):
        raise GrammarError("A command comes before its options, for example: %donutwork ping -n 5.")
    _refuse_key_option(words[0])
    raise GrammarError(f"Unknown command{did_you_mean(words[0], o.SPECS)} The commands are {', '.join(o.SPECS)}.")


def read_options(spec: o.Spec, words: Iterable[str]) -> tuple[list[str], Layer]:
    """Part the words behind a command into arguments and options."""
    arguments: list[str] = []
    layer: Layer = {}
    for spelling, option, text in scan(spec, words):
        if not spelling:
            arguments.append(text or "")
            continue
        if option is None:
            raise _unknown_option(spec, spelling)
        if not option.metavar and text is not None:
            raise GrammarError(f"{spelling} takes no value.")
        # The empty text is what each reader refuses with its own words.
        _refuse_unexpanded(text or "")
        value = _read(spelling, option.read, text or "")
        _put(layer, Given(option, spelling, (value,) if option.adds else value))
    return arguments, layer


def scan(spec: o.Spec, words: Iterable[str]) -> Iterator[tuple[str, o.Option | None, str | None]]:
    """Yield each option as spelled, what it is if the command has it, and its text; an argument has no spelling."""
    queue = deque(words)
    while queue:
        word = queue.popleft()
        if not word.startswith("-"):
            yield "", None, word
            continue
        spelling, text = cut(word)
        option = spec.spellings.get(spelling)
        # -1 is a value, which the option refuses in its own words.
        if option is not None and option.metavar and text is None and queue and not re.match("-(?![.0-9])", queue[0]):
            text = queue.popleft()
        yield spelling, option, text


def cut(word: str) -> tuple[str, str | None]:
    """Cut ``--opt=value`` and ``-n5`` into spelling and value."""
    name, equals, value = word.partition("=")
    # -count 5 is a slip for --count 5, not the option -c with the value "ount".
    slipped = any(f"-{name}" in spec.spellings for spec in _SPECS)
    if word.startswith("--") or slipped:
        return name, value if equals else None
    return word[:2], word[2:].removeprefix("=") or None


def read_config(defaults: Mapping[str, object]) -> Layer:
    """Read what ``%config`` sets, by the same rules as on a line; a number may be a number, a flag a bool."""
    layer: Layer = {}
    for name, value in defaults.items():
        if value is None:
            continue
        option = o.CONFIGURABLE[name]
        spelling = f"%config DonutworkMagics.{name}"
        is_flag = isinstance(value, bool)
        if option.metavar:
            is_text = isinstance(value, str | int | float) and not is_flag
            given = _read(spelling, option.read, str(value) if is_text else "")
        elif is_flag:
            given = value
        else:
            raise GrammarError(f"{spelling} needs True or False.")
        layer[option.setting] = Given(option, spelling, given)
    return layer


def _refuse_unexpanded(word: str) -> None:
    if _UNEXPANDED.match(word):
        raise GrammarError("A $variable or {expression} on the line is not defined: define it in a cell above.")


def _read(begins: str, read: Callable[[Any], T], text: object) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise GrammarError(f"{begins} {error}") from None


def is_series(layer: Layer) -> bool:
    """Tell whether a layer says how many or for how long."""
    return any(given.option.scope == "makes series" for given in layer.values())


def _build(spec: o.Spec, arguments: list[str], own: Layer, inherited: Layer) -> Command:
    if spec in o.CELL_SPECS:
        return build_call(spec, arguments, own, inherited)
    argument: Any = _read_argument(spec, arguments)
    merged = inherited | own
    if spec is o.CHECK:
        return _make(CheckCommand, merged, call=_call(merged, single=False))
    if spec is o.LOAD:
        if argument is None and "example" not in own:
            raise GrammarError("load needs the name of a file, or --example NAME for a journal of this package.")
        if argument is not None and "example" in own:
            raise GrammarError("load takes a file or --example, not both.")
        return _make(LoadCommand, own, file=argument)
    if spec is o.WATCH:
        if argument is not None:
            _refuse_options(own, f"watch {argument}", "a watch")
            return WatchesCommand(argument)
        plan = _make(Plan, merged, endless=True)
        return _make(WatchCommand, merged, call=_call(merged, single=False), plan=plan)
    if spec is o.SANDBOX:
        if argument in ("stop", "status"):
            _refuse_options(own, f"sandbox {argument}", "it")
        if "faults" in own:
            _read("--fault", fault_shares, own["faults"].value)
        return SandboxCommand("start" if own else argument, _make(SandboxOptions, own))
    if spec is o.TUTORIAL:
        return TutorialCommand(argument)
    if spec is o.VERSION:
        return VersionCommand()
    assert spec is o.HELP, "a command without its value"
    return HelpCommand(argument)


def build_call(spec: o.Spec, arguments: list[str], own: Layer, inherited: Layer) -> PingCommand | ConnectionCommand:
    """Make a command of `options.CELL_SPECS` of what its own line gives and what it inherits."""
    _read_argument(spec, arguments)
    merged = inherited | own
    single = not is_series(merged)
    for given in own.values():
        if given.option.scope == "series" and single:
            raise GrammarError(f"{given.spelling} is for a series: add -n N (how many) or -d 30s (how long).")
        if given.option.scope == "single" and not single:
            raise GrammarError(f"{given.spelling} is for a single call: leave it out, or leave out -n and -d.")
    call = _call(merged, single=single)
    if spec is o.CONNECTION:
        return ConnectionCommand(call)
    return PingCommand(call) if single else _make(PingCommand, merged, call=call, plan=_make(Plan, merged))


def _call(layer: Layer, *, single: bool) -> CallOptions:
    call = _make(CallOptions, layer)
    return call if single else replace(call, widget=False)


def _make(of: Callable[..., T], layer: Layer, **others: object) -> T:
    """Make a value of what a layer sets: a setting has the name of a field, which has the built-in default."""
    names = {field.name for field in fields(of)}  # type: ignore[arg-type]
    return of(**{name: given.value for name, given in layer.items() if name in names}, **others)


def _put(layer: Layer, given: Given) -> None:
    option, before = given.option, layer.get(given.option.setting)
    if before is None:
        layer[option.setting] = given
    elif option.adds:
        layer[option.setting] = replace(given, value=before.value + given.value)
    elif before.option is option:
        raise GrammarError(f"{given.spelling} is given twice: give it once.")
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
    *others, last = [*names, o.HEADER.name] if spelling in _HEADER_FLAGS else names or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _see(spec: o.Spec) -> str:
    return f"See %donutwork help {spec.name}." if spec.name in o.SPECS else "See %donutwork help."


def _refuse_options(own: Layer, command: str, what: str) -> None:
    for given in own.values():
        raise GrammarError(f"{command} takes no options: {given.spelling} applies when {what} starts.")


def _read_argument(spec: o.Spec, arguments: list[str]) -> str | None:
    argument = spec.argument
    for word in arguments:
        _refuse_unexpanded(word)
    if not arguments:
        return None
    if argument is not None and argument.metavar:
        if len(arguments) > 1:
            raise GrammarError(f"{spec.name} takes one {argument.metavar}: put it in quotes if it has blanks.")
        return _read(spec.name, argument.read, arguments[0])
    known = argument.words if argument else ()
    if len(arguments) == 1 and arguments[0] in known:
        return arguments[0]
    unknown = next((word for word in arguments if word not in known), "")
    _refuse_key_option(unknown)
    near = did_you_mean(unknown, (*known, *spec.spellings))
    if argument is None:
        raise GrammarError(f"{spec.name} takes {'options only' if spec.options else 'nothing'}{near} {_see(spec)}")
    if not unknown:
        raise GrammarError(f"{spec.name} takes one {argument.name}, not more.")
    raise GrammarError(f"{spec.name} has no such {argument.name}{near} It is one of {', '.join(known)}.")
