"""A server that hides the key in its texts, or repeats another one: neither is shown or kept, or acts on a terminal."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import httpx
import pytest

from donutwork_magics import Client, TimedTransport, collect, load
from donutwork_magics.client.settings import Target, read_setup
from tests.leaks import KEY, STAGING_KEY
from tests.leaks.search import Search
from tests.leaks.servers import disguises
from tests.servers import Server, read_request, reply

SEARCH = Search(KEY)
HIDDEN = disguises(KEY)


def saying(texts: Iterable[str]) -> Callable[[socket.socket], None]:
    """Put each text into all the fields of one reply, one after the other."""
    following = iter(texts)

    def serve(connection: socket.socket) -> None:
        while request := read_request(connection):
            text = next(following)
            more = {"more": [{text: [text, {"deep": text}]}]}
            seen = {"userAgent": text, "ips": {"ipv4": text, "ipv6": text}}
            endpoint = {"apiVersion": text, "env": text, "protocol": text}
            ping = {"status": "success", "env": text, "RRT": text, **more}
            body = {"client": seen, "endpoint": endpoint, **more} if b"connection.json" in request else ping
            connection.sendall(reply(json.dumps(body).encode()))

    return serve


def target_of(server: Server) -> Target:
    return read_setup({"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": server.url}).usable()


def assert_harmless(texts: list[str], name: str = "") -> None:
    for text in texts:
        assert SEARCH.text(text) == set(), name
        # Our own are line breaks, and no-break spaces before units.
        assert text.replace("\n", "").replace("\xa0", " ").isprintable(), name


def test_a_call_neither_shows_nor_keeps_it() -> None:
    twice = (text for text in HIDDEN.values() for _ in range(2))
    with Server(saying(twice)) as server, Client(target_of(server)) as client:
        for name in HIDDEN:
            for result in (client.ping(), client.connection()):
                bundle = result._repr_mimebundle_()
                shown = [repr(result), str(result.raw), *bundle.values(), json.dumps(result.raw, ensure_ascii=False)]
                assert "redacted" in bundle["text/plain"], name
                assert_harmless(shown, name)


def test_a_series_neither_shows_nor_keeps_it(tmp_path: Path) -> None:
    journal = tmp_path / "rows.jsonl"
    with Server(saying(HIDDEN.values())) as server:
        df = collect(len(HIDDEN), rate_hz=None, allow_load=True, target=target_of(server), journal=journal)
    assert df.error.isna().all()
    for name, env, rrt in zip(HIDDEN, df.env, df.rrt, strict=True):
        assert "[redacted]" in env, name
        assert_harmless([env, rrt], name)
    shown = [*df.donutwork._repr_mimebundle_().values(), str(df.attrs), df.to_html(), df.to_csv()]
    assert_harmless([*shown, df.to_string(), load(journal).to_string()])
    assert SEARCH.tree(tmp_path) == {}


@pytest.fixture
def _one_for_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two keys, for the same server by default, which repeats each that it has got."""
    got: dict[str, None] = {}

    def serve(connection: socket.socket) -> None:
        while request := read_request(connection):
            got[request.decode().partition("Bearer ")[2].split("\r\n")[0]] = None
            connection.sendall(
                reply(json.dumps({"status": "success", "env": "staging", "RRT": " ".join(got)}).encode())
            )

    with Server(serve) as server:
        for env, key in (("", KEY), ("STAGING_", STAGING_KEY)):
            monkeypatch.setenv(f"DONUTWORK_{env}BASE_URL", server.url)
            monkeypatch.setenv(f"DONUTWORK_{env}API_KEY", key)
        collect(1)
        collect(1, env="staging")
        yield


@pytest.mark.usefixtures("_one_for_all")
@pytest.mark.parametrize("rotated", [False, True], ids=["set", "set before"])
def test_no_other_key_is_shown_or_kept(rotated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if rotated:
        monkeypatch.setenv("DONUTWORK_API_KEY", "dw_live_another_4f9aZ7Qp21xW")
        monkeypatch.delenv("DONUTWORK_STAGING_API_KEY")
    df = collect(1, journal=tmp_path / "rows.jsonl")
    with Client() as client:
        ping = client.ping()
    with TimedTransport() as transport, httpx.Client(transport=transport, base_url=transport.base_url) as http:
        text = http.get("/2026-02-01/ping.json").text
    for shown in (df.rrt[0], ping.rrt, str(ping.raw), text, (tmp_path / "rows.jsonl").read_text()):
        assert "[redacted] [redacted]" in shown
        assert Search(KEY, STAGING_KEY).text(shown) == set()
