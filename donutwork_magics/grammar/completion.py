"""What may come next on a line that is being typed, made from the table; pure.

It reads what stands before the cursor as the parser does, but raises nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from . import options as o
from .parser import lex, scan
from .values import FAULTS

Kind: TypeAlias = Literal["command", "option", "choice", "variable", "file"]

_FILE: Final = "FILE"
_FAULT: Final = "KIND:SHARE"
_BEGINS: Final = "start"
"""The action that takes options; where there is another only, they are for none."""


@dataclass(frozen=True, slots=True)
class Next:
    """What may take the place of the fragment before the cursor.

    Attributes
    ----------
    fragment
        What is typed of it, as it stands there, with a quote that is still open.
    kind
        What the words are. Where it is ``variable`` or ``file`` there are none: only the shell knows them.
    words
        Those that begin with the fragment.
    """

    fragment: str
    kind: Kind
    words: tuple[str, ...] = ()


def after_line(text: str) -> Next:
    """Complete what stands between ``%donutwork`` and the cursor."""
    return _command(text, o.SPECS)


def after_header(text: str) -> Next:
    """Complete what stands between ``%%donutwork`` and the cursor."""
    return after_command(o.HEADER, text)


def after_body(text: str) -> Next:
    """Complete a line of a ``%%donutwork`` cell, up to the cursor."""
    _label, colon, command = text.partition(":")
    labelled = colon and text.split(maxsplit=1)[0] not in o.SPECS and not text.lstrip().startswith("#")
    # A live card is not for a cell, and a label is given once.
    without = {"widget", "label"} if labelled else {"widget"}
    return _command(command if labelled else text, {spec.name: spec for spec in o.CELL_SPECS}, without)


def after_command(spec: o.Spec, text: str) -> Next:
    """Complete what stands between a command and the cursor."""
    fragment, words = _typed(text)
    return Next("", "command") if words is None else _next(spec, words, fragment, spec.options)


def _typed(text: str) -> tuple[str, tuple[str, ...] | None]:
    """Return the fragment at the cursor, and the words before it; None in a comment."""
    typed = lex(text)
    if typed.comment is not None:
        return "", None
    return typed.fragment, typed.words[:-1] if typed.fragment else typed.words


def _command(text: str, specs: dict[str, o.Spec], without: set[str] | frozenset[str] = frozenset()) -> Next:
    fragment, words = _typed(text)
    if words is None:
        return Next("", "command")
    if not words:
        return _beginning(fragment, "command", specs)
    spec = specs.get(words[0])
    if spec is None:
        return Next(fragment, "command")
    return _next(spec, words[1:], fragment, tuple(each for each in spec.options if each.setting not in without))


def _next(spec: o.Spec, typed: Sequence[str], fragment: str, options: tuple[o.Option, ...]) -> Next:
    read = list(scan(spec, typed))
    arguments = [text or "" for spelling, _, text in read if not spelling]
    given = [(option, text or "") for _, option, text in read if option is not None]
    _, last, text = read[-1] if read else ("", None, None)
    if last is not None and last.metavar and text is None:
        # It waits for its value.
        return _value(last, fragment, given)
    left = _left(spec, options, arguments, given)
    if fragment.startswith("-"):
        attached, value = _attached(spec, fragment)
        if attached is not None:
            return _value(attached, value, given)
        return _beginning(fragment, "option", (flag for option in left for flag in option.flags))
    words: tuple[str, ...] = ()
    if spec.argument is not None and not arguments:
        if spec.argument.metavar == _FILE:
            return Next(fragment, "file")
        words = tuple(word for word in spec.argument.words if not given or word == _BEGINS)
    return _beginning(fragment, "choice" if words else "option", (*words, *(option.long for option in left)))


def _attached(spec: o.Spec, fragment: str) -> tuple[o.Option | None, str]:
    """Find the option of ``--opt=val`` and ``-oval``, and what is typed of its value."""
    name, equals, value = fragment.partition("=")
    if not equals and not fragment.startswith("--"):
        name, value = fragment[:2], fragment[2:]
    option = spec.spellings.get(name)
    if option is None or not option.metavar or not (equals or value):
        return None, ""
    return option, value


def _left(
    spec: o.Spec, options: tuple[o.Option, ...], arguments: list[str], given: list[tuple[o.Option, str]]
) -> list[o.Option]:
    """Give the options that may still come: not yet used, and not excluded by one that is there."""
    if spec.argument is not None and spec.argument.words and arguments and arguments[0] != _BEGINS:
        return []
    used = {option.setting for option, _ in given if not option.adds}
    scopes = {option.scope for option, _ in given}
    excluded: set[o.Scope] = set()
    if scopes & {"series", "makes series"}:
        excluded.add("single")
    if "single" in scopes:
        excluded |= {"series", "makes series"}
    return [option for option in options if option.setting not in used and option.scope not in excluded]


def _value(option: o.Option, fragment: str, given: list[tuple[o.Option, str]]) -> Next:
    if option.setting == "out":
        return Next(fragment, "variable")
    if option.metavar == _FILE:
        return Next(fragment, "file")
    if option.metavar == _FAULT:
        named = {value.partition(":")[0] for other, value in given if other is option}
        return _beginning(fragment, "choice", (f"{kind}:" for kind in FAULTS if kind not in named))
    return _beginning(fragment, "choice", option.choices)


def _beginning(fragment: str, kind: Kind, words: Iterable[str]) -> Next:
    return Next(fragment, kind, tuple(word for word in words if word.startswith(fragment) and word != fragment))
