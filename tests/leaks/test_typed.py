"""A key typed by mistake, in a real cell: refused without echo, with the advice to rotate it, and nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
    assert "otate it in the Donutwork dashboard, and clear this cell." in line
    assert Search(typed).text(cell.text) == set()


@pytest.mark.parametrize("key", [KEY, STAGING_KEY, OTHER], ids=["current", "staging", "other"])
@pytest.mark.parametrize(
    "code",
    [
        "%donutwork ping --key {}",
        "%donutwork ping --api-key={}",
        "%donutwork ping --token {}",
        "%donutwork ping -k{}",
        "%donutwork --key {}",
        "%donutwork {}",
        "%donutwork ping {}",
        "%donutwork pnig {}",
        "%donutwork pnig --key {}",
        "%donutwork conection --env {}",
        "%donutwork ping --env {}",
        "%donutwork ping -n {}",
        "%donutwork ping --http={}",
        '%donutwork ping "{}',
        "%donutwork sandbox start --key {}",
        "%donutwork help {}",
        "x = %donutwork ping {}",
        "%%donutwork --key {}\nping",
        "%%donutwork {}\nping",
        "%%donutwork\nping --key {}",
        "%%donutwork\nping -n 5\npnig {}",
        "%%donutwork\nping -n 5\nping {}",
        "typed = {!r}\n%donutwork ping $typed",
        "typed = {!r}\n%donutwork ping --env {{typed}}",
        "%config DonutworkMagics.env = {!r}\n%donutwork ping",
    ],
)
def test_it_is_refused(kernel: Kernel, server: Server, code: str, key: str) -> None:
    cell = kernel.run(code.format(key))
    kernel.run("%config DonutworkMagics.env = None")
    refused(cell, key)
    assert server.connections == 0


@pytest.mark.parametrize(
    "code",
    [
        "%donutwork ping -n 5 --label {}",
        "%donutwork ping -n 5 --label=x{}y",
        "%%donutwork\n{}: ping -n 5",
        "%%donutwork\nping\n# {}",
        "typed = {!r}\n%donutwork ping -n 5 --label $typed",
    ],
)
@pytest.mark.parametrize("key", [KEY, STAGING_KEY], ids=["current", "staging"])
def test_one_that_is_set_is_refused_even_where_a_text_may_be_anything(
    kernel: Kernel, server: Server, code: str, key: str
) -> None:
    refused(kernel.run(code.format(key)), key)
    assert server.connections == 0


def test_the_same_lines_without_a_key_are_accepted(kernel: Kernel, server: Server) -> None:
    assert kernel.run("%donutwork ping -n 1 --label plain -q -o rows").ok
    assert server.connections == 1
    server.connections = 0
