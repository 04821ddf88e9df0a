"""Given any line or cell, the real magic in a real kernel does it, or raises UsageError or an error of ours."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from donutwork_magics.errors import KINDS
from donutwork_magics.grammar.cell import parse_cell
from donutwork_magics.grammar.commands import CellLine, Command, PingCommand, SandboxCommand
from donutwork_magics.grammar.options import SPECS
from donutwork_magics.grammar.parser import GrammarError, parse_line
from tests.faults.calls import KEY
from tests.servers import BODY, Server, answer, reply
from tests.support.kernel import Kernel

quick = settings(max_examples=80, deadline=None, derandomize=bool(os.environ.get("CI")))

ATTEMPT = """
import os
%load_ext donutwork_magics
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output
from donutwork_magics import DonutworkError

def attempt(line, *cell, _shell=get_ipython(), _repr=repr, _type=type, _str=str):
    run = _shell.run_cell_magic if cell else _shell.run_line_magic
    with capture_output():
        try:
            run("donutwork", line, *cell)
        except UsageError as error:
            return "usage", _str(error), error.__context__ is None
        except DonutworkError as error:
            return _type(error).__name__, _str(error), error.kind, error.__context__ is None
        except BaseException as error:
            return "foreign", _repr(error)
    return "done",
"""

WORDS = [
    *sorted({flag for spec in SPECS.values() for flag in (*spec.spellings, spec.name)}),
    *("stop", "status", "1", "2", "3", "0", "100", "max", "1s", "300ms", "20ms/60ms", "staging", "production", "auto"),
    *("1.1", "name", "a b", "'a b'", '"open', ";", ":", "=", "#", "\\", "-1", "--", "-n3", "--count=2", "{1/0}", "$x"),
    *("--key", "KIND:0.5", "slow:0.5", "reset:1", "rate_limited:0.5", "\u0665", "\x00", "\n", "%donutwork", "?"),
]
# What often makes sense, so that not every line is refused.
GOOD = [
    "ping",
    "connection",
    "",
    "help",
    "help ping",
    "sandbox status",
    "ping -n 2 -r 100",
    "ping -n 1 -r max",
    "ping -n 2 -i 1ms -c 2 -w 1 --cold -q",
    "connection --http 1.1",
]
TAIL = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=8)), max_size=4)
LINES = st.builds(
    lambda begin, tail, gap: gap.join([begin, *tail]), st.sampled_from(GOOD), TAIL, st.sampled_from([" ", " ", ""])
)
ANY_LINES = st.one_of(LINES, TAIL.map(" ".join))


def is_quick(command: Command) -> bool:
    """Tell whether a command may be carried out here: it takes little time, and leaves nothing running."""
    if isinstance(command, SandboxCommand):
        return command.action in {"stop", "status"}
    if not isinstance(command, PingCommand) or command.plan is None:
        return True
    plan = command.plan
    in_time = plan.rate_hz is None or plan.rate_hz >= 50
    return in_time and (plan.count or 99) + plan.warmup <= 6 and plan.concurrency <= 4


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel whose pings are answered at once; connection gets a reply that it refuses."""
    with Server(answer(reply(BODY))) as server:
        environ = {"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": f"http://127.0.0.1:{server.port}"}
        with Kernel(tmp_path_factory.mktemp("kernel"), environ) as kernel:
            made = kernel.run(ATTEMPT)
            assert made.ok, made.traceback
            yield kernel


def check(kernel: Kernel, *arguments: str, refused: bool) -> None:
    cell = kernel.run(f"print(ascii(attempt({', '.join(map(ascii, arguments))})))")
    assert cell.ok, cell.traceback
    kind, *rest = ast.literal_eval(cell.stdout)
    if refused:
        assert kind == "usage", (kind, rest)
    if kind == "usage":
        message, alone = rest
        assert message.isprintable()
        assert alone
    elif kind != "done":
        assert kind in {"DonutworkError", "SettingsError", "SeriesError"}, (kind, rest)
        message, name, alone = rest
        # A file or a tutorial that is not there is the outcome of no call.
        assert name in KINDS or kind == "SettingsError" or {"load", "tutorial"} & {*arguments[0].split()}
        assert message.isprintable()
        assert alone
    assert KEY not in cell.text


@quick
@given(ANY_LINES)
@example("ping " + KEY)
@example("ping --env production")
@example("ping -n 2 -r max --env production")
@example("ping --http 2")
@example("ping --ipv6")
@example("ping -t 1ns")
@example("ping -n 3 -r max -t 1ns")
def test_any_line(kernel: Kernel, line: str) -> None:
    try:
        command = parse_line(line, holds_key=lambda text: KEY in text)
    except GrammarError:
        check(kernel, line, refused=True)
    else:
        assume(is_quick(command))
        check(kernel, line, refused=False)


@quick
@given(ANY_LINES, st.lists(st.one_of(ANY_LINES, LINES.map("a: ".__add__)), max_size=3).map("\n".join))
@example("-n 2 -r 100 -o kept", "a: ping\nb: ping --cold")
@example("", "a: ping\nb: connection")
@example("", "a: ping -n 1\nb: ping " + KEY)
def test_any_cell(kernel: Kernel, header: str, body: str) -> None:
    lines: tuple[CellLine, ...] = ()
    refused = False
    try:
        lines = parse_cell(header, body, holds_key=lambda text: KEY in text).lines
    except GrammarError:
        refused = True
    assume(all(is_quick(line.command) for line in lines))
    check(kernel, header, body, refused=refused)
