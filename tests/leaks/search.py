"""Looks for a key in whatever came out: as it is, encoded, in slices, in logged HTTP/2 headers, inside of files.

It shares nothing with the package, which looks for keys too: a mistake there must not be repeated here.
"""

from __future__ import annotations

import ast
import html
import json
import re
import sqlite3
import sys
import unicodedata
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import hpack
import numpy as np
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from numpy.typing import NDArray

SLICE = 12
_BYTES_LITERAL = re.compile(rb"b'(?:[^'\\]|\\.)*'|b\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_ESCAPE = re.compile(rb"((?:\\u[0-9a-fA-F]{4})+)|\\U(00[0-9a-fA-F]{6})|\\x([0-9a-fA-F]{2})|\\(.)", re.DOTALL)
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_NOT_SEEN = bytes(set(range(256)) - set(range(0x21, 0x7F)))
_SQLITE = b"SQLite format 3\0"


class Search:
    """Looks for keys.

    Attributes
    ----------
    needles : dict of bytes to str
        Each slice of each form, and the form's name.
    """

    def __init__(self, *keys: str) -> None:
        self.needles: dict[bytes, str] = {}
        # Each slice holds one of these, so that only what is around them needs a further look.
        self._halves: set[bytes] = set()
        # For each half, and each two bytes of it: whether they occur there, as a look-up in a table takes one pass.
        self._pairs = np.zeros((SLICE // 4, 2**16), dtype=np.bool_)
        self._huffman: set[str] = set()
        for key in keys:
            for name, form in _forms(key):
                self.needles |= dict.fromkeys(_slices(form), name)
                self._halves |= {form[at : at + SLICE // 2] for at in range(0, len(form) - SLICE // 2 + 1, SLICE // 2)}
            self._huffman |= set(map(_huffman_bits, _slices(key.encode())))
        for half in self._halves:
            self._pairs[range(SLICE // 4), _pairs(half)[::2]] = True

    def text(self, text: str) -> set[str]:
        """Return the forms in which the key, or a slice of it, is in a text, as it stands or unescaped."""
        return self.data(text.encode("utf-8", "surrogatepass"))

    def data(self, data: bytes) -> set[str]:
        """Return the forms in which the key is in some bytes: raw, unescaped, or in an HTTP/2 header.

        Each is looked at as it stands, and as a reader sees it: without what is invisible or blank.
        """
        readings = [data]
        if b"\\" in data:
            readings.append(_ESCAPE.sub(_unescaped, data))
        if b"&" in data or b"<wbr>" in data:
            readings.append(
                html.unescape(data.decode("utf-8", "ignore").replace("<wbr>", "")).encode("utf-8", "ignore")
            )
        if b"%" in data:
            readings.append(unquote_to_bytes(data))
        found = set().union(*(self._plain(reading) | self._plain(_seen(reading)) for reading in readings))
        for literal in {match[0] for match in _BYTES_LITERAL.finditer(data)}:
            found |= self._http2(_evaluated(literal))
        return found

    def tree(self, root: Path) -> dict[str, set[str]]:
        """Return, by path, what is in the files of a directory, and in their names."""
        findings: dict[str, set[str]] = {}
        for path in sorted(root.rglob("*")):
            found = self.text(str(path.relative_to(root)))
            if path.is_file() and not path.is_symlink():
                found |= self.file(path)
            if found:
                findings[str(path.relative_to(root))] = found
        return findings

    def file(self, path: Path) -> set[str]:
        """Return what is in a file; of a database also what is in its rows, which the pages may cut in two."""
        data = path.read_bytes()
        if path.suffix == ".ipynb":
            return self.text("\n".join(dict.fromkeys(_strings(json.loads(data)))))
        found = self.data(data)
        if data.startswith(_SQLITE):
            with closing(sqlite3.connect(path)) as database:
                found |= self.text("\n".join(database.iterdump()))
        return found

    def _plain(self, data: bytes) -> set[str]:
        around = {data[max(0, at - SLICE) : at + 2 * SLICE] for at in self._places(data)}
        return {name for needle, name in self.needles.items() if any(needle in chunk for chunk in around)}

    def _places(self, data: bytes) -> Iterator[int]:
        """Give every place where a half begins."""
        pairs = _pairs(data)
        first, *others = self._pairs
        places = np.flatnonzero(first[pairs[: max(0, len(data) - SLICE // 2 + 1)]])
        for number, known in enumerate(others, start=1):
            places = places[known[pairs[places + 2 * number]]]
        return (at for at in places.tolist() if data[at : at + SLICE // 2] in self._halves)

    def _http2(self, block: bytes) -> set[str]:
        """Look into what may be an HPACK block: for its Huffman code at any bit, and for what it decodes to."""
        found = self._plain(block)
        bits = "".join(f"{byte:08b}" for byte in block)
        if any(code in bits for code in self._huffman):
            found.add("Huffman")
        for at in range(min(len(block), 64)):
            try:
                headers = hpack.Decoder().decode(block[at:], raw=True)
            except (hpack.HPACKError, IndexError, UnicodeDecodeError):
                continue
            if any(self._plain(bytes(part)) for header in headers for part in header[:2]):
                found.add("HPACK")
        return found


def _forms(key: str) -> Iterator[tuple[str, bytes]]:
    raw = key.encode()
    yield "hex", raw.hex().encode()
    for encode in (b64encode, urlsafe_b64encode):
        for shift in range(3):
            # Characters at the ends that hold bits of a neighbour are not the key's alone.
            yield "base64", encode(b"\0" * shift + raw)[shift and shift + 1 : 8 * (shift + len(raw)) // 6]
    for safe in ("", "/", "!*'()"):
        quoted = quote(key, safe=safe).encode()
        yield "URL-encoded", quoted
        yield "URL-encoded", re.sub(rb"%..", lambda code: code[0].lower(), quoted)
    yield "plain", raw


def _slices(form: bytes) -> list[bytes]:
    return [form[at : at + SLICE] for at in range(len(form) - SLICE + 1)]


def _pairs(data: bytes) -> NDArray[np.integer]:
    """Return, for each byte but the last, the number that it makes with the next."""
    each = np.frombuffer(data, dtype=np.uint8).astype(np.uint16)
    return each[:-1] << 8 | each[1:]


def _huffman_bits(text: bytes) -> str:
    codes: list[int] = list(REQUEST_CODES)
    lengths: list[int] = list(REQUEST_CODES_LENGTH)
    return "".join(f"{codes[byte]:0{lengths[byte]}b}" for byte in text)


def _unescaped(escape: re.Match[bytes]) -> bytes:
    short, long, byte, char = escape.groups()
    if short:
        return str(json.loads(b'"%s"' % short)).encode("utf-8", "surrogatepass")
    if long:
        return chr(min(int(long, 16), sys.maxunicode)).encode("utf-8", "surrogatepass")
    return bytes.fromhex(byte.decode()) if byte else _CONTROLS.get(char, char)


def _seen(data: bytes) -> bytes:
    """Return what looks like visible ASCII: without accents, and without what is full width, bold or in circles."""
    if not data.isascii():
        data = unicodedata.normalize("NFKD", data.decode("utf-8", "ignore")).encode("ascii", "ignore")
    return data.translate(None, _NOT_SEEN)


def _evaluated(literal: bytes) -> bytes:
    try:
        value = ast.literal_eval(literal.decode("ascii"))
    except (ValueError, SyntaxError):
        return b""
    return value if isinstance(value, bytes) else b""


def _strings(value: object) -> Iterator[str]:
    """Give every text of decoded JSON, names included: what stands on several lines or is escaped is whole there."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _strings(inner)
    elif isinstance(value, list):
        yield "".join(inner for inner in value if isinstance(inner, str))
        for inner in value:
            yield from _strings(inner)
