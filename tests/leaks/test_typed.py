"""A key typed by mistake: refused without echo, with the advice to rotate it, and nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from donutwork_magics.grammar.cell import parse_cell
from donutwork_magics.grammar.parser import GrammarError, parse_line
from tests.leaks import KEY, STAGING_KEY
from tests.leaks.search import Search
from tests.servers import Server, answer, reply
from tests.support.kernel import Cell, Kernel

OTHER = "sk_live_4f9aZ7Qp21xWbb03"
"""A real key too, but none that is set."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(answer(reply())) as server:
        yield server


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Kernel]:
    environ = {"DONUTWORK_API_KEY": KEY, "DONUTWORK_STAGING_API_KEY": STAGING_KEY, "DONUTWORK_BASE_URL": server.url}
    with Kernel(tmp_path_factory.mktemp("kernel"), environ) as kernel:
        assert kernel.run("%load_ext donutwork_magics").ok
        yield kernel


def refused(cell: Cell, typed: str) -> None:
    assert cell.status == "error"
    (line,) = cell.stderr.strip().splitlines()
    assert line.startswith("UsageError: ")
    advises(line, typed)
    assert Search(typed).text(cell.text) == set()


def holds_key(text: str) -> bool:
    return KEY in text or STAGING_KEY in text


def advises(line: str, typed: str) -> None:
    assert line.isprintable()
    assert "otate it in the Donutwork dashboard, and clear this cell." in line
    assert Search(typed).text(line) == set()


KEYS = pytest.mark.parametrize("key", [KEY, STAGING_KEY, OTHER], ids=["current", "staging", "other"])
# A text that is free may be a key that is not set: nothing tells it from another text.
KEYS_THAT_ARE_SET = pytest.mark.parametrize("key", [KEY, STAGING_KEY], ids=["current", "staging"])


@KEYS
@pytest.mark.parametrize(
    "line",
    [
        "ping --key {}",
        "ping --api-key={}",
        "ping --token {}",
        "ping -k{}",
        "--key {}",
        "{}",
        "ping {}",
        "pnig {}",
        "pnig --key {}",
        "conection --env {}",
        "ping --env {}",
        "ping -n {}",
        "ping --http={}",
        'ping "{}',
        "sandbox start --key {}",
        "help {}",
    ],
)
def test_no_line_with_it_is_accepted(line: str, key: str) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_line(line.format(key), holds_key=holds_key)
    advises(str(caught.value), key)


@KEYS
@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("--key {}", "ping"),
        ("{}", "ping"),
        ("", "ping --key {}"),
        ("", "ping -n 5\npnig {}"),
        ("", "ping -n 5\nping {}"),
    ],
)
def test_no_cell_with_it_is_accepted(header: str, body: str, key: str) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_cell(header.format(key), body.format(key), holds_key=holds_key)
    advises(str(caught.value), key)


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("%donutwork ping --key {}", KEY),
        ("%donutwork {}", STAGING_KEY),
        ("%donutwork pnig {}", OTHER),
        ('%donutwork ping "{}', KEY),
        ("%donutwork help {}", OTHER),
        ("x = %donutwork ping {}", STAGING_KEY),
        ("%%donutwork --key {}\nping", OTHER),
        ("%%donutwork\nping -n 5\nping {}", KEY),
        ("typed = {!r}\n%donutwork ping $typed", STAGING_KEY),
        ("typed = {!r}\n%donutwork ping --env {{typed}}", OTHER),
        ("%config DonutworkMagics.env = {!r}\n%donutwork ping", KEY),
        ("%config DonutworkMagics.env = {!r}\n%donutwork ping", OTHER),
    ],
)
def test_it_is_refused(kernel: Kernel, server: Server, code: str, key: str) -> None:
    cell = kernel.run(code.format(key))
    kernel.run("%config DonutworkMagics.env = None")
    refused(cell, key)
    assert server.connections == 0


@KEYS_THAT_ARE_SET
@pytest.mark.parametrize("line", ["ping -n 5 --label {}", "ping -n 5 --label=x{}y"])
def test_no_line_has_it_where_a_text_may_be_anything(line: str, key: str) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_line(line.format(key), holds_key=holds_key)
    advises(str(caught.value), key)


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("%donutwork ping -n 5 --label {}", KEY),
        ("%%donutwork\n{}: ping -n 5", STAGING_KEY),
        ("%%donutwork\nping\n# {}", KEY),
        ("typed = {!r}\n%donutwork ping -n 5 --label $typed", STAGING_KEY),
    ],
)
def test_one_that_is_set_is_refused_even_where_a_text_may_be_anything(
    kernel: Kernel, server: Server, code: str, key: str
) -> None:
    refused(kernel.run(code.format(key)), key)
    assert server.connections == 0


def test_the_same_lines_without_a_key_are_accepted(kernel: Kernel, server: Server) -> None:
    assert kernel.run("%donutwork ping -n 1 --label plain -q -o rows").ok
    assert server.connections == 1
    server.connections = 0
