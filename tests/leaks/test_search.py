"""The search finds the key in each form and place: a search that finds nothing proves nothing without this."""

from __future__ import annotations

import base64
import html
import json
import logging
import pickle
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import hpack
import nbformat
import pytest

from tests.leaks import KEY
from tests.leaks.search import SLICE, Search
from tests.leaks.servers import disguises

SEARCH = Search(KEY)
BEARER = f"Bearer {KEY}"
MIDDLE = KEY[7 : 7 + SLICE]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (KEY, "plain"),
        (BEARER, "plain"),
        (f"before {MIDDLE} after", "plain"),
        (KEY.encode().hex(), "hex"),
        (quote(KEY, safe=""), "URL-encoded"),
        (quote(MIDDLE, safe=""), "URL-encoded"),
        (re.sub("%..", lambda code: code[0].lower(), quote(KEY, safe="")), "URL-encoded"),
        ("".join(f"%{byte:02x}" for byte in MIDDLE.encode()), "plain"),
        *((base64.b64encode(b"x" * shift + KEY.encode() + b"yz").decode(), "base64") for shift in range(3)),
        *((base64.urlsafe_b64encode(b"x" * shift + KEY.encode()).decode(), "base64") for shift in range(3)),
        (base64.b64encode(BEARER.encode()).decode()[16:30], "base64"),
        (base64.b64encode(f"<svg>{KEY}</svg>".encode()).decode(), "base64"),
        ("".join(f"\\u00{byte:02x}" for byte in KEY.encode()), "plain"),
        ("".join(f"\\x{byte:02x}" for byte in KEY.encode()), "plain"),
        (KEY.replace("/", "\\/"), "plain"),
        ("".join(f"&#{byte};" for byte in KEY.encode()), "plain"),
        ("<wbr>".join(KEY), "plain"),
        (base64.encodebytes(BEARER.encode() * 3).decode(), "base64"),
        ("".join(f"&#{byte};&shy;" for byte in KEY.encode()), "plain"),
        (repr(hpack.Encoder().encode([("authorization", BEARER)], huffman=True)), "Huffman"),
        (repr(hpack.Encoder().encode([("authorization", BEARER)], huffman=True)), "HPACK"),
        (repr(hpack.Encoder().encode([("authorization", BEARER)], huffman=False)), "plain"),
        (repr(hpack.Encoder().encode([("x", f"abc{MIDDLE}")], huffman=True)), "Huffman"),
        (f"\nsome log line {hpack.Encoder().encode([(':path', '/'), ('x', KEY)], huffman=True)!r}\n", "HPACK"),
    ],
)
def test_it_is_found_in_a_text(text: str, form: str) -> None:
    assert form in SEARCH.text(f"{{'a': 1}} {text} the end")


@pytest.mark.parametrize("disguise", disguises(KEY).values(), ids=disguises(KEY))
@pytest.mark.parametrize("written", [str, repr, ascii, json.dumps, html.escape])
def test_it_is_found_where_something_invisible_hides_it(disguise: str, written: Callable[[str], str]) -> None:
    assert SEARCH.text(written(disguise))


@pytest.mark.parametrize("at", range(len(KEY) - SLICE + 1))
def test_every_slice_of_twelve_is_found(at: int) -> None:
    assert SEARCH.text(KEY[at : at + SLICE]) == {"plain"}


@pytest.mark.parametrize(
    "text",
    ["", "Bearer [redacted]", KEY[: SLICE - 1], KEY[::-1], "dw_live_", repr(hpack.Encoder().encode([("a", "b" * 40)]))],
)
def test_nothing_is_found_where_it_is_not(text: str) -> None:
    assert SEARCH.text(text) == set()


def notebook(root: Path) -> None:
    output = nbformat.v4.new_output("stream", text=f"a\n{KEY}\n")
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])]), root / "n.ipynb")


def widget_state(root: Path) -> None:
    metadata = {"widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"1": {"value": BEARER}}}}}
    nbformat.write(nbformat.v4.new_notebook(metadata=metadata), root / "n.ipynb")


def history(root: Path) -> None:
    with closing(sqlite3.connect(root / "history.sqlite")) as database:
        database.execute("CREATE TABLE history (source TEXT)")
        database.execute("INSERT INTO history VALUES (?)", ("x" * 4000 + KEY + "x" * 9000,))
        database.commit()


def pickled(root: Path) -> None:
    (root / "p.pickle").write_bytes(pickle.dumps({"raw": [KEY]}))


def environment(root: Path) -> None:
    (root / "environ").write_bytes(b"A=1\0B=" + KEY.encode() + b"\0")


def log_of_http2(root: Path) -> None:
    logger, handler = logging.getLogger("hpack.hpack"), logging.FileHandler(root / "log")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        block = hpack.Encoder().encode([("authorization", BEARER)])
        hpack.Decoder().decode(block)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


@pytest.mark.parametrize("plant", [notebook, widget_state, history, pickled, environment, log_of_http2])
def test_it_is_found_in_a_file(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    plant(tmp_path)
    assert len(SEARCH.tree(tmp_path)) == 1


def test_it_is_found_in_the_name_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / KEY[:SLICE]).touch()
    assert SEARCH.tree(tmp_path) == {f"directory/{KEY[:SLICE]}": {"plain"}}


def test_a_notebook_without_it_is_clean(tmp_path: Path) -> None:
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "n.ipynb")
    (tmp_path / "n.json").write_text(json.dumps({"a": KEY[:11]}))
    assert SEARCH.tree(tmp_path) == {}
