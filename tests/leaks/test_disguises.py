"""A server that hides the key in its texts: it is neither shown nor kept, and nothing acts on a terminal."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from donutwork_magics import Client, collect, load
from donutwork_magics.client.settings import Target, read_setup
from tests.leaks import KEY
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
