"""Sandboxes for the tests, and the plainest client there is."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from donutwork_magics.grammar.commands import SandboxOptions
from donutwork_magics.sandbox.process import Sandbox

PING = "/2026-02-01/ping.json"
CONNECTION = "/2026-02-01/connection.json"

Start = Callable[..., Sandbox]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def rrt_ms(self) -> float:
        number, unit = self.json["RRT"].split(" ")
        assert unit == "ms"
        return float(number)


def address(sandbox: Sandbox) -> tuple[str, int]:
    parts = urlsplit(sandbox.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def listens(where: tuple[str, int]) -> bool:
    with closing(socket.socket()) as client:
        client.settimeout(2)
        return client.connect_ex(where) == 0


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def read_answer(reply: http.client.HTTPResponse) -> Answer:
    body = reply.read().decode()
    return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, body)


def ask(
    sandbox: Sandbox,
    path: str = PING,
    *,
    method: str = "GET",
    key: str = "staging",
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one request on a connection of its own."""
    with closing(http.client.HTTPConnection(*address(sandbox), timeout=5)) as connection:
        connection.request(method, path, headers=bearer(sandbox.key_for(key)) if headers is None else headers)
        return read_answer(connection.getresponse())


@pytest.fixture(scope="package")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox that injects nothing."""
    running = Sandbox.start()
    yield running
    running.stop()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start sandboxes with options; all are stopped at the end of the test."""
    started: list[Sandbox] = []

    def with_options(**options: Any) -> Sandbox:
        started.append(Sandbox.start(SandboxOptions(**options)))
        return started[-1]

    yield with_options
    for running in started:
        running.stop()
