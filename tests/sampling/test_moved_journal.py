"""Given a journal that is moved, truncated, removed or replaced in mid-run, the run goes on in a file that loads."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pandas as pd
import pytest

from donutwork_magics import DonutworkError, SeriesError, load
from donutwork_magics.probers import Recording
from donutwork_magics.sampling import journal as journal_module
from donutwork_magics.sampling.journal import Journal
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.series import Series
from tests.servers import Server, answer, reply
from tests.support.processes import until
from tests.support.recordings import PATIENCE_S, is_free, running, table, target_of
from tests.support.tables import RUN, about, card_of

NOTES = b"my notes\n"

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody move or truncate an open file"),
    pytest.mark.slow,
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch, in_process: None) -> None:
    """Look after the file fifty times a second, so that many moves take a short time."""
    monkeypatch.setattr(journal_module, "SYNC_EVERY_S", 0.02)


@contextlib.contextmanager
def writing(file: Path, concurrency: int = 1, rate_hz: float | None = 300) -> Iterator[Recording]:
    """Run a series in the background, until the block is left or the series ends by itself."""
    with Server(answer(reply())) as server:
        plan = Plan(count=10**6, rate_hz=rate_hz, concurrency=concurrency)
        with running(Series(plan, target_of(server), journal=file)) as run:
            yield run


def more(run: Recording, rows: int) -> None:
    wanted = run.done + rows
    until(lambda: run.done >= wanted or run.over.is_set())


def failed(run: Recording, why: str) -> None:
    """Check that a run has ended, as its journal could not be written, and why."""
    assert run.attrs["ended"] == "journal_failed"
    assert run.result.why.startswith(f"The journal cannot be written ({why}")


def goes_on_in(file: Path) -> None:
    until(lambda: file.exists() and file.read_bytes().count(b'"seq":') > 3)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def together(directory: Path, *parts: Path) -> pd.DataFrame:
    whole = directory / "whole.jsonl"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    return load(whole)


def told_by_the_file(df: pd.DataFrame) -> dict[str, Any]:
    """Return what is known of a run, but for how its journal fared, which the journal itself cannot tell."""
    return {name: value for name, value in about(df).items() if name != "journal_elsewhere"}


def rename(file: Path, old: Path) -> None:
    file.rename(old)


def rename_and_create(file: Path, old: Path) -> None:
    file.rename(old)
    file.touch()


@pytest.mark.parametrize("move", [rename, rename_and_create])
def test_a_run_goes_on_where_its_journal_was_moved_within_some_seconds(
    file: Path, move: Callable[[Path, Path], None]
) -> None:
    old = file.with_suffix(".1")
    with writing(file) as run:
        more(run, 20)
        move(file, old)
        goes_on_in(file)
        more(run, 20)
    made, first, second = table(run), load(old), load(file)
    assert run.attrs["ended"] is None
    same(pd.concat([first, second], ignore_index=True), made)
    assert second["seq"].iloc[0] == len(first) > 20
    assert f"continued: {len(first)} pings, no errors" in card_of(first)
    assert "the later rows are in another file" in card_of(first)
    assert f"{len(first)} rows of the run are no longer in the file of the journal: it was moved" in card_of(made)
    assert f"{len(first)} rows of the run are not in this file" in card_of(second)
    assert "missing" not in card_of(first) + card_of(second)
    # The plan is that of the whole run.
    assert "planned Errors" not in card_of(first) + card_of(second)
    assert about(first)["ended"] == "continued"
    assert about(second)["journal"] == {"missing": 0, "missing_seq": [], "elsewhere": len(first)}
    whole = together(file.parent, old, file)
    same(whole, made)
    assert about(whole) == told_by_the_file(made)


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_row_is_lost_or_repeated_however_often_it_is_moved(file: Path, concurrency: int) -> None:
    parts = [file.with_suffix(f".{number}") for number in range(8)]
    with writing(file, concurrency, rate_hz=None) as run:
        for part in parts:
            goes_on_in(file)
            file.rename(part)
        goes_on_in(file)
    parts.append(file)
    made, loaded = table(run), [load(part) for part in parts]
    assert run.attrs["ended"] is None
    same(pd.concat(loaded).sort_values("seq", ignore_index=True), made)
    assert all(len(part) > 3 for part in loaded)
    assert {about(part)["ended"] for part in loaded[:-1]} == {"continued"}
    whole = together(file.parent, *parts)
    same(whole, made)
    assert about(whole) == told_by_the_file(made)
    # One part is not there: what it had is not called deleted.
    partly = together(file.parent, *parts[:3], *parts[4:])
    assert about(partly)["journal"] == {"missing": 0, "missing_seq": [], "elsewhere": len(loaded[3])}
    assert "as in a table that was filtered" not in card_of(partly)
    # Of another one, a row was deleted.
    lines = parts[5].read_bytes().splitlines(keepends=True)
    parts[5].write_bytes(b"".join([*lines[:2], *lines[3:]]))
    assert about(load(parts[5]))["journal"]["missing"] == 1
    assert about(together(file.parent, *parts))["journal"]["missing"] == 1


@pytest.mark.parametrize("concurrency", [1, 4])
def test_what_follows_a_truncation_loads(file: Path, concurrency: int) -> None:
    copies = [file.with_suffix(f".{number}") for number in range(12)]
    with writing(file, concurrency, rate_hz=None) as run:
        for copy in copies:
            goes_on_in(file)
            # As copytruncate of logrotate: what is written between the two is lost.
            shutil.copyfile(file, copy)
            os.truncate(file, 0)
        goes_on_in(file)
    made = table(run)
    assert run.attrs["ended"] is None
    for part in (*copies, file):
        df = load(part)
        expected = made[made["seq"].isin(df["seq"])].reset_index(drop=True)
        same(df, expected)
        assert "missing from" not in card_of(df)
    last = load(file)
    elsewhere = about(last)["journal"]["elsewhere"]
    assert about(made)["journal_elsewhere"] == elsewhere
    assert f"{elsewhere} rows of the run are no longer in the file of the journal: it was moved" in card_of(made)
    assert elsewhere == len(made) - len(last)
    assert f"{elsewhere} rows of the run are not in this file" in card_of(last)
    whole = together(file.parent, *copies, file)
    lost = about(whole).get("journal", {"elsewhere": 0})["elsewhere"]
    assert len(whole) + lost == len(made)
    assert whole["seq"].is_unique


@pytest.mark.parametrize("size", [1, 10, 23, 500, -5])
def test_a_journal_that_was_shortened_goes_on_behind_what_is_left(file: Path, size: int) -> None:
    with writing(file, rate_hz=50) as run:
        more(run, 5)
        rows = run.done
        os.truncate(file, file.stat().st_size + size if size < 0 else size)
        more(run, 5)
    df = load(file)
    assert run.attrs["ended"] is None
    assert df["seq"].is_monotonic_increasing
    assert df["seq"].iloc[-1] == run.done - 1
    assert len(df) <= run.done - (rows if size > 0 else 1) + 2
    assert f"{run.done - len(df)} row" in card_of(df)


def test_a_journal_that_was_truncated_and_stopped_loads(file: Path) -> None:
    journal = Journal(file, RUN)
    journal.describe({"plan": []})
    os.truncate(file, 0)
    journal.describe({"plan": [], "ended": None})
    journal.sync()
    journal.close()
    assert len(load(file)) == 0


def replace_by_notes(file: Path, old: Path) -> None:
    file.rename(old)
    file.write_bytes(NOTES)


def replace_by_a_directory(file: Path, old: Path) -> None:
    file.rename(old)
    file.mkdir()


def replace_by_a_pipe(file: Path, old: Path) -> None:
    file.rename(old)
    os.mkfifo(file)


def append_notes(file: Path, _old: Path) -> None:
    with file.open("ab") as other:
        other.write(NOTES)


@pytest.mark.parametrize(
    ("change", "why", "left"),
    [
        (replace_by_notes, "the file was moved, and another that is no journal is in its place", NOTES),
        (replace_by_a_pipe, "the file was moved, and another that is no journal is in its place", None),
        (replace_by_a_directory, "the file was moved, and a new one cannot be opened: Is a directory", None),
        (append_notes, "another program has written to the file", ANY),
        (lambda file, _old: file.write_bytes(NOTES), "another program has written to the file", NOTES),
        (lambda file, _old: file.unlink(), "the file was removed", None),
    ],
    ids=["other file", "pipe", "directory", "written to", "overwritten", "removed"],
)
def test_where_it_is_no_journal_any_more_the_run_ends_with_its_rows(
    file: Path, change: Callable[[Path, Path], object], why: str, left: bytes | None
) -> None:
    old = file.with_suffix(".1")
    with writing(file) as run:
        more(run, 20)
        change(file, old)
        assert run.over.wait(PATIENCE_S)
    failed(run, why)
    assert len(run.rows) > 20
    # The row for which it was noticed is kept in memory.
    assert not old.exists() or len(load(old)) == len(run.rows) - 1
    assert (file.read_bytes() if file.is_file() else None) == left


def test_where_its_directory_was_moved_the_run_ends_with_its_rows(tmp_path: Path) -> None:
    directory = tmp_path / "runs"
    directory.mkdir()
    with writing(directory / "run.jsonl") as run:
        more(run, 20)
        directory.rename(tmp_path / "moved")
        assert run.over.wait(PATIENCE_S)
    failed(run, "the file was moved, and a new one cannot be opened: No such file")
    assert len(load(tmp_path / "moved" / "run.jsonl")) == len(run.rows) - 1


@pytest.mark.usefixtures("prompt")
def test_of_two_runs_for_one_name_the_later_gives_way(file: Path) -> None:
    old = file.with_suffix(".1")
    with writing(file, rate_hz=20) as run:
        more(run, 3)
        file.rename(old)
        other = Journal(file, RUN)
        assert run.over.wait(PATIENCE_S)
        other.describe({"plan": []})
        other.close()
    failed(run, "the file was moved, and another run writes to the one in its place")
    assert len(load(file)) == 0
    assert len(load(old)) == len(run.rows) - 1


@pytest.mark.usefixtures("prompt")
def test_the_new_file_is_its_own_and_the_old_one_free(file: Path) -> None:
    old = file.with_suffix(".1")
    with writing(file) as run:
        more(run, 5)
        file.rename(old)
        goes_on_in(file)
        with pytest.raises(DonutworkError, match="is being written by another run"):
            Journal(file, RUN)
        until(lambda: is_free(old))
    assert is_free(file)


@pytest.mark.usefixtures("prompt")
def test_it_goes_on_behind_a_run_that_took_the_name_and_has_ended(file: Path) -> None:
    old = file.with_suffix(".1")
    with writing(file, rate_hz=50) as run:
        more(run, 5)
        file.rename(old)
        # Before the next look at the name.
        shutil.copyfile(old, file)
        more(run, 20)
    second = load(file)
    assert run.attrs["ended"] is None
    # The copy has the beginning of the same run.
    assert second["seq"].tolist()[-1] == run.done - 1
    assert len(load(old)) + len(second) > run.done


def test_a_run_that_writes_no_row_leaves_its_journal_where_it_was_moved(file: Path) -> None:
    journal = Journal(file, RUN)
    journal.describe({"plan": []})
    file.rename(file.with_suffix(".1"))
    until(lambda: journal._moved)
    assert not file.exists()
    journal.describe({"plan": [], "ended": None})
    journal.close()
    lines = [json.loads(line) for line in file.with_suffix(".1").read_bytes().splitlines()]
    assert [line["attrs"].get("ended", "") for line in lines] == ["", None]


@pytest.mark.usefixtures("prompt")
def test_no_descriptor_is_left_open(file: Path) -> None:
    with writing(file.with_suffix(".first")) as run:
        more(run, 3)
    # The prober is kept, with its pipes.
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - a Path would open one more
    with writing(file) as run:
        for number in range(3):
            goes_on_in(file)
            file.rename(file.with_suffix(f".{number}"))
            goes_on_in(file)
        more(run, 3)
    assert len(os.listdir("/dev/fd")) <= before  # noqa: PTH208


def test_the_error_of_a_run_tells_what_became_of_its_journal(file: Path) -> None:
    from donutwork_magics import collect

    def replace() -> None:
        until(lambda: file.exists() and file.stat().st_size > 3000)
        replace_by_notes(file, file.with_suffix(".1"))

    other = threading.Thread(target=replace)
    other.start()
    with Server(answer(reply())) as server, pytest.raises(SeriesError, match="another that is no journal") as caught:
        collect(None, duration_s=60, rate_hz=50, target=target_of(server), journal=file)
    other.join()
    assert "\n" not in str(caught.value)
    assert len(caught.value.df) > 3


_WRITING = """
import sys
from pathlib import Path
import msgspec
from donutwork_magics.sampling import journal
journal.SYNC_EVERY_S = 0.005
file = journal.Journal(Path(sys.argv[1]), "a")
file.describe({"plan": []})
row = {"label": "p", "timestamp_ns": 1, "block": 0, "duration_ms": 1.0}
for seq in range(10**9):
    file.append(msgspec.json.encode({**row, "seq": seq, "started_ms": float(seq)}))
    print(seq, flush=True)
"""


def test_a_kill_while_it_is_moved_loses_no_row_that_was_acknowledged(file: Path) -> None:
    for attempt in range(5):
        parts = [file.with_suffix(f".{attempt}.{number}") for number in range(4)]
        with subprocess.Popen([sys.executable, "-c", _WRITING, file], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            acknowledged = [process.stdout.readline()]
            reader = threading.Thread(target=acknowledged.extend, args=(process.stdout,))
            reader.start()
            for part in parts:
                goes_on_in(file)
                file.rename(part)
            # About when it goes over to the next file.
            time.sleep(0.001 * attempt)
            process.kill()
            reader.join()
        # The new file may be there, and be still empty.
        parts += [file] if file.exists() and file.stat().st_size else []
        written = [seq for part in parts for seq in load(part)["seq"]]
        assert written == list(range(len(written)))
        assert len(written) - 1 <= len(acknowledged) <= len(written)
        file.unlink(missing_ok=True)
