"""Given a journal, every completed row is in it, and comes back as it was."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from donutwork_magics import DonutworkError, SeriesError, SettingsError, collect, load
from donutwork_magics.measure import measure
from donutwork_magics.sampling import journal as journal_module
from donutwork_magics.sampling import journal_reader as load_module
from donutwork_magics.sampling.journal import Journal, sealed
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.series import Series
from tests.servers import Server, answer, read_request, reply
from tests.support.processes import has_ended, probers_of, until
from tests.support.recordings import KEY, target_of
from tests.support.tables import RUN, about

pytestmark = pytest.mark.slow

REPLIES = (
    reply(),
    reply(b'{"status": "success", "env": "production", "RRT": "1_000 ms \xf0\x9f\x8d\xa9"}'),
    reply(b"", "500 Internal Server Error"),
    reply(b'{"status": "success"}'),
    reply(b"", "503 Service Unavailable", "Retry-After: 0"),
    reply(b'{"status": "success", "env": "staging", "RRT": "' + b"9" * 500 + b' ms"}'),
)


def in_turn(connection: socket.socket) -> None:
    """Answer with each of the replies in turn, and lose every seventh request."""
    number = 0
    while read_request(connection):
        number += 1
        if number % 7 == 0:
            return
        connection.sendall(REPLIES[number % len(REPLIES)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def written(file: Path, count: int = 5) -> pd.DataFrame:
    with Server(answer(reply())) as server:
        return collect(count, rate_hz=500, target=target_of(server), journal=file)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert one.attrs == other.attrs


@pytest.mark.parametrize(("rate_hz", "concurrency"), [(300.0, 1), (None, 1), (None, 4)])
def test_what_is_loaded_equals_what_was_returned(file: Path, rate_hz: float | None, concurrency: int) -> None:
    with Server(in_turn) as server:
        df = collect(
            40, rate_hz=rate_hz, concurrency=concurrency, warmup=3, target=target_of(server), label="é", journal=file
        )
    assert set(df["error"].dropna()) >= {"server_error", "schema"}
    assert df["retried"].any() or df["error"].eq("connection_lost").any()
    same(load(file), df)


def test_also_of_a_run_that_ended_early(file: Path) -> None:
    with Server(answer(reply(b"{}", "403 Forbidden"))) as server, pytest.raises(SeriesError) as caught:
        collect(9, rate_hz=100, target=target_of(server), journal=file)
    same(load(file), caught.value.df)
    assert about(load(file))["ended"] == "forbidden"


def test_it_is_json_lines_without_a_key(file: Path) -> None:
    df = written(file)
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert records[0]["donutwork_journal"] == 1
    assert [record["seq"] for record in records if "seq" in record] == df["seq"].tolist()
    assert KEY not in file.read_text()
    assert "uthorization" not in file.read_text()


_CHILD = textwrap.dedent(
    """
    import sys
    from donutwork_magics import collect
    from donutwork_magics.client.settings import sandbox_target
    url, key, file, concurrency = sys.argv[1:]
    target = sandbox_target(url, key, None)
    collect(10**6, rate_hz=None, concurrency=int(concurrency), target=target, journal=file)
    """
)


def at_least(wanted: int, answered: list[int]) -> bool:
    return answered[0] >= wanted


@contextlib.contextmanager
def child(server: Server, file: Path, concurrency: int, before: str = "") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", before + _CHILD, server.url, KEY, str(file), str(concurrency)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            # Also where the test fails first: it would ping for ever.
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="ps and SIGKILL")
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("victim", ["parent", "prober"])
def test_a_kill_at_any_moment_loses_no_completed_row(file: Path, victim: str, concurrency: int) -> None:
    chance = random.Random(concurrency)
    for kill in range(3):
        answered = [0]

        def count(connection: socket.socket, answered: list[int] = answered) -> None:
            while read_request(connection):
                answered[0] += 1
                connection.sendall(reply())

        before = 0 if kill == 0 else len(load(file))
        with Server(count) as server, child(server, file, concurrency) as process:
            until(partial(at_least, 20, answered))
            time.sleep(chance.uniform(0.0, 0.3))
            [prober] = probers_of(process.pid)
            os.kill(process.pid if victim == "parent" else prober, signal.SIGKILL)
            _out, stderr = process.communicate(timeout=60)
            until(partial(has_ended, prober))
        if victim == "parent":
            assert stderr == ""
        else:
            assert "The prober, the process that pings, has ended unexpectedly." in stderr.splitlines()[-1]
        df = load(file)
        # What was answered and is no row was in flight: one a worker at most.
        assert 0 <= answered[0] - (len(df) - before) <= concurrency
        assert df["error"].isna().all()
        assert df["run"].nunique() == kill + 1
        assert not df.duplicated(["run", "seq"]).any()
        assert about(df)["ended"] == "unfinished"


def test_a_last_line_that_is_torn_anywhere_costs_that_line_only(file: Path) -> None:
    df = written(file)
    lines = file.read_bytes().splitlines(keepends=True)
    rows = lines[:-1]
    assert b'"seq":4' in rows[-1]
    for length in range(0, len(rows[-1]) - 1, 7):
        file.write_bytes(b"".join(rows[:-1]) + rows[-1][:length])
        assert load(file)["seq"].tolist() == [0, 1, 2, 3], length
    file.write_bytes(b"".join(rows[:-1]) + rows[-1][:20] + bytes(4096))
    assert len(load(file)) == len(df) - 1


def test_a_run_goes_on_behind_a_torn_line(file: Path) -> None:
    first = written(file)
    file.write_bytes(file.read_bytes()[:-30])
    second = written(file, 3)
    both = load(file)
    expected = pd.concat([first, second], ignore_index=True)
    pd.testing.assert_frame_equal(both, expected, check_exact=True)
    assert both["seq"].tolist() == [*range(5), *range(3)]
    assert both["run"].nunique() == 2
    assert [plan["count"] for plan in about(both)["plan"]] == [5, 3]


def throttle_every_third(connection: socket.socket) -> None:
    number = 0
    while read_request(connection):
        number += 1
        connection.sendall(reply(b"", "429 Too Many Requests", "Retry-After: 1") if number % 3 == 0 else reply())


def test_pauses_are_where_their_rows_are(file: Path) -> None:
    with Server(throttle_every_third) as server:
        target = target_of(server)
        lines = [Series(Plan(count=4, rate_hz=50, label=label), target, journal=file) for label in ("a", "b")]
        for _ in range(2):
            made = measure(lines, keep=lambda _df: "nowhere")
            throttled = made[made["error"] == "rate_limited"]
            ends_s = ((throttled["started_ms"] + throttled["duration_ms"]) / 1e3).tolist()
            first = about(made)["pauses"]["first"]
            assert [at_s for at_s, _pause_s in first] == pytest.approx(ends_s, abs=0.05)
    df = load(file)
    pauses = about(df)["pauses"]
    assert pauses["count"] == df["error"].eq("rate_limited").sum() == 4
    assert 0.9 < pauses["longest_s"] <= 1.0
    # Of both runs on one clock, that of the first.
    second = df[df["run"] == made["run"][0]]
    assert second["seq"].tolist() == list(range(8))
    apart_s = (second["timestamp"].iloc[0] - df["timestamp"].iloc[0]).total_seconds()
    at_s = [at_s - apart_s for at_s, _pause_s in pauses["first"][2:]]
    assert at_s == pytest.approx([at_s for at_s, _pause_s in first], abs=0.05)


def test_the_time_between_two_runs_is_not_of_the_rate(file: Path) -> None:
    with Server(answer(reply())) as server:
        for _ in range(2):
            collect(10, rate_hz=50, target=target_of(server), journal=file)
            time.sleep(2.0)
    df = load(file)
    assert df.donutwork.summary()["rate_hz"].item() > 25.0
    assert "/s, 50.0/s planned" in repr(df.donutwork)
    assert "20 of 20 planned" in repr(df.donutwork)


@pytest.mark.parametrize(
    "damage",
    [
        b"\n",
        b"no json\n",
        sealed(b"no json") + b"\n",
        sealed(b'{"seq": -1}') + b"\n",
        sealed(b"[" * 100_000) + b"\n",
        sealed(b'{"attrs":{"plan":5},"rows":2}') + b"\n",
        sealed(b'{"attrs":{"pauses":{"first":[1]}},"rows":2}') + b"\n",
        sealed(b'{"attrs":{},"rows":1}') + b"\n",
        sealed(b'{"attrs":{}}') + b"\n",
    ],
)
def test_damage_in_the_middle_is_named_by_its_line(file: Path, damage: bytes) -> None:
    written(file)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:3], damage, *lines[3:]]))
    with pytest.raises(DonutworkError, match=r"^Line 4 of the journal is damaged\. .*[^\n]$"):
        load(file)


@pytest.mark.parametrize("content", [b"", b"{}\n", b'{"donutwork_journal":2,"attrs":{}}\n', b"\x89PNG\r\n", b"PAR1"])
def test_loading_what_is_no_journal_is_one_line(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(DonutworkError, match=r"^The file is (empty|not a journal)[^\n]*\.$"):
        load(file)


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "x" * 5000])
def test_loading_what_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(DonutworkError, match=r"^The file cannot be read \([^\n]*\)\. Check its name\.$"):
        load(os.path.join(tmp_path, name))  # noqa: PTH118 - a Path refuses some of these itself


def _foreign(directory: Path) -> Path:
    path = directory / "notes.txt"
    path.write_bytes(b"my notes\n")
    return path


def _another_schema(directory: Path) -> Path:
    path = directory / "later.jsonl"
    path.write_bytes(b'{"donutwork_journal":2,"attrs":{}}\n')
    return path


def _device(directory: Path) -> Path:
    path = directory / "device"
    path.symlink_to(os.devnull)
    return path


@pytest.mark.parametrize(
    "make",
    [
        _foreign,
        _another_schema,
        lambda directory: directory,
        lambda directory: directory / "missing" / "run.jsonl",
        lambda directory: directory / ("x" * 300),
        pytest.param(_device, marks=pytest.mark.skipif(sys.platform == "win32", reason="needs a device file")),
    ],
)
def test_what_cannot_be_a_journal_is_refused_and_not_touched(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    before = _content(path)
    with (
        Server(answer(reply())) as server,
        pytest.raises(SettingsError, match=r"^The file of the journal [^\n]*Nothing was sent[^\n]*$"),
    ):
        collect(3, target=target_of(server), journal=path)
    assert server.connections == 0
    assert _content(path) == before


def _content(path: Path) -> bytes | None:
    # Unlike Path.is_file, this one does not mind a name that is too long.
    return path.read_bytes() if os.path.isfile(path) else None  # noqa: PTH113


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no advisory locks")
def test_two_runs_do_not_write_to_one_file_at_a_time(file: Path) -> None:
    open_journal = Journal(file, RUN)
    try:
        with (
            Server(answer(reply())) as server,
            pytest.raises(SettingsError, match="is being written by another run"),
        ):
            collect(3, target=target_of(server), journal=file)
    finally:
        open_journal.close()
    assert len(written(file, 2)) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
def test_a_full_disk_ends_the_run_with_its_rows_kept(file: Path) -> None:
    # A limit of the file's size fails a write as a full disk does, and needs no file system of its own.
    limited = textwrap.dedent(
        """
        import resource, signal, sys
        # Compiled modules would be cut off there too, and kept.
        sys.dont_write_bytecode = True
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        """
    )
    with Server(answer(reply())) as server, child(server, file, 1, limited) as process:
        _out, stderr = process.communicate(timeout=60)
    last = stderr.strip().splitlines()[-1]
    assert "The journal cannot be written (File too large). Make room, or choose another place." in last
    kept = int(last.split("The series ended early: ")[1].split()[0])
    df = load(file)
    # The row that did not fit is kept in memory.
    assert kept == len(df) + 1 > 20
    assert df["seq"].tolist() == list(range(len(df)))


@pytest.mark.usefixtures("in_process")
def test_it_is_synced_about_once_a_second_and_at_the_end(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    real = journal_module._sync

    def sync(fd: int) -> None:
        synced.append(os.fstat(fd).st_size)
        real(fd)

    monkeypatch.setattr(journal_module, "_sync", sync)
    with Server(answer(reply())) as server:
        collect(None, duration_s=2.5, rate_hz=50, target=target_of(server), journal=file)
    assert 2 <= len(synced) <= 4
    assert synced[-1] == file.stat().st_size


@pytest.mark.usefixtures("in_process")
def test_a_disk_that_does_not_take_it_in_the_end_is_no_success(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(journal_module, "_sync", sync)
    with Server(answer(reply())) as server, pytest.raises(SeriesError, match="The journal cannot be written") as caught:
        collect(3, rate_hz=None, target=target_of(server), journal=file)
    assert len(caught.value.df) == 3
    assert about(caught.value.df)["ended"] == "journal_failed"


def test_a_name_is_that_of_the_directory_where_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert journal_module.journal_path("run.jsonl") == tmp_path / "run.jsonl"


def test_what_is_written_while_it_is_loaded_is_left_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer is half way through a line when the reader gets there, and completes it."""
    df = written(file)
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-2]) + lines[-2][:30])
    read = load_module._Reader.read

    def grow(reader: load_module._Reader, number: int, line: bytes) -> None:
        if not line.endswith(b"\n"):
            file.write_bytes(whole)
        read(reader, number, line)

    monkeypatch.setattr(load_module._Reader, "read", grow)
    assert len(load(file)) == len(df) - 1
    assert file.read_bytes() == whole


