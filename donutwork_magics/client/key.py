"""The API key: read from the environment, and sent in the Authorization header only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

from donutwork_magics.client.traces import REDACTED, Traces
from donutwork_magics.errors import SettingsError
from donutwork_magics.units import plain

KEY_VARIABLES: Final = ("DONUTWORK_API_KEY", "DONUTWORK_STAGING_API_KEY", "DONUTWORK_PRODUCTION_API_KEY")
SHORTEST: Final = 8
"""A key has at least so many characters."""

_WELL_FORMED = re.compile(r"[\x21-\x7e]{8,512}")
_ESCAPES: Final = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\[\"\\/bfnrt]")
"""Escapes of JSON (RFC 8259, section 7), those of a surrogate pair together."""
_QUOTES: Final = "\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"
_SCHEME: Final = re.compile(r"(?:authorization\s*:\s*)?bearer[\s:]+", re.IGNORECASE)


class ApiKey:
    """A key that is never shown: it is not in its repr or in an attribute's value, and cannot be pickled.

    Parameters
    ----------
    value
        The key, already checked.
    variable
        The environment variable that it came from, for messages.
    """

    __slots__ = ("_reveal", "_traces", "variable")

    def __init__(self, value: str, variable: str) -> None:
        self.variable = variable
        # A closure, since `vars`, debuggers and `%xmode Verbose` print an attribute that is a str.
        self._reveal: Callable[[], str] = lambda: value
        self._traces = Traces(value)

    def authorization(self) -> bytes:
        """Return the value of the Authorization header (RFC 6750, section 2.1)."""
        return b"Bearer " + self._reveal().encode("ascii")

    def redact(self, value: Any) -> Any:
        """Clean a decoded JSON value as `plain` does, and replace the traces of the key in it, names included."""
        return _with_texts(value, lambda text: self._traces.mask(plain(text)))

    def redact_document(self, text: str) -> str:
        """Replace the traces of the key in a whole document, also those that escapes of JSON hide; JSON stays JSON."""
        text = self._traces.mask(text)
        unescaped = _ESCAPES.sub(lambda run: str(json.loads(f'"{run[0]}"')), text)
        masked = self._traces.mask(unescaped)
        if masked == unescaped:
            return text
        try:
            return json.dumps(_with_texts(json.loads(text), self._traces.mask))
        except (ValueError, RecursionError):
            return masked

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


class KeysIn:
    """The keys that an environment holds, to look for them where they must not be.

    It is passed on in place of the keys themselves, since ``%xmode Verbose`` shows arguments.
    """

    __slots__ = ("_get",)

    def __init__(self, environ: Mapping[str, str]) -> None:
        # A closure, as an attribute would show or pickle the whole environment.
        self._get: Callable[[str], str] = lambda name: environ.get(name, "")

    def __iter__(self) -> Iterator[str]:
        """Go through the keys that are set and could be one, without white space, quotes and Bearer around them."""
        values = (_bare(self._get(name)) for name in KEY_VARIABLES)
        return (value for value in values if len(value) >= SHORTEST)


def read_key(environ: Mapping[str, str], variable: str) -> ApiKey:
    """Read a key from an environment variable.

    Raises
    ------
    SettingsError
        It is not set, or cannot be a key; the message has the variable's name, never its value.
    """
    text = environ.get(variable)
    if text is None:
        raise SettingsError(
            f"No API key: {variable} is not set. Set it with "
            f'import getpass, os; os.environ["{variable}"] = getpass.getpass("API key: ") '
            "or start without one: %donutwork sandbox start"
        )
    key = text.strip()
    if not key:
        raise SettingsError(
            f"{variable} is empty. Set it with "
            f'import getpass, os; os.environ["{variable}"] = getpass.getpass("API key: ")'
        )
    unquoted = _unquoted(key)
    if _SCHEME.match(unquoted):
        raise SettingsError(f"{variable} begins with Bearer: set it to the key alone, Bearer is added to it.")
    if unquoted != key:
        raise SettingsError(f"{variable} has quotes around the key: set it to the key alone, without them.")
    if not _WELL_FORMED.fullmatch(key):
        raise SettingsError(
            f"{variable} does not hold an API key: one has 8 to 512 visible ASCII characters and no blanks or line "
            "breaks inside. Copy it from the Donutwork dashboard again."
        )
    return ApiKey(key, variable)


def _unquoted(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES
    return text[1:-1].strip() if is_quoted else text


def _bare(text: str) -> str:
    return _SCHEME.sub("", _unquoted(text.strip()), count=1)
