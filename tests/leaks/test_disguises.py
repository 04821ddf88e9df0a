"""A server that hides the key in its texts: it is neither shown nor kept, and nothing acts on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from donutwork_magics import Client, collect, load
from donutwork_magics.client.settings import Target, read_setup
from tests.leaks import KEY
from tests.leaks.search import Search
from tests.leaks.servers import disguises
from tests.servers import Server, answer_api, reply

SEARCH = Search(KEY)


def bodies(text: str) -> tuple[bytes, bytes]:
    more = {"more": [{text: [text, {"deep": text}]}]}
    ping = {"status": "success", "env": text, "RRT": text, **more}
    endpoint = {"apiVersion": text, "env": text, "protocol": text}
    return json.dumps(ping).encode(), json.dumps(
        {"client": {"userAgent": text, "ips": {"ipv4": text, "ipv6": text}}, "endpoint": endpoint, **more}
    ).encode()


def assert_harmless(texts: list[str]) -> None:
    for text in texts:
        assert SEARCH.text(text) == set()
        # Our own are line breaks, and no-break spaces before units.
        assert text.replace("\n", "").replace("\xa0", " ").isprintable()


@pytest.fixture(params=disguises(KEY))
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    ping, connection = map(reply, bodies(disguises(KEY)[request.param]))
    with Server(answer_api(ping, connection, [])) as server:
        yield read_setup({"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": server.url}).usable()


def test_a_call_neither_shows_nor_keeps_it(target: Target) -> None:
    with Client(target) as client:
        for result in (client.ping(), client.connection()):
            bundle = result._repr_mimebundle_()
            shown = [repr(result), str(result.raw), *bundle.values(), json.dumps(result.raw, ensure_ascii=False)]
            assert "redacted" in bundle["text/plain"]
            assert_harmless(shown)


def test_a_series_neither_shows_nor_keeps_it(target: Target, tmp_path: Path) -> None:
    df = collect(2, rate_hz=None, allow_load=True, target=target, journal=tmp_path / "rows.jsonl")
    loaded = load(tmp_path / "rows.jsonl")
    assert "[redacted]" in df.env[0]
    shown = [*df.donutwork._repr_mimebundle_().values(), str(df.attrs), df.to_html(), df.to_csv()]
    shown += [df.to_string(), loaded.to_string(), str(df.env.tolist()), str(df.rrt.tolist())]
    assert_harmless(shown)
    assert SEARCH.tree(tmp_path) == {}
