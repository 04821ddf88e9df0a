"""Given a cell of several lines, whatever ends it, what has come so far is kept in `_donutwork` and in `-o`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server, answer, hang, read_request, reply
from tests.shell.conftest import KEY
from tests.support.kernel import ABOUT, Cell, Kernel

WHO = (
    b'{"client": {"userAgent": "x", "ips": {"ipv4": "127.0.0.1"}},'
    b' "endpoint": {"apiVersion": "2026-02-01", "env": "staging", "protocol": "HTTP1.1"}}'
)
KINDS = "{k: type(v).__name__ for k, v in kept.items()}"
ALARM = """
import signal
class OfTheUserError(Exception): pass
def handler(number, frame): raise {raised}
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, {after_s})
"""
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timer signal")


@pytest.fixture(autouse=True)
def _nothing_left(keyed: Kernel) -> None:
    keyed.run("for name in ('kept', 'own', '_donutwork'): globals().pop(name, None)")


def run(kernel: Kernel, server: Server, code: str, *, interrupt_after_s: float | None = None) -> Cell:
    kernel.run(f"os.environ['DONUTWORK_BASE_URL'] = 'http://127.0.0.1:{server.port}'")
    return kernel.run(code, interrupt_after_s=interrupt_after_s)


def answering(*raws: bytes) -> object:
    """Answer connection.json, and each ping with the next of some replies; hang when there is none left."""
    left = iter(raws)

    def handler(connection: object) -> None:
        while request := read_request(connection):  # type: ignore[arg-type]
            raw = reply(WHO) if b"connection.json" in request else next(left, None)
            if raw is None:
                hang(connection)  # type: ignore[arg-type]
            else:
                connection.sendall(raw)  # type: ignore[attr-defined]

    return handler


FORBIDDEN = reply(b"{}", "403 Forbidden")
LINES = "who: connection\nfast: ping -n {n} -r 50 -o own\none: ping\nlast: connection"


def test_a_call_that_fails_keeps_the_lines_before(keyed: Kernel) -> None:
    with Server(answering(*[reply()] * 3, FORBIDDEN)) as server:  # type: ignore[arg-type]
        cell = run(keyed, server, f"%%donutwork -o kept\n{LINES.format(n=3)}")
    assert cell.ename == "DonutworkError"
    assert len(cell.traceback.splitlines()) == 1
    assert cell.evalue.startswith("The cell ended early: what was completed is kept in kept. 127.0.0.1")
    assert "ping:read" in cell.evalue
    assert keyed.value(KINDS) == "{'who': 'Connection', 'fast': 'DataFrame'}"
    assert keyed.value("(_donutwork is kept, own is kept['fast'], len(own))") == "(True, True, 3)"


def test_the_error_has_its_kind_and_no_context(keyed: Kernel) -> None:
    with Server(answering(FORBIDDEN)) as server:  # type: ignore[arg-type]
        code = "get_ipython().run_cell_magic('donutwork', '', 'who: connection\\none: ping')"
        cell = run(keyed, server, f"try:\n    {code}\nexcept Exception as e:\n    print(e.kind, e.__context__)")
    assert cell.stdout.split() == ["forbidden", "None"]


def test_a_series_that_ends_early_is_kept_with_the_rows_that_it_has(keyed: Kernel) -> None:
    with Server(answering(reply(), reply(), FORBIDDEN)) as server:  # type: ignore[arg-type]
        cell = run(keyed, server, f"%%donutwork -o kept\n{LINES.format(n=9)}")
    assert cell.ename == "SeriesError"
    assert "3 rows are kept in kept. " in cell.evalue
    assert keyed.value(KINDS) == "{'who': 'Connection', 'fast': 'DataFrame'}"
    assert keyed.value("(_donutwork is kept, own is kept['fast'], len(own))") == "(True, True, 3)"


def test_without_a_variable_it_is_in_the_last_result(keyed: Kernel) -> None:
    with Server(answering(*[reply()] * 3, FORBIDDEN)) as server:  # type: ignore[arg-type]
        cell = run(keyed, server, f"%%donutwork\n{LINES.format(n=3)}")
    assert "what was completed is kept in _donutwork. " in cell.evalue
    assert keyed.value("sorted(_donutwork)") == "['fast', 'who']"


def test_where_the_first_line_fails_there_is_nothing_to_keep(keyed: Kernel) -> None:
    with Server(answering(FORBIDDEN)) as server:  # type: ignore[arg-type]
        cell = run(keyed, server, "%%donutwork -o kept\none: ping\nwho: connection")
    assert cell.ename == "DonutworkError"
    assert "kept" not in cell.evalue
    assert keyed.value("'kept' in globals()") == "False"


def test_an_interrupt_of_a_series(keyed: Kernel) -> None:
    with Server(answering(*[reply()] * 5)) as server:  # type: ignore[arg-type]
        cell = run(keyed, server, f"%%donutwork -o kept\n{LINES.format(n=99)}", interrupt_after_s=1.0)
    assert (cell.ename, cell.evalue) == ("Interrupted", "5 rows are kept in kept.")
    assert keyed.value(KINDS) == "{'who': 'Connection', 'fast': 'DataFrame'}"
    assert keyed.value("(_donutwork is kept, own is kept['fast'], len(own))") == "(True, True, 5)"


def test_an_interrupt_of_a_call(keyed: Kernel) -> None:
    with Server(answering(*[reply()] * 3)) as server:  # type: ignore[arg-type]
        cell = run(keyed, server, f"%%donutwork -o kept\n{LINES.format(n=3)}", interrupt_after_s=1.5)
    assert (cell.ename, cell.evalue) == ("Interrupted", "what was completed is kept in kept.")
    assert keyed.value(KINDS) == "{'who': 'Connection', 'fast': 'DataFrame'}"


@posix_only
@pytest.mark.parametrize(
    ("raised", "mode"),
    [
        ("OfTheUserError('mine')", "Context"),
        ("OSError(5, 'mine')", "Context"),
        ("OSError(5, 'mine')", "Verbose"),
        ("KeyboardInterrupt('mine')", "Context"),
    ],
)
def test_an_exception_of_a_handler_of_the_users(keyed: Kernel, raised: str, mode: str) -> None:
    keyed.run(f"%xmode {mode}")
    with Server(answering(*[reply()] * 5)) as server:  # type: ignore[arg-type]
        keyed.run(ALARM.format(raised=raised, after_s=1.0))
        cell = run(keyed, server, f"%%donutwork -o kept\n{LINES.format(n=99)}")
    keyed.run("%xmode Context")
    assert cell.ename == raised.partition("(")[0]
    assert "mine" in cell.evalue
    assert KEY not in cell.text
    assert keyed.value(KINDS) == "{'who': 'Connection', 'fast': 'DataFrame'}"
    assert keyed.value("(_donutwork is kept, len(kept['fast']))") == "(True, 5)"


@posix_only
def test_so_it_is_in_a_cell_of_pings_only(keyed: Kernel) -> None:
    with Server(answering(*[reply()] * 7)) as server:  # type: ignore[arg-type]
        keyed.run(ALARM.format(raised="SystemExit(3)", after_s=1.0))
        cell = run(keyed, server, "%%donutwork -o kept -r 50\na: ping -n 4\nb: ping -n 99 -o own")
    assert not cell.ok
    assert cell.ename == "SystemExit"
    assert keyed.value("(_donutwork is kept, kept.label.value_counts().to_dict(), len(own))") == (
        "(True, {'a': 4, 'b': 3}, 3)"
    )


@posix_only
@pytest.mark.parametrize("command", ["ping", "connection", "check"])
def test_a_handler_ends_a_single_call_with_its_own_exception(keyed: Kernel, command: str) -> None:
    with Server(hang) as server:
        keyed.run(ALARM.format(raised="TimeoutError('mine')", after_s=0.5))
        cell = run(keyed, server, f"%donutwork {command} -t 30s")
    assert (cell.ename, cell.evalue) == ("TimeoutError", "mine")
    assert cell.took_s < 20


INTERRUPTED_AT_THE_END = """
import signal, donutwork_magics.shell.invocation as module
_display = module.display
def interrupted(value):
    signal.raise_signal(signal.SIGINT)
    _display(value)
