"""How the grammar says no: one line, the nearest valid word, never the user's own words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final


class GrammarError(ValueError):
    """A line or a cell is not in the language; nothing was done and no request was sent.

    The message is one line that says what is wrong and what is right. It is made of the grammar's words
    alone: what the user typed may be a key.
    """


NO_KEY_OPTION: Final = (
    "There is no option for a key: set the environment variable DONUTWORK_API_KEY instead. "
    "If what you typed was a real key, rotate it in the Donutwork dashboard and clear this cell."
)

_KEY_WORD: Final = re.compile(r"key|token|secret|bearer|passw|auth|credential", re.IGNORECASE)
_SHORTEST_SECRET: Final = 8


def refuse_secrets(text: str, secrets: Iterable[str], where: str) -> None:
    """Raise `GrammarError` where a secret of at least 8 characters occurs in `text`."""
    if any(len(secret) >= _SHORTEST_SECRET and secret in text for secret in secrets):
        raise GrammarError(
            f"The {where} contains the current API key; nothing was sent. "
            "Rotate it in the Donutwork dashboard, and clear this cell."
        )


def resembles_key_option(word: str) -> bool:
    """Tell whether `word` looks like an attempt to pass a key (``--api-key``, ``-kABC``, ``token=...``)."""
    name = re.split("[=:]", word, maxsplit=1)[0]
    return word.startswith("-k") or _KEY_WORD.search(name) is not None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Name the nearest candidate, as ``"; did you mean X?"``, or say nothing (``"."``) where none is near."""
    # Dashes are in every option, and would make any two of them look alike.
    bare = {candidate.lstrip("-"): candidate for candidate in candidates}
    typed = word[:32].lstrip("-").lower()
    begun = [name for name in bare if len(typed) > 2 and name.startswith(typed)]
    near = begun or difflib.get_close_matches(typed, bare, n=1)
    return f"; did you mean {bare[near[0]]}?" if near else "."
