"""The traces of a key in a text: the key itself, its base64 and its URL-encoding, whole or in long slices."""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

SLICE: Final = 12
"""This many characters in a row, of a key or of one of its encodings, are a trace of it."""

REDACTED: Final = "[redacted]"

_KEPT_BY_URL_ENCODERS: Final = ("", "/", "!*'()")
"""What Python's, a path's and JavaScript's encoder each leave as it is, beyond letters, digits and ``-._~``."""

_ENCODED_AGAIN: Final = re.compile("%(?:25)+")


def forms(key: str) -> set[str]:
    """Return a key as it may stand in a text: itself, URL-encoded, and in base64.

    In base64 the same key looks different at each of three offsets from the beginning of what was encoded. The
    characters at its ends are left out where they hold bits of a neighbour too.
    """
    found = {key}
    for kept in _KEPT_BY_URL_ENCODERS:
        encoded = quote(key, safe=kept)
        found |= {encoded, "".join(_lower_hex(encoded))}
    for offset in range(3):
        encoded = b64encode(b"\0" * offset + key.encode("ascii")).decode("ascii")
        own = encoded[-(-8 * offset // 6) : 8 * (offset + len(key)) // 6]
        found |= {own, own.replace("+", "-").replace("/", "_")}
    return found


def _lower_hex(encoded: str) -> Iterator[str]:
    first, *others = encoded.split("%")
    yield first
    for part in others:
        yield f"%{part[:2].lower()}{part[2:]}"


class Traces:
    """Finds the traces of one key. It keeps their hashes only, from which the key cannot be read.

    Parameters
    ----------
    key
        Visible ASCII characters. One that is shorter than `SLICE` is looked for as a whole.
    """

    __slots__ = ("_hashes", "_shortest")

    def __init__(self, key: str) -> None:
        hashes: defaultdict[int, set[int]] = defaultdict(set)
        for form in forms(key):
            length = min(SLICE, len(form))
            hashes[length].update(hash(form[at : at + length]) for at in range(len(form) - length + 1))
        self._hashes = dict(hashes)
        self._shortest = min(hashes)

    def mask(self, text: str) -> str:
        """Replace each trace in a text by ``[redacted]``; where there is none, the text itself is returned.

        What is not visible ASCII does not hide a trace: blanks and line breaks between its characters (base64 comes in
        lines), zero-width characters, accents.
        """
        # The documented texts of a ping are all shorter: they cost two comparisons.
        if len(text) < self._shortest and text.isascii():
            return text
        visible, places = _visible_ascii(text)
        pieces: list[str] = []
        kept_to = 0
        for first, after in self._found(visible):
            start, end = places[first], places[after - 1] + 1
            # Overlapping and adjoining traces are one.
            if start > kept_to or not pieces:
                pieces += [text[kept_to:start], REDACTED]
            kept_to = max(kept_to, end)
        masked = "".join([*pieces, text[kept_to:]]) if pieces else text
        if "%25" in masked:
            # URL-encoded more than once, as in the query of a redirect.
            decoded = _ENCODED_AGAIN.sub("%", masked)
            masked_again = self.mask(decoded)
            return masked if masked_again == decoded else masked_again
        return masked

    def _found(self, text: str) -> list[tuple[int, int]]:
        return sorted(
            (at, at + length)
            for length, hashes in self._hashes.items()
            for at in range(len(text) - length + 1)
            if hash(text[at : at + length]) in hashes
        )


def _visible_ascii(text: str) -> tuple[str, list[int]]:
    """Return what a reader sees of a text in visible ASCII characters, and where in the text each of them stands.

    Letters in full width, in circles or with accents are plain letters there (Unicode's decomposition NFKD).
    """
    if text.isascii():
        seen = [(char, at) for at, char in enumerate(text)]
    else:
        seen = [(char, at) for at, one in enumerate(text) for char in unicodedata.normalize("NFKD", one)]
    seen = [(char, at) for char, at in seen if "!" <= char <= "~"]
    return "".join(char for char, _ in seen), [at for _, at in seen]
