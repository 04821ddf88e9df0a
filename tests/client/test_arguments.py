"""What a script may pass: anything else is a ValueError in one line, before any request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from donutwork_magics import Client, check, collect
from donutwork_magics.client.settings import sandbox_target
from tests.servers import Server, answer, reply
from tests.support.tables import about

KEY = "dw_test_Kx81mZq0vTnR57yE"


@pytest.fixture(autouse=True)
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """What the environment variables name."""
    with Server(answer(reply())) as server:
        monkeypatch.setenv("DONUTWORK_BASE_URL", server.url)
        monkeypatch.setenv("DONUTWORK_API_KEY", KEY)
        yield server


CALL = (
    {"http": "x"},
    {"http": 2},
    {"http": None},
    {"http": ["1.1"]},
    {"family": "ipv5"},
    {"family": 4},
    {"env": "prod"},
    {"env": KEY},
    {"timeout_s": -1},
    {"timeout_s": 0},
    {"timeout_s": float("nan")},
    {"timeout_s": float("inf")},
    {"timeout_s": True},
    {"timeout_s": "10"},
    {"timeout_s": None},
    {"timeout_s": 10**400},
    {"target": "https://api.example.com"},
    {"env": "production", "target": sandbox_target("http://127.0.0.1:1", KEY, "staging")},
)
SERIES: tuple[dict[str, Any], ...] = (
    {"count": 1.5},
    {"count": 0},
    {"count": True},
    {"count": "3"},
    {"duration_s": float("inf")},
    {"duration_s": "3"},
    {"rate_hz": 0},
    {"rate_hz": float("inf")},
    {"rate_hz": float("nan")},
    {"rate_hz": "max"},
    {"concurrency": 0},
    {"duration_s": 1e-320},
    {"duration_s": 0.9e-9},
    {"rate_hz": 1e-320},
    {"concurrency": 257},
    {"journal": 5},
    {"journal": b"x"},
    {"journal": []},
    {"concurrency": 1.5},
    {"concurrency": None},
    {"warmup": -1},
    {"warmup": 0.5},
    {"label": ""},
    {"label": None},
    {"label": 5},
    {"label": "x" * 65},
    {"label": "a\nb"},
    {"label": "\ud800"},
    {"label": f"of {KEY}"},
    {"expect": "p95<200ms"},
    {"expect": None},
    {"expect": [5]},
    {"cold": "no"},
    {"allow_load": "no"},
)


def refused(call: object, arguments: dict[str, object], api: Server) -> None:
    with pytest.raises(ValueError, match=r"^[a-z_]+ needs [^\n]+$") as caught:
        call(**arguments)  # type: ignore[operator]
    assert str(caught.value).startswith(next(iter(arguments)))
    assert KEY not in str(caught.value)
    assert api.connections == 0


@pytest.mark.parametrize("arguments", CALL, ids=str)
def test_a_call_is_refused_before_any_request(arguments: dict[str, object], api: Server) -> None:
    for call in (Client, check, lambda **given: collect(1, **given)):
        refused(call, arguments, api)


@pytest.mark.parametrize("arguments", [*SERIES, {"cold": 1}], ids=str)
def test_a_series_is_refused_before_any_request(arguments: dict[str, object], api: Server) -> None:
    refused(lambda **given: collect(**{"count": 1, **given}), arguments, api)


def test_numbers_of_numpy_are_numbers() -> None:
    numbers: Any = {"count": np.int64(3), "rate_hz": np.float32(200), "warmup": np.uint8(1)}
    df = collect(**numbers, timeout_s=np.float64(5))
    assert len(df) == 4
    [plan] = about(df)["plan"]
    assert plan.pop("expect") == []
    assert {type(value) for value in plan.values()} <= {int, float, bool, str, type(None)}


def test_a_rate_that_is_impolite_names_the_argument_that_permits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DONUTWORK_BASE_URL", "https://api.invalid")
    with pytest.raises(ValueError, match="only with allow_load=True: ask") as caught:
        collect(1, rate_hz=21)
    assert "--allow-load" not in str(caught.value)