module.display = interrupted
"""


class TestWhatIsSaidOfAnInterrupt:
    @pytest.fixture
    def late(self, keyed: Kernel, tmp_path: Path) -> Iterator[Kernel]:
        """A kernel in which an interrupt comes when a result is shown, which is when it is in its variable."""
        file = str(tmp_path / "run.jsonl")
        with Server(answer(reply())) as server:
            assert run(keyed, server, f"%donutwork ping -n 3 -r 100 -q --journal '{file}'").ok
        assert keyed.run(f"file = {file!r}" + INTERRUPTED_AT_THE_END).ok
        yield keyed
        keyed.run("module.display = _display")

    @pytest.mark.parametrize("command", ["ping", "check", "load {file}"])
    def test_the_variable_that_was_assigned_is_named(self, late: Kernel, command: str) -> None:
        with Server(answer(reply())) as server:
            cell = run(late, server, f"%donutwork {command} -o kept")
        assert (cell.ename, cell.evalue) == ("Interrupted", "what was completed is kept in kept.")
        assert late.value("kept is _donutwork") == "True"

    @pytest.mark.parametrize("command", ["ping", "check"])
    def test_nothing_is_kept_of_a_call_that_had_no_answer(self, keyed: Kernel, command: str) -> None:
        with Server(hang) as server:
            cell = run(keyed, server, f"%donutwork {command} -o kept", interrupt_after_s=0.5)
        assert (cell.ename, cell.evalue) == ("Interrupted", "the call was given up, and nothing is kept of it.")
        assert keyed.value("('kept' in globals(), '_donutwork' in globals())") == "(False, False)"

    def test_nothing_is_kept_of_a_journal_that_was_half_read(self, late: Kernel) -> None:
        late.run(
            "module.display = _display\nimport time, donutwork_magics.sampling.journal_reader as loading\n"
            "_lines = loading._lines\n"
            "loading._lines = lambda file: (time.sleep(2) or line for line in _lines(file))"
        )
        cell = late.run("%donutwork load {file} -o kept", interrupt_after_s=0.5)
        late.run("loading._lines = _lines")
        assert (cell.ename, cell.evalue) == ("Interrupted", "the call was given up, and nothing is kept of it.")
        assert cell.took_s < 6
        assert late.value("'kept' in globals()") == "False"


def test_a_service_that_goes_down_between_two_lines_is_down_and_its_address_not_wrong(keyed: Kernel) -> None:
    pings: list[int] = []

    def handler(connection: socket.socket) -> None:
        while len(pings) < 4 and read_request(connection):
            pings.append(1)
            if len(pings) == 4:
                server._listener.shutdown(socket.SHUT_RDWR)
            connection.sendall(reply())

    with Server(handler) as server:
        cell = run(keyed, server, "%%donutwork -o kept\nup: ping -n 4 -r 20\ndown: ping -n 9 -r 20")
    assert cell.ok, cell.text
    told = f"kept.label.value_counts().to_dict(), {ABOUT}(kept)['outages']['first'][0]['pings']"
    assert keyed.run(f"print({told})").stdout == "{'down': 9, 'up': 4} 9\n"
