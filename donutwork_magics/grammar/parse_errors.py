"""Parse errors: one line, what is right and the nearest valid word, never the user's own words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final


class GrammarError(ValueError):
    """A line or a cell is not in the language; nothing was done and no request was sent.

    The message is one line that says what is wrong and what is right. It is made of the grammar's words
    alone: what the user typed may be a key.
    """


_ROTATE: Final = "If you typed a real key, rotate it in the Donutwork dashboard, and clear this cell."

NO_KEY_OPTION: Final = (
    f"There is no option for a key: set the environment variable DONUTWORK_API_KEY instead. {_ROTATE}"
)

_KEY_WORD: Final = re.compile(r"key|token|secret|bearer|passw|auth|credential", re.IGNORECASE)
_RUN: Final = re.compile(r"[A-Za-z0-9]{10,}", re.ASCII)
"""Long runs that mix letters and digits are rare but in keys: dates and versions have blanks, dots or dashes."""
_SHORTEST_SECRET: Final = 8


def refuse_secrets(texts: Mapping[str, str], secrets: Iterable[str]) -> None:
    """Raise `GrammarError` where a secret of at least 8 characters occurs in a text; each goes by its name."""
    for secret in secrets:
        for name, text in texts.items():
            if len(secret) >= _SHORTEST_SECRET and secret in text:
                raise GrammarError(
                    f"The {name} contains the current API key; nothing was sent. "
                    "Rotate it in the Donutwork dashboard, and clear this cell."
                )


def defaults_text(defaults: Mapping[str, object]) -> str:
    """Return the texts among the defaults, as `refuse_secrets` takes them."""
    return "\n".join(value for value in defaults.values() if isinstance(value, str))


@contextmanager
def minding_keys(text: str) -> Iterator[None]:
    """Add to a refusal what to do about a key, where something in the refused text may be one."""
    problem = ""
    try:
        yield
    except GrammarError as error:
        problem = str(error)
    if problem:
        may_hold_one = any(map(_mixes, _RUN.findall(text))) and "rotate it" not in problem.lower()
        raise GrammarError(f"{problem} {_ROTATE}" if may_hold_one else problem)


def _mixes(run: str) -> bool:
    digits = sum(map(str.isdigit, run))
    return 2 <= digits <= len(run) - 2


def resembles_key_option(word: str) -> bool:
    """Tell whether `word` looks like an attempt to pass a key (``--api-key``, ``-kABC``, ``token=...``)."""
    name = re.split("[=:]", word, maxsplit=1)[0]
    return word.startswith("-k") or _KEY_WORD.search(name) is not None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Name the candidates that are near, as ``"; did you mean X?"``, or say nothing (``"."``) where none is."""
    near = nearest(word, candidates)
    return f"; did you mean {' or '.join(near)}?" if near else "."


def nearest(word: str, candidates: Iterable[str]) -> list[str]:
    """Give the candidates that begin as a word does, or else the one that looks most like it."""
    # Dashes are in every option, and would make any two of them look alike.
    bare = {candidate.lstrip("-"): candidate for candidate in candidates}
    typed = word[:32].lstrip("-").lower()
    begun = [name for name in bare if len(typed) > 2 and name.startswith(typed)]
    return [bare[name] for name in begun or difflib.get_close_matches(typed, bare, n=1)]
