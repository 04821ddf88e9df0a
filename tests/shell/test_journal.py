"""``--journal`` and ``load`` as a user types them, and a kernel that is killed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.shell.watching import rows_in, until_free
from tests.support.kernel import ABOUT, Kernel


def test_a_series_is_written_and_loaded(sandboxed: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "a b.jsonl"
    assert sandboxed.run(f'made = %donutwork ping -n 5 -r 100 -w 2 --journal "{file}"').ok
    cell = sandboxed.run(f'%donutwork load "{file}"')
    assert cell.ok, cell.text
    assert "5 pings, no errors" in cell.displays[0]["text/plain"]
    assert "text/html" in cell.result
    assert (
        sandboxed.value("(len(_), _.attrs == made.attrs, _.equals(made), _ is _donutwork)") == "(7, True, True, True)"
    )


def test_load_stores_in_a_variable(sandboxed: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    sandboxed.run(f"%donutwork ping -n 2 -r 100 -q --journal {file};")
    cell = sandboxed.run(f"%donutwork load {file} -o again")
    assert cell.ok
    assert not cell.result
    assert sandboxed.value("len(again)") == "2"


def test_a_cell_goes_to_one_journal_as_one_run(sandboxed: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "cell.jsonl"
    cell = sandboxed.run(f"%%donutwork -n 3 -r 100 --journal {file} -o both\nwarm: ping\ncold: ping --cold")
    assert cell.ok, cell.text
    assert sandboxed.run(f"%donutwork load {file} -o again").ok
    assert sandboxed.value("(again.equals(both), again.attrs == both.attrs, len(both))") == "(True, True, 6)"


def test_each_line_of_a_cell_may_have_its_own(sandboxed: Kernel, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    cell = sandboxed.run(f"%%donutwork -n 2 -r 100\na: ping --journal {one}\nb: ping --journal {two}")
    assert cell.ok, cell.text
    sandboxed.run(f"one = %donutwork load {one}\ntwo = %donutwork load {two}")
    assert sandboxed.value("[*one.label, *two.label]") == "['a', 'a', 'b', 'b']"


def test_a_later_line_with_a_bad_file_sends_nothing(sandboxed: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "good.jsonl"
    sandboxed.run("_donutwork = None")
    cell = sandboxed.run(f"%%donutwork -n 2\na: ping --journal {file}\nb: ping --journal {tmp_path}")
    assert cell.ename == "SettingsError"
    assert "is no regular file" in cell.evalue
    assert not file.exists()
    assert sandboxed.value("_donutwork") == "None"


def test_a_file_that_is_no_journal_fails_the_cell_in_one_line(sandboxed: Kernel, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    cell = sandboxed.run(f"%donutwork load {tmp_path / 'x.csv'}")
    assert cell.ename == "DonutworkError"
    assert cell.evalue == "The file is not a journal of this version: load reads what --journal has written."


def test_the_rows_of_an_interrupted_run_are_there(sandboxed: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    cell = sandboxed.run(f"%donutwork ping -n 9999 -r 50 -q --journal {file}", interrupt_after_s=1.0)
    assert cell.ename == "Interrupted"
    assert sandboxed.run(f"%donutwork load {file} -o again").ok
    assert sandboxed.value("again.equals(_donutwork)") == "True"
    assert sandboxed.value(f"{ABOUT}(again)['ended']") == "'interrupted'"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_kernel_loses_no_row(sandboxed: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "night.jsonl"
    with Kernel(tmp_path) as kernel:
        kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start;")
        kernel.kill_during(
            f"%donutwork ping -d 1h -r 50 --journal {file}",
            when=lambda: file.exists() and rows_in(file) >= 20,
        )
    until_free(file)
    cell = sandboxed.run(f"%donutwork load {file} -o night")
    assert cell.ok, cell.text
    assert "unfinished" in cell.displays[0]["text/plain"]
    assert int(sandboxed.value("len(night)")) == rows_in(file) >= 20


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody move an open file")
def test_a_series_goes_on_where_its_journal_was_moved(sandboxed: Kernel, tmp_path: Path) -> None:
    file, old = tmp_path / "run.jsonl", tmp_path / "run.jsonl.1"
    moved = f"""
import pathlib, threading, time
def move():
    file = pathlib.Path({str(file)!r})
    while not file.exists() or file.read_bytes().count(b"\\n") < 20:
        time.sleep(0.02)
    file.rename({str(old)!r})
threading.Thread(target=move).start()
"""
    cell = sandboxed.run(f"{moved}df = %donutwork ping -n 60 -r 20 --journal {file}")
    assert cell.ok, cell.text
    assert "no longer in the file of the journal: it was moved or truncated" in " ".join(cell.text.split())
    first = sandboxed.run(f"%donutwork load {old} -o first")
    second = sandboxed.run(f"%donutwork load {file} -o second")
    assert sandboxed.value("[*first.seq, *second.seq] == [*df.seq]") == "True"
    assert sandboxed.value("len(first) > 10 and len(second) > 10") == "True"
    for mime in ("text/plain", "text/html"):
        says = " ".join(first.displays[0][mime].split())
        assert "This journal was moved while the run went on: the later rows are in another file." in says
        says = " ".join(second.displays[0][mime].split())
        assert "rows of the run are not in this file: its journal was moved or truncated" in says


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no directory that a process is in")
def test_a_working_directory_that_no_longer_exists_is_named_and_whole_paths_go_on(
    sandboxed: Kernel, tmp_path: Path
) -> None:
    gone, file = tmp_path / "gone", tmp_path / "run.jsonl"
    gone.mkdir()
    assert sandboxed.run(f"import os; os.chdir({str(gone)!r})\nfrom donutwork_magics import probers").ok
    gone.rmdir()
    # Both processes start there.
    assert sandboxed.run("probers.end_idle()\n%donutwork sandbox start --seed 1;").ok
    for line in ("ping -n 3 --journal run.jsonl", "load run.jsonl", "watch --journal run.jsonl"):
        cell = sandboxed.run(f"%donutwork {line}")
        assert cell.ename == "SettingsError"
        assert cell.evalue.startswith("The working directory no longer exists. Change to another one (%cd)")
    assert sandboxed.run(f"%donutwork ping -n 3 -r 100 -q -o made --journal '{file}'").ok
    assert sandboxed.run(f"%donutwork load '{file}' -o read").ok
    assert sandboxed.value("made.equals(read)") == "True"
    assert sandboxed.run(f"%cd {tmp_path}\n%donutwork load run.jsonl -o again").ok
