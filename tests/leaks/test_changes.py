"""A key or a base URL that is changed, or taken away, counts from the next command on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.servers import BODY, Server, read_request, reply
from tests.support.kernel import Kernel

FIRST, SECOND, STAGING = "dw_first_0a9Kx81mZq0", "dw_second_7Hc2vTnR57", "dw_staging_5Wc8kTf3yG"

CLICK = """
import threading
from ipywidgets import Button
from ipywidgets.widgets.widget import _instances
def click(description):
    [button] = [one for one in _instances.values() if isinstance(one, Button) and one.description == description]
    button.click()
    for thread in threading.enumerate():
        if thread.name == "donutwork-widget":
            thread.join(30)
def shown():
    return " ".join(one.value for one in _instances.values() if type(one).__name__ == "HTML")
"""


@dataclass
class Origin:
    """A server that writes down which key it got."""

    keys: list[str] = field(default_factory=list)

    def __call__(self, connection: socket.socket) -> None:
        while request := read_request(connection):
            self.keys.append(request.decode().partition("Bearer ")[2].split("\r\n")[0])
            connection.sendall(reply(BODY))

    def taken(self) -> list[str]:
        keys, self.keys = self.keys, []
        return keys


@pytest.fixture
def origin() -> Iterator[tuple[Origin, Server]]:
    origin = Origin()
    with Server(origin) as server:
        yield origin, server


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        assert kernel.run("import os\n%load_ext donutwork_magics").ok
        assert kernel.run(CLICK).ok
        yield kernel


def set_variables(kernel: Kernel, **variables: str) -> None:
    kernel.run("for name in [name for name in os.environ if name.startswith('DONUTWORK_')]: del os.environ[name]")
    kernel.run(f"os.environ.update({variables!r})")


def test_each_command_uses_the_key_that_is_set_then(kernel: Kernel, origin: tuple[Origin, Server]) -> None:
    recorded, server = origin
    for key in (FIRST, SECOND):
        set_variables(kernel, DONUTWORK_API_KEY=key, DONUTWORK_BASE_URL=server.url)
        assert kernel.run("%donutwork ping").ok
        assert kernel.run("%donutwork ping -n 2 -r 100 -q -o rows").ok
        assert recorded.taken() == [key] * 3
    kernel.run("del os.environ['DONUTWORK_API_KEY']")
    for code in ("%donutwork ping", "%donutwork ping -n 2", "%%donutwork\nping\nconnection"):
        assert "DONUTWORK_API_KEY is not set" in kernel.run(code).traceback
    assert "no key set" in kernel.run("%donutwork").text
    assert recorded.taken() == []


def test_the_environment_of_config_is_looked_up_at_each_command_too(
    kernel: Kernel, origin: tuple[Origin, Server]
) -> None:
    recorded, server = origin
    both = {"DONUTWORK_BASE_URL": server.url, "DONUTWORK_STAGING_BASE_URL": server.url}
    set_variables(kernel, DONUTWORK_API_KEY=FIRST, DONUTWORK_STAGING_API_KEY=STAGING, **both)
    kernel.run("%config DonutworkMagics.env = 'staging'")
    kernel.run("%donutwork ping")
    kernel.run("del os.environ['DONUTWORK_STAGING_API_KEY']\n%donutwork ping")
    kernel.run("os.environ['DONUTWORK_STAGING_API_KEY'] = ''\n%donutwork ping")
    kernel.run("%config DonutworkMagics.env = None\n%donutwork ping")
    # An empty staging key is a mistake, and not a reason to take the other one.
    assert recorded.taken() == [STAGING, FIRST, FIRST]


def test_a_changed_base_url_counts_and_the_key_follows_it(kernel: Kernel, origin: tuple[Origin, Server]) -> None:
    recorded, server = origin
    other = Origin()
    with Server(other) as second:
        for url in (server.url, second.url):
            set_variables(kernel, DONUTWORK_API_KEY=FIRST, DONUTWORK_BASE_URL=url)
            kernel.run("%donutwork ping")
    assert (recorded.taken(), other.taken()) == ([FIRST], [FIRST])


def test_the_buttons_of_a_live_card_use_the_key_that_is_set_when_they_are_pressed(
    kernel: Kernel, origin: tuple[Origin, Server]
) -> None:
    recorded, server = origin
    set_variables(kernel, DONUTWORK_API_KEY=FIRST, DONUTWORK_BASE_URL=server.url)
    kernel.run("import dataclasses, donutwork_magics.shell.invocation as magics")
    kernel.run("magics._MEASURE = dataclasses.replace(magics._MEASURE, count=3, rate_hz=100)")
    assert kernel.run("%donutwork ping --widget").ok
    assert recorded.taken() == [FIRST]

    kernel.run(f"os.environ['DONUTWORK_API_KEY'] = {SECOND!r}")
    assert kernel.run("click('Again')\nclick('Measure 50')").ok
    assert recorded.taken() == [SECOND] * 4

    kernel.run("del os.environ['DONUTWORK_API_KEY']")
    for button in ("Again", "Measure 50"):
        assert kernel.run(f"click({button!r})").ok
        assert "DONUTWORK_API_KEY is not set" in kernel.value("shown()")
    assert recorded.taken() == []
    for key in (FIRST, SECOND):
        assert key not in kernel.value("shown()")
