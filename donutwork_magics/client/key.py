"""The API key: read from the environment, sent in the Authorization header only, and found wherever it is repeated.

Its traces in a text are the key itself, its base64 and its URL-encoding, whole or in long slices.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import quote

from donutwork_magics.interrupts import uninterrupted
from donutwork_magics.units import plain

KEY_VARIABLES: Final = ("DONUTWORK_API_KEY", "DONUTWORK_STAGING_API_KEY", "DONUTWORK_PRODUCTION_API_KEY")
SHORTEST: Final = 8
"""A key has at least so many characters."""
SLICE: Final = 12
"""This many characters in a row, of a key or of one of its encodings, are a trace of it."""

REDACTED: Final = "[redacted]"
_MOST_REMEMBERED: Final = 32
"""Of the keys that were set before, for those that change often: each makes a call begin 50 µs later."""

_WELL_FORMED = re.compile(r"[\x21-\x7e]{8,512}")
_ESCAPES: Final = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\[\"\\/bfnrt]")
"""Escapes of JSON (RFC 8259, section 7), those of a surrogate pair together."""
_QUOTES: Final = "\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"
_SCHEME: Final = re.compile(r"(?:authorization\s*:\s*)?bearer[\s:]+", re.IGNORECASE)
_KEPT_BY_URL_ENCODERS: Final = ("", "/", "!*'()")
"""What Python's, a path's and JavaScript's encoder each leave as it is, beyond letters, digits and ``-._~``."""
_PERCENT: Final = re.compile("%..")
_ENCODED_AGAIN: Final = re.compile("%(?:25)+")


class ApiKey:
    """A key that is never shown: it is not in its repr or in an attribute's value, and cannot be pickled.

    `variable` is the environment variable that it came from, for messages. A server may repeat any of `others` too:
    it got them in other calls.
    """

    __slots__ = ("_traces", "arguments", "variable")

    def __init__(self, value: str, variable: str, *others: str) -> None:
        self.variable = variable
        # A closure, since `vars`, debuggers and `%xmode Verbose` print an attribute that is a str.
        self.arguments: Callable[[], tuple[str, ...]] = lambda: (value, variable, *others)
        """Reveals what it was made of, for one purpose: to make it anew in the prober."""
        self._traces = Traces(value, *others)

    def authorization(self) -> bytes:
        """Return the value of the Authorization header (RFC 6750, section 2.1)."""
        return b"Bearer " + self.arguments()[0].encode("ascii")

    def redact(self, value: Any) -> Any:
        """Clean a decoded JSON value as `plain` does, and replace the traces of the keys in it, names included."""
        return _with_texts(value, lambda text: self._traces.mask(plain(text)))

    def redact_document(self, text: str) -> str:
        """Replace the traces of the keys in a whole document, also those that escapes of JSON hide; JSON stays JSON."""
        mask = self._traces.mask
        masked = mask(text)
        unescaped = _ESCAPES.sub(lambda run: str(json.loads(f'"{run[0]}"')), masked)
        redacted = mask(unescaped)
        if redacted == unescaped:
            redacted = masked
        if redacted == text:
            return text

        def in_quotes(part: str) -> str:
            # Where a key has a quotation mark, one of JSON's may be part of its trace.
            part = mask(part)
            return part if mask(json.dumps(part)) == json.dumps(part) else REDACTED

        try:
            document = json.dumps(_with_texts(json.loads(text), in_quotes))
        except (ValueError, RecursionError):
            return redacted
        return document if mask(document) == document else redacted

    def __repr__(self) -> str:
        return f"<the key in {self.variable}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("an API key is not pickled")


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Change each text of a decoded JSON value, and replace each number whose digits would be changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(name): _with_texts(inner, change) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_texts(inner, change) for inner in value]
    if isinstance(value, int | float):
        shown = repr(value)
        return value if change(shown) == shown else REDACTED
    return value


def keys_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what an environment holds that could be a key, without white space, quotes and Bearer around it."""
    values = (_bare(environ.get(name, "")) for name in KEY_VARIABLES)
    return tuple(value for value in values if len(value) >= SHORTEST)


@uninterrupted
def holds_key(text: str) -> bool:
    """Tell whether a text contains a key that is set."""
    return any(key in text for key in keys_in(os.environ))


@dataclass(frozen=True, slots=True)
class Unusable:
    """A setting that cannot be used."""

    why: str
    """The line that a call would end with; it never has the setting's value."""


