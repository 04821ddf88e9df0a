"""Pyodide, and so JupyterLite, has no httptools: recorded runs are analysed there, and calls say why there are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
sys.modules["httptools"] = None
from donutwork_magics import Client, DonutworkError, TimedTransport, check, collect, load_example, sandbox, summary
df = load_example("night")
assert set(df.donutwork._repr_mimebundle_()) == {"text/plain", "text/html"}
print(int(summary(df)["n"].iloc[0]))
for call in (Client, TimedTransport, check, lambda: collect(1), sandbox().__enter__):
    try:
        call()
    except DonutworkError as error:
        print(error)
"""
IN_IPYTHON = """
import sys
sys.modules["httptools"] = None
%load_ext donutwork_magics
%donutwork
df = %donutwork load --example night
print("read", len(df))
%donutwork ping
"""
REFUSAL = "No call can be made: httptools is not installed, and in JupyterLite there is none. "


def said(*command: str) -> tuple[str, ...]:
    ended = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"PYTHONUTF8": "1", "DONUTWORK_API_KEY": "sk_live_abc"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return tuple((ended.stdout + ended.stderr).splitlines())


def test_a_script_reads_and_analyses_and_each_call_is_refused_in_one_line() -> None:
    read, *refused = said("-c", SCRIPT)

    assert read == "3600"
    assert [line.startswith(REFUSAL) for line in refused] == [True] * 5


@pytest.mark.kernel
@pytest.mark.parametrize("command", ["ping", "check", "watch", "sandbox"])
def test_so_do_the_magics(command: str) -> None:
    code = IN_IPYTHON.replace("%donutwork ping\n", f"%donutwork {command}\n")
    shown = said("-m", "IPython", "--no-banner", "--colors=nocolor", "-c", code)

    assert "read 3600" in shown
    assert sum(line.startswith(f"SettingsError: {REFUSAL}") for line in shown) == 1
    assert not any("Traceback" in line or "sk_live" in line for line in shown)


@pytest.mark.kernel
def test_the_overview_says_so_beside_a_key_that_is_set() -> None:
    code = IN_IPYTHON.replace("%donutwork ping\n", "%donutwork\n")
    shown = said("-m", "IPython", "--no-banner", "--colors=nocolor", "-c", code)

    assert "✗ Donutwork: not ready" in shown
    assert REFUSAL in " ".join(" ".join(shown).split())
