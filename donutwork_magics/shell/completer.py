"""Tab completion: what the grammar offers next, given to IPython, and nothing else beside it.

IPython's matchers are a provisional API: where it is missing there is no completion, and all else works.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from IPython.core.interactiveshell import InteractiveShell

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, MatcherResult

    from donutwork_magics.grammar.completion import Kind, Next

Matcher = Callable[["CompletionContext"], "MatcherResult"]

_IDENTIFIER: Final = "donutwork"
# Above all others, so that they do not even begin: jedi alone may take a second.
_PRIORITY: Final = 10_000
_MOST: Final = 500

# Compiled at the first Tab: at loading it would cost more than all else here.
_CELL: Final = r"\s*%%donutwork(?=\s|$)"
_LINE: Final = r"\s*(?:[^%#]*=\s*)?%donutwork\s+(.*)"
# The names that front ends have icons for.
_TYPES: Final[dict[Kind, str]] = {
    "command": "function",
    "option": "param",
    "choice": "keyword",
    "variable": "instance",
    "file": "path",
}


def add_matcher(shell: InteractiveShell) -> Matcher | None:
    """Put the completion into a shell, and return what `remove_matcher` takes; None where IPython has no such API."""
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:
        return None
    matchers = _custom_matchers(shell)
    if matchers is None:
        return None

    def match(context: CompletionContext) -> MatcherResult:
        upcoming = _upcoming(context.full_text, context.cursor_line, context.cursor_position)
        if upcoming is None:
            return {"completions": [], "suppress": False}
        completions = [
            SimpleCompletion(word, type=_TYPES["option" if word.startswith("-") else upcoming.kind])
            for word in _words(shell, upcoming)
        ]
        return {
            "completions": completions or _Nothing(),
            "matched_fragment": upcoming.fragment,
            "suppress": True,
            "ordered": True,
        }

    matcher: Matcher = context_matcher(identifier=_IDENTIFIER, priority=_PRIORITY)(match)
    matchers.append(matcher)
    return matcher


def remove_matcher(shell: InteractiveShell, matcher: Matcher | None) -> None:
    """Take the completion out of a shell."""
    matchers = _custom_matchers(shell)
    if matchers is not None and matcher in matchers:
        matchers.remove(matcher)


class _Nothing(list[Any]):
    """No completion, and yet an answer: IPython looks at the length to tell whether the others may be left out."""

    def __len__(self) -> int:
        return 1


def _custom_matchers(shell: InteractiveShell) -> list[Any] | None:
    matchers = getattr(getattr(shell, "Completer", None), "custom_matchers", None)
    return matchers if isinstance(matchers, list) else None


def _upcoming(text: str, line_number: int, column: int) -> Next | None:
    """Say what may come at the cursor; None where it is not in a command of ours."""
    lines = text.split("\n")
    before = lines[line_number][:column]
    cell = re.match(_CELL, text)
    if cell is None:
        line = re.fullmatch(_LINE, before)
        if line is None:
            return None
        from donutwork_magics.grammar.completion import after_line

        return after_line(line[1])
    from donutwork_magics.grammar.completion import after_body, after_header

    header = cell[0].count("\n")
    if line_number > header:
        return after_body(before)
    typed = cell[0].rpartition("\n")[2]
    behind = before.removeprefix(typed)
    return after_header(behind) if line_number == header and behind[:1].isspace() else None


def _words(shell: InteractiveShell, upcoming: Next) -> Iterable[str]:
    if upcoming.kind == "variable":
        return _variables(shell, upcoming.fragment)
    if upcoming.kind == "file":
        return _files(upcoming.fragment)
    return upcoming.words


def _variables(shell: InteractiveShell, fragment: str) -> list[str]:
    """Name the user's variables; modules are no place for a result."""
    hidden = shell.user_ns_hidden
    names = (name for name, value in list(shell.user_ns.items()) if not isinstance(value, ModuleType))
    return sorted(
        name
        for name in names
        if name not in hidden and name.startswith(fragment) and (fragment or not name.startswith("_"))
    )


def _files(fragment: str) -> list[str]:
    """Name files and folders as the command line wants them: in quotes where they hold a blank."""
    quote = fragment[:1] if fragment[:1] in ("'", '"') else ""
    typed = fragment.removeprefix(quote)
    if "'" in typed or '"' in typed:
        return []
    folder, begun = os.path.split(typed)
    before = typed[: len(typed) - len(begun)]
    found = (_spelled(before + name, quote) for name in sorted(_entries(folder or ".", begun))[:_MOST])
    return [text for text in found if text]


def _entries(folder: str, begun: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(begun) and (begun or not entry.name.startswith(".")):
                    yield entry.name + ("/" if entry.is_dir() else "")
    except OSError:
        return


def _spelled(path: str, quote: str) -> str:
    """Write a path as one word, or not at all; the quote of a folder stays open for what is in it."""
    if not quote and not any(char.isspace() or char in "'\"" for char in path):
        return path
    usable = [mark for mark in (quote, '"', "'") if mark and mark not in path]
    if not usable or (quote and usable[0] != quote):
        return ""
    return f"{usable[0]}{path}" + ("" if path.endswith("/") else usable[0])