def test_many_rows_take_little_memory(file: Path) -> None:
    written(file, 2)
    lines = file.read_bytes().splitlines(keepends=True)
    row = json.loads(lines[1])
    del row["crc"]
    rows = (sealed(json.dumps({**row, "seq": seq}).encode()) + b"\n" for seq in range(20_000))
    file.write_bytes(b"".join([lines[0], *rows]))
    tracemalloc.start()
    try:
        df = load(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(df) == 20_000
    assert peak / len(df) < 1000


@pytest.mark.parametrize("length", [1, 10, len(journal_module.BEGINNING)])
def test_a_file_that_was_torn_in_its_first_bytes_is_continued(file: Path, length: int) -> None:
    file.write_bytes(journal_module.BEGINNING[:length])
    written(file, 2)
    assert len(load(file)) == 2


@pytest.mark.parametrize("name", ["~nosuchuser_x/run.jsonl", "a\0b", "a\ud800b"])
def test_a_name_that_cannot_be_one_is_one_line(name: str) -> None:
    with Server(answer(reply())) as server, pytest.raises(SettingsError, match=r"^The file of the journal [^\n]*\.$"):
        collect(3, target=target_of(server), journal=name)


@pytest.mark.parametrize("label", ["a\ud800", "a\0", "a\nb", "a\u202eb", "", "x" * 65])
def test_a_label_that_cannot_be_shown_or_written_is_refused_before_the_first_ping(file: Path, label: str) -> None:
    with Server(answer(reply())) as server:
        for journal in (file, None):
            with pytest.raises(ValueError, match=r"^label needs a text of 1 to 64 printable characters\.$"):
                collect(3, target=target_of(server), label=label, journal=journal)
    assert server.connections == 0
    assert not file.exists()
