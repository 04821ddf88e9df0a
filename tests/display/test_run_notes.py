"""The notes of a run advise only what its command can do."""

from __future__ import annotations

import re
from typing import Any, get_args

import pandas as pd
import pytest

from donutwork_magics import Client, DonutworkError
from donutwork_magics.client.advice import advice
from donutwork_magics.client.endpoints import PING as PING_ENDPOINT
from donutwork_magics.client.sample import Sample
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.display import mimebundle
from donutwork_magics.display.run import RunCard
from donutwork_magics.errors import Kind
from donutwork_magics.grammar.options import PING, WATCH, Spec
from donutwork_magics.network.caller import Exchange
from donutwork_magics.network.timing import Phases
from donutwork_magics.sampling.plan import Plan
from tests.display.frames import ATTRS, frame
from tests.servers import Server, hang
from tests.support.tables import describe

BUSY = {
    "own_p50_ms": 1.0,
    "own_p95_ms": 1.0,
    "wake_p50_ms": 3.0,
    "wake_p95_ms": 3.0,
    "cpu_share": 0.8,
    "wakes": 60,
    "notices": ["client_saturated", "machine_busy"],
}
STOOD_STILL = {"count": 1, "total_s": 1.0, "longest_s": 1.0, "first": [[10.0, 1.0]]}
COMMANDS = {
    "ping": (PING, [Plan(count=90, rate_hz=10.0), Plan(count=90, rate_hz=10.0, concurrency=8)]),
    "watch": (WATCH, [Plan(rate_hz=10.0, endless=True)]),
}
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def late() -> pd.DataFrame:
    """Behind its plan, drifting, with errors and retries."""
    df = frame([20.0 + (seq // 30) * 20.0 for seq in range(100)], every_ms=200.0, errors={5: "timeout"})
    df["lag_ms"] = df["seq"] * 100.0
    df["corrected_ms"] = df["duration_ms"] + df["lag_ms"]
    df["retried"] = df["seq"] % 3 == 0
    return df


def filtered() -> pd.DataFrame:
    df = late()
    return df[~df["seq"].between(40, 49)].copy()


def stalled() -> pd.DataFrame:
    """On its plan in the end, and behind it for a time."""
    df = frame([2.0] * 400, every_ms=100.0)
    stall = df["seq"].between(100, 180)
    df.loc[stall, "lag_ms"] = 1000.0 - (df["seq"] - 100) * 12
    df["corrected_ms"] = df["duration_ms"] + df["lag_ms"]
    return df


def advised(plan: Plan) -> set[str]:
    """Everything that looks like an option in the cards of a plan whose every note is due."""
    found: set[str] = set()
    for df in (late(), filtered(), stalled()):
        for client, pauses in (({}, {}), (BUSY, STOOD_STILL)):
            described = {"plan": [plan.as_attrs()], "client": [client], "machine_pauses": pauses, "skipped": 7}
            describe(df, {**ATTRS, **described})
            found |= set(OPTION.findall(" ".join(mimebundle(RunCard(df))["text/plain"].split())))
    return found


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.slow
def test_each_option_that_a_note_names_is_one_of_the_command(command: str) -> None:
    spec, plans = COMMANDS[command]
    found = set().union(*map(advised, plans))
    assert found == ({"-r", "-c"} if command == "ping" else {"-r"})
    assert found <= set(spec.spellings)


@pytest.mark.parametrize("spec", [PING, WATCH], ids=lambda spec: str(spec.name))
def test_so_is_each_that_an_error_names(spec: Spec) -> None:
    phases = Phases(0.0, *[float("nan")] * 5)
    exchange = Exchange(0, 0, 1.0, phases, False, False, None, None, None, float("nan"), None)
    target = sandbox_target("http://127.0.0.1:1", "dw_test_Kx81mZq0vTnR57yE", None)
    lines: list[Any] = [advice(Sample(exchange, kind), target, PING_ENDPOINT) for kind in get_args(Kind)]
    lines.append(Plan(count=1, rate_hz=50.0).impolite(loopback=False))
    found = set(OPTION.findall(" ".join(lines)))
    assert {"--timeout", "--allow-load"} <= found <= set(spec.spellings)


def test_more_time_is_advised_as_a_script_writes_it_too() -> None:
    with Server(hang) as server, pytest.raises(DonutworkError) as caught:
        Client(sandbox_target(server.url, "dw_test_Kx81mZq0vTnR57yE", None), timeout_s=0.2).ping()
    assert "(--timeout; in Python: timeout_s)" in str(caught.value)


def test_pings_that_failed_in_a_pause_of_this_machine_are_told_with_it() -> None:
    df = frame([2.0] * 20 + [3000.0] * 3 + [2.0] * 37, errors=dict.fromkeys(range(20, 23), "timeout"))
    pauses = {"count": 1, "total_s": 2.9, "longest_s": 2.9, "first": [[2.21, 2.7]]}
    describe(df, {**ATTRS, "plan": [{**ATTRS["plan"][0], "concurrency": 3}], "machine_pauses": pauses})
    text = " ".join(mimebundle(RunCard(df))["text/plain"].split())
    assert "3 durations contain such a pause. 3 of these pings failed, perhaps because of it." in text
    df["error"] = pd.array([pd.NA] * len(df), dtype="string")
    assert "perhaps because of it" not in " ".join(mimebundle(RunCard(df))["text/plain"].split())
