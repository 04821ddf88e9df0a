"""Given a mistake or a failure, the cell ends with one line that says what to do, and nothing is sent or lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Handler, Server, answer, answer_once, answer_then_hang, hang, read_request, reply
from tests.shell.conftest import KEY
from tests.support.kernel import ABOUT, KILL_SANDBOX, Cell, Kernel

SECRET = "sk_live_4f9aZ7Qp21xW"


def aimed_at(kernel: Kernel, server: Server) -> Kernel:
    kernel.run(f"os.environ['DONUTWORK_BASE_URL'] = 'http://127.0.0.1:{server.port}'")
    return kernel


def usage_error(cell: Cell) -> str:
    """Return the one line of a UsageError."""
    assert cell.status == "error"
    lines = cell.stderr.strip().splitlines()
    assert len(lines) == 1, cell.text
    assert lines[0].startswith("UsageError: ")
    return lines[0]


def one_line_error(cell: Cell, ename: str = "DonutworkError") -> str:
    """Return the one line of an error of ours."""
    assert cell.status == "error"
    assert cell.ename == ename, cell.text
    assert cell.traceback == f"{ename}: {cell.evalue}"
    assert "\n" not in cell.traceback
    return cell.evalue


class TestUsage:
    """Some of what tests/test_grammar.py has in full."""

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("pnig", "did you mean ping?"),
            ("ping -n 0", "-n needs a whole number"),
            ('ping --label "open', "quote"),
            (f"ping --key {SECRET}", "no option for a key"),
            ("watch -n 5", "watch has no -n"),
        ],
    )
    def test_a_line(self, keyed: Kernel, line: str, says: str) -> None:
        with Server(answer(reply())) as server:
            cell = aimed_at(keyed, server).run(f"%donutwork {line}")
        message = usage_error(cell)
        assert says in message
        assert SECRET not in cell.text
        assert server.connections == 0

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            ("%%donutwork\nping -n 3\nping -n 0", "line 3"),
            ("%%donutwork\nsandbox", "cell"),
            (f"%%donutwork --key {SECRET}\nping", "no option for a key"),
        ],
    )
    def test_a_cell_is_checked_whole_before_the_first_request(self, keyed: Kernel, code: str, says: str) -> None:
        with Server(answer(reply())) as server:
            cell = aimed_at(keyed, server).run(code)
        assert says in usage_error(cell)
        assert SECRET not in cell.text
        assert server.connections == 0

    def test_more_than_20_a_second_elsewhere_needs_permission(self, keyed: Kernel) -> None:
        keyed.run("os.environ['DONUTWORK_BASE_URL'] = 'https://donutwork.invalid'")
        for options in ("-r 21", "-r max"):
            assert "--allow-load" in usage_error(keyed.run(f"%donutwork ping -n 5 {options}"))

    def test_so_it_does_in_a_mixed_cell_before_its_first_request(self, keyed: Kernel) -> None:
        keyed.run("os.environ['DONUTWORK_STAGING_API_KEY'] = os.environ['DONUTWORK_API_KEY']")
        keyed.run("os.environ['DONUTWORK_STAGING_BASE_URL'] = 'https://donutwork.invalid'")
        with Server(answer(reply())) as server:
            aimed_at(keyed, server)
            cell = keyed.run("%%donutwork\nwho: connection\nfast: ping -n 5 -r 50 --env staging")
        keyed.run("del os.environ['DONUTWORK_STAGING_API_KEY'], os.environ['DONUTWORK_STAGING_BASE_URL']")
        assert "--allow-load" in usage_error(cell)
        assert server.connections == 0


class TestSettings:
    @pytest.fixture
    def restored(self, keyed: Kernel) -> Iterator[Kernel]:
        yield keyed
        keyed.run(f"os.environ['DONUTWORK_API_KEY'] = {KEY!r}\nos.environ.pop('DONUTWORK_STAGING_API_KEY', None)")

    def test_no_key(self, restored: Kernel) -> None:
        restored.run("del os.environ['DONUTWORK_API_KEY']")
        message = one_line_error(restored.run("%donutwork ping"), "SettingsError")
        assert "DONUTWORK_API_KEY is not set" in message
        assert "getpass.getpass" in message
        assert message.endswith("%donutwork sandbox start (in Python: a with sandbox() block)")

    @pytest.mark.parametrize("value", ["   ", "two words here"])
    def test_a_key_that_cannot_be_one(self, restored: Kernel, value: str) -> None:
        restored.run(f"os.environ['DONUTWORK_API_KEY'] = '{value}'")
        cell = restored.run("%donutwork ping")
        assert "DONUTWORK_API_KEY" in one_line_error(cell, "SettingsError")
        assert not value.strip() or value not in cell.text

    def test_white_space_around_a_key_is_dropped(self, restored: Kernel) -> None:
        seen: list[bytes] = []

        def record(connection: object) -> None:
            seen.append(read_request(connection))  # type: ignore[arg-type]
            connection.sendall(reply())  # type: ignore[attr-defined]

        with Server(record) as server:
            aimed_at(restored, server).run(f"os.environ['DONUTWORK_API_KEY'] = ' {KEY}\\n'")
            assert restored.run("%donutwork ping").ok
        assert f"Authorization: Bearer {KEY}\r\n".encode() in seen[0]

    @pytest.mark.parametrize("url", ["http://api.example.com", "https://user:pass@api.example.com"])
    def test_a_base_url_that_must_not_get_the_key(self, restored: Kernel, url: str) -> None:
        restored.run(f"os.environ['DONUTWORK_BASE_URL'] = {url!r}")
        cell = restored.run("%donutwork ping")
        assert "DONUTWORK_BASE_URL" in one_line_error(cell, "SettingsError")
        assert "pass@" not in cell.text

    def test_http_3_that_is_not_available_sends_nothing(self, keyed: Kernel) -> None:
        with Server(answer(reply())) as server:
            aimed_at(keyed, server)
            for line in ("ping", "ping -n 5", "connection", "check", "watch"):
                cell = keyed.run(f"%donutwork {line} --http 3")
                assert one_line_error(cell, "SettingsError").startswith("HTTP/3 is not available")
        assert server.connections == 0

    def test_a_missing_key_sends_nothing_for_a_whole_cell(self, restored: Kernel) -> None:
        with Server(answer(reply())) as server:
            aimed_at(restored, server).run("os.environ['DONUTWORK_STAGING_API_KEY'] = ''")
            cell = restored.run("%%donutwork\na: ping\nb: connection --env staging")
        assert "DONUTWORK_STAGING_API_KEY" in one_line_error(cell, "SettingsError")
        assert server.connections == 0

    def test_the_sandbox_that_died_does_not_fall_through_to_the_api(self, restored: Kernel) -> None:
        with Server(answer(reply())) as server:
            aimed_at(restored, server)
            restored.run("%donutwork sandbox start;")
            assert restored.run(KILL_SANDBOX).ok
            cell = restored.run("%donutwork ping")
            assert "sandbox has ended" in one_line_error(cell, "SettingsError")
            assert "ended" in restored.run("%donutwork").result["text/plain"]
            assert server.connections == 0
            assert restored.run("%donutwork sandbox stop\n%donutwork ping").ok


class TestFailedCalls:
    @pytest.mark.parametrize(
        ("raw", "kind", "says"),
        [
            (reply(b'{"error": "Invalid token"}', "401 Unauthorized"), "unauthorized", "Invalid token"),
            (reply(b"<html>hello</html>"), "invalid_body", "DONUTWORK_BASE_URL"),
            (reply()[:-3], "connection_lost", "lost"),
        ],
    )
    def test_they_end_in_one_line_with_a_kind_and_advice(self, keyed: Kernel, raw: bytes, kind: str, says: str) -> None:
        with Server(answer_once(raw)) as server:
            cell = aimed_at(keyed, server).run("%donutwork ping")
            caught = keyed.run("try:\n    %donutwork ping\nexcept Exception as e:\n    print(e.kind, e.__context__)")
        assert says in one_line_error(cell)
        assert caught.stdout.split() == [kind, "None"]
        assert KEY not in cell.text

    def test_nobody_there(self, keyed: Kernel) -> None:
        keyed.run("os.environ['DONUTWORK_BASE_URL'] = 'http://127.0.0.1:9'")
        assert "Check your network" in one_line_error(keyed.run("%donutwork ping"))

    def test_a_proxy_that_is_not_used_is_named_when_the_connection_fails(self, keyed: Kernel) -> None:
        keyed.run("os.environ['DONUTWORK_BASE_URL'] = 'http://127.0.0.1:9'; os.environ['HTTPS_PROXY'] = 'http://p'")
        cell = keyed.run("%donutwork ping")
        keyed.run("del os.environ['HTTPS_PROXY']")
        assert "HTTPS_PROXY" in one_line_error(cell)

    def test_another_environment_than_the_one_asked_for(self, keyed: Kernel) -> None:
        with Server(answer(reply())) as server:
            cell = aimed_at(keyed, server).run("%donutwork ping --env production")
        assert "staging answered where production was asked for" in one_line_error(cell)

    def test_a_deadline(self, keyed: Kernel) -> None:
        with Server(hang) as server:
            cell = aimed_at(keyed, server).run("%donutwork ping -t 300ms")
        assert "waiting for the first byte" in one_line_error(cell)

    def test_an_interrupt(self, keyed: Kernel) -> None:
        with Server(hang) as server:
            cell = aimed_at(keyed, server).run("%donutwork ping", interrupt_after_s=0.5)
        assert cell.ename == "Interrupted"
        assert len(cell.traceback.splitlines()) == 1


class TestFailedSeries:
    def test_a_failure_is_a_row(self, keyed: Kernel) -> None:
        with Server(answer_once(reply(b"", "500 Internal Server Error"))) as server:
            cell = aimed_at(keyed, server).run("df = %donutwork ping -n 3 -r 100")
        assert cell.ok
        assert keyed.value("df.error.tolist()") == "['server_error', 'server_error', 'server_error']"

    @pytest.mark.parametrize(
        ("raw", "options", "kind"),
        [
            (reply(b'{"error": "Invalid token"}', "401 Unauthorized"), "", "unauthorized"),
            (reply(b"{}", "403 Forbidden"), "", "forbidden"),
            (reply(), "--env production", "env_mismatch"),
            (reply(b"", "429 Too Many Requests", "Retry-After: 121"), "", "rate_limited"),
        ],
    )
    def test_some_end_it_with_the_rows_kept(self, keyed: Kernel, raw: bytes, options: str, kind: str) -> None:
        with Server(answer(raw)) as server:
            cell = aimed_at(keyed, server).run(f"%donutwork ping -n 9 -r 50 {options} -o kept")
        assert "The series ended early: 1 row is kept in kept. " in one_line_error(cell, "SeriesError")
        assert keyed.value("(kept.error.tolist(), _donutwork is kept)") == f"(['{kind}'], True)"
        assert keyed.value(f"{ABOUT}(kept)['ended']") == f"'{kind}'"
        assert len(cell.displays) == 1

    def test_an_unreachable_host_ends_it_after_five_in_a_row(self, keyed: Kernel) -> None:
        keyed.run("os.environ['DONUTWORK_BASE_URL'] = 'http://127.0.0.1:9'")
        cell = keyed.run("%donutwork ping -n 50 -r 100")
        assert "5 rows are kept in _donutwork. " in one_line_error(cell, "SeriesError")

    def test_the_variable_that_it_would_have_filled_is_said_to_be_as_it_was(self, keyed: Kernel) -> None:
        keyed.run("os.environ['DONUTWORK_BASE_URL'] = 'http://127.0.0.1:9'\ndf = 'of before'")
        cell = keyed.run("df = %donutwork ping -n 50 -r 100")
        assert "5 rows are kept in _donutwork, and nothing was assigned. " in one_line_error(cell, "SeriesError")
        assert keyed.value("(df, len(_donutwork))") == "('of before', 5)"

    def test_a_rest_that_the_server_asks_for_shifts_the_plan(self, keyed: Kernel) -> None:
        raws = iter([reply(b"", "429 Too Many Requests", "Retry-After: 1")])

        def limited(connection: object) -> None:
            while read_request(connection):  # type: ignore[arg-type]
                connection.sendall(next(raws, reply()))  # type: ignore[attr-defined]

        with Server(limited) as server:
            assert aimed_at(keyed, server).run("df = %donutwork ping -n 3 -r 50").ok
        assert keyed.value("bool(df.started_ms[1] - df.started_ms[0] >= 1000)") == "True"
        assert keyed.value("bool(df.lag_ms.max() < 900)") == "True"
        assert keyed.value(f"{ABOUT}(df)['pauses']['count']") == "1"
        assert keyed.value("df.retry_after_s[0]") in {"1.0", "np.float64(1.0)"}

    @pytest.mark.parametrize("handler", [hang, answer(reply())], ids=["hanging", "answering"])
    def test_an_interrupt_keeps_the_rows_and_the_next_run_works(self, keyed: Kernel, handler: Handler) -> None:
        with Server(handler) as server:
            cell = aimed_at(keyed, server).run("%donutwork ping -n 999 -r 20 -o kept", interrupt_after_s=1.0)
        assert "kept" in one_line_error(cell, "Interrupted")
        rows = int(keyed.value("len(kept)"))
        assert rows == 0 if handler is hang else rows > 0
        assert keyed.value(f"len({ABOUT}(kept)['in_flight'])") == ("1" if handler is hang else "0")
        assert len(cell.displays) == 1
        assert "widget" not in str(list(cell.displays[0]))
        with Server(answer(reply())) as server:
            assert aimed_at(keyed, server).run("df = %donutwork ping -n 3 -r 100").ok
        assert keyed.value("len(df)") == "3"

    def test_one_interrupt_after_another_loses_nothing(self, keyed: Kernel) -> None:
        with Server(answer_then_hang(reply(), 5)) as server:
            aimed_at(keyed, server)
            for number in range(5):
                cell = keyed.run(
                    f"%donutwork ping -n 999 -r 50 -c {1 + number} -q", interrupt_after_s=0.3 + 0.1 * number
                )
                assert cell.ename == "Interrupted"
                # Well before the deadline of the ping that hangs.
                assert cell.took_s < 8
                assert int(keyed.value("len(_donutwork)")) >= 5
                assert keyed.value("_donutwork.error.isna().all()") == "np.True_"
        with Server(answer(reply())) as server:
            assert aimed_at(keyed, server).run("%donutwork ping -n 3 -r 100 -q").ok

    def test_an_interrupt_of_a_cold_kernel_breaks_no_import(self, tmp_path: Path) -> None:
        with Kernel(tmp_path) as kernel:
            kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start;")
            cell = kernel.run("%donutwork ping -n 999", interrupt_after_s=0.15)
            assert cell.ename == "Interrupted", cell.text
            assert kernel.run("df = %donutwork ping -n 3 -r 100").ok
            assert kernel.value("len(df)") == "3"

    def test_a_cell_of_several_keeps_the_rows_of_those_before(self, keyed: Kernel) -> None:
        answers = iter([reply()] * 3)

        def turning(connection: object) -> None:
            while read_request(connection):  # type: ignore[arg-type]
                raw = next(answers, reply(b"{}", "403 Forbidden"))
                connection.sendall(raw)  # type: ignore[attr-defined]

        with Server(turning) as server:
            cell = aimed_at(keyed, server).run("%%donutwork -n 3 -r 100 -o kept\na: ping\nb: ping\nc: ping")
        assert "4 rows are kept in kept. " in one_line_error(cell, "SeriesError")
        assert keyed.value("kept.label.tolist()") == "['a', 'a', 'a', 'b']"

    def test_a_line_with_a_variable_of_its_own_is_not_taken_for_the_place_of_all_rows(self, keyed: Kernel) -> None:
        with Server(answer(reply(b"{}", "403 Forbidden"))) as server:
            cell = aimed_at(keyed, server).run("%%donutwork -n 3 -r 100\na: ping\nb: ping -o kept")
        assert "1 row is kept in _donutwork. " in one_line_error(cell, "SeriesError")
        assert keyed.value("(len(kept), len(_donutwork))") == "(0, 1)"


class TestKey:
    @pytest.mark.parametrize("mode", ["Context", "Verbose", "Minimal"])
    def test_no_mode_of_traceback_shows_it(self, keyed: Kernel, mode: str) -> None:
        keyed.run(f"%xmode {mode}\nimport logging; logging.basicConfig(level=logging.DEBUG, force=True)")
        echo = reply(b'{"status": "success", "env": "%s", "RRT": "%s"}' % (KEY.encode(), KEY.encode()))
        texts = []
        for raw in (echo, reply(KEY.encode()), reply(b"", f"500 {KEY}", f"X-Echo: Bearer {KEY}"), b""):
            with Server(answer_once(raw)) as server:
                aimed_at(keyed, server)
                texts += [keyed.run(code).text for code in ("%donutwork ping", "%tb", "%donutwork ping -n 2 -r 50")]
        with Server(hang) as server:
            texts.append(aimed_at(keyed, server).run("%donutwork ping", interrupt_after_s=0.3).text)
            texts.append(keyed.run("%tb").text)
        keyed.run("%xmode Context\nlogging.basicConfig(level=logging.WARNING, force=True)")
        assert not [text for text in texts if KEY in text]
        assert any("[redacted]" in text for text in texts)

    def test_it_is_in_no_file_of_the_kernel(self, keyed: Kernel, tmp_path: Path) -> None:
        with Server(answer(reply())) as server:
            aimed_at(keyed, server).run("df = %donutwork ping -n 2 -r 50 -q")
        keyed.run(f"df.to_pickle({str(tmp_path / 'df.pickle')!r})")
        assert KEY.encode() not in (tmp_path / "df.pickle").read_bytes()
