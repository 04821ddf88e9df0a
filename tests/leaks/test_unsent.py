"""A request that cannot be sent in full: the libraries have the header in their frames then, and none survives."""

from __future__ import annotations

import logging
import socket
import threading

import httpx
import pytest

from donutwork_magics.network.caller import Caller
from donutwork_magics.network.exchange import NetworkFaultError, prepare
from tests.leaks import KEY
from tests.leaks.search import Search
from tests.servers import Server

# Far beyond what the buffers of both sides take; the client's own requests have three hundred bytes.
PADDING = "x" * 30_000_000


@pytest.mark.slow
def test_nothing_of_it_is_in_the_exception_or_the_log(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()

    def never_read(_connection: socket.socket) -> None:
        released.wait(10)

    caplog.set_level(logging.DEBUG)
    with Server(never_read) as server:
        caller = Caller(httpx.URL(server.url), f"Bearer {KEY}".encode, timeout_s=0.5)
        request = httpx.Request("GET", f"{server.url}/ping.json", headers={"X-Padding": PADDING})
        fault, exchange = caller.call(prepare(request))
        released.set()
    assert isinstance(fault, NetworkFaultError)
    assert fault.kind == "timeout"
    assert not exchange.phases.ttfb_ms > 0
    assert fault.__traceback__ is None
    assert fault.__cause__ is fault.__context__ is None
    assert Search(KEY).text(repr(fault) + caplog.text) == set()