def read_key(environ: Mapping[str, str], variable: str) -> ApiKey | Unusable:
    """Read a key from an environment variable."""
    key = environ.get(variable, "").strip()
    if not key:
        is_set = variable in environ
        return Unusable(
            f"{f'{variable} is empty.' if is_set else f'No API key: {variable} is not set.'} Set it with "
            f'import getpass, os; os.environ["{variable}"] = getpass.getpass("API key: ")'
            + ("" if is_set else " or start without one: %donutwork sandbox start (in Python: a with sandbox() block)")
        )
    unquoted = _unquoted(key)
    if _SCHEME.match(unquoted):
        return Unusable(f"{variable} begins with Bearer: set it to the key alone, Bearer is added to it.")
    if unquoted != key:
        return Unusable(f"{variable} has quotes around the key: set it to the key alone, without them.")
    if not _WELL_FORMED.fullmatch(key):
        return Unusable(
            f"{variable} does not hold an API key: one has 8 to 512 visible ASCII characters and no blanks or line "
            "breaks inside. Copy it from the Donutwork dashboard again."
        )
    return ApiKey(key, variable, *_remembered(filter(_WELL_FORMED.fullmatch, keys_in(environ))))


def _memory() -> Callable[[Iterable[str]], tuple[str, ...]]:
    # A closure too.
    known: dict[str, None] = {}

    def remembered(keys: Iterable[str]) -> tuple[str, ...]:
        keys = tuple(keys)
        known.update(dict.fromkeys(keys))
        return *keys, *tuple(known)[-_MOST_REMEMBERED:]

    return remembered


_remembered: Final = _memory()
"""Take in the keys that are set, and return them with those that were before."""


def _unquoted(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES
    return text[1:-1].strip() if is_quoted else text


def _bare(text: str) -> str:
    return _SCHEME.sub("", _unquoted(text.strip()), count=1)


def forms(key: str) -> set[str]:
    """Return a key as it may stand in a text: itself, URL-encoded, and in base64.

    In base64 the same key looks different at each of three offsets from the beginning of what was encoded. The
    characters at its ends are left out where they hold bits of a neighbour too.
    """
    found = {key}
    for kept in _KEPT_BY_URL_ENCODERS:
        encoded = quote(key, safe=kept)
        found |= {encoded, _PERCENT.sub(lambda escape: escape[0].lower(), encoded)}
    for offset in range(3):
        encoded = b64encode(b"\0" * offset + key.encode("ascii")).decode("ascii")
        own = encoded[-(-8 * offset // 6) : 8 * (offset + len(key)) // 6]
        found |= {own, own.replace("+", "-").replace("/", "_")}
    return found


class Traces:
    """Finds the traces of some keys. It keeps their hashes only, from which no key can be read.

    A key that is shorter than `SLICE` is looked for as a whole.
    """

    __slots__ = ("_hashes", "_shortest")

    def __init__(self, *keys: str) -> None:
        hashes: defaultdict[int, set[int]] = defaultdict(set)
        for form in {form.lower() for key in set(keys) for form in forms(key)}:
            length = min(SLICE, len(form))
            hashes[length].update(hash(form[at : at + length]) for at in range(len(form) - length + 1))
        self._hashes = dict(hashes)
        self._shortest = min(hashes)

    def mask(self, text: str) -> str:
        """Replace each trace in a text by ``[redacted]``; where there is none, the text itself is returned.

        What is not visible ASCII does not hide a trace: blanks and line breaks between its characters (base64 comes in
        lines), zero-width characters, accents. Neither does another case: of hexadecimal digits that is the key itself.
        """
        # The documented texts of a ping are all shorter: they cost two comparisons.
        if len(text) < self._shortest and text.isascii():
            return text
        visible, places = _visible_ascii(text)
        traces = sorted(
            (places[at], places[at + length - 1] + 1)
            for length, hashes in self._hashes.items()
            for at in range(len(visible) - length + 1)
            if hash(visible[at : at + length]) in hashes
        )
        pieces: list[str] = []
        kept_to = 0
        for start, end in traces:
            # Overlapping and adjoining traces are one.
            if start > kept_to or not pieces:
                pieces += [text[kept_to:start], REDACTED]
            kept_to = max(kept_to, end)
        masked = "".join([*pieces, text[kept_to:]])
        if "%25" in masked:
            # URL-encoded more than once, as in the query of a redirect.
            decoded = _ENCODED_AGAIN.sub("%", masked)
            masked_again = self.mask(decoded)
            return masked if masked_again == decoded else masked_again
        return masked


def _visible_ascii(text: str) -> tuple[str, list[int]]:
    """Return what a reader sees of a text in visible ASCII, in lower case, and where in the text each character stands.

    Letters in full width, in circles or with accents are plain letters there (Unicode's decomposition NFKD).
    """
    if text.isascii():
        seen = [(char, at) for at, char in enumerate(text)]
    else:
        seen = [(char, at) for at, one in enumerate(text) for char in unicodedata.normalize("NFKD", one)]
    seen = [(char, at) for char, at in seen if "!" <= char <= "~"]
    return "".join(char for char, _ in seen).lower(), [at for _, at in seen]
