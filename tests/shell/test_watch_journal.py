"""A watch with a journal: few rows in memory, every row on the disk, whatever becomes of its kernel."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.shell.watching import HTML, PATIENCE_S, THREADS, card, number, seen, until
from tests.support.kernel import Kernel

pytestmark = pytest.mark.usefixtures("no_watch_left")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "night.jsonl"


def rows_in(file: Path) -> int:
    return file.read_bytes().count(b'{"seq":')


def test_the_journal_has_every_row_and_the_memory_the_latest(panelled: Kernel, file: Path) -> None:
    started = panelled.run(f"w = %donutwork watch -r max --keep 50 --journal {file}\nw")
    assert f"Each row is in {file.name}, too." in re.sub("<wbr>", "", started.result[HTML])
    until(panelled, "w.rows.total > 300")
    panelled.run("w.stop()")
    assert panelled.run(f"whole = %donutwork load {file}").ok
    panelled.run("few = w.df")
    assert panelled.value("(len(few), whole.seq.tolist() == list(range(w.rows.total)))") == "(50, True)"
    assert panelled.value("whole.tail(50).duration_ms.tolist() == few.duration_ms.tolist()") == "True"
    assert panelled.value("(whole.attrs == few.attrs, whole.attrs['donutwork']['ended'])") == "(True, None)"
    total = number(panelled, "w.rows.total")
    left = f"The latest 50 rows of a watch of {total} pings; all are in {file.name}."
    assert left in re.sub("<wbr>", "", started.displays[1][HTML])


def test_without_one_the_card_says_that_rows_made_room(sandboxed: Kernel) -> None:
    started = sandboxed.run("w = %donutwork watch -r max --keep 50")
    until(sandboxed, "w.rows.total > 60")
    sandboxed.run("w.stop()")
    assert "pings, the most that --keep allows." in started.displays[1][HTML]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody move an open file")
def test_a_journal_that_is_moved_goes_on_and_the_cards_tell_it(panelled: Kernel, file: Path, tmp_path: Path) -> None:
    old = tmp_path / "night.jsonl.1"
    started = panelled.run(f"w = %donutwork watch -r 50 --keep 10 --journal {file}")
    until(panelled, "w.rows.total > 20")
    file.rename(old)
    until(panelled, "w.rows_elsewhere > 0")
    moved = number(panelled, "w.rows_elsewhere")
    assert f"Each row after the first {moved} is in night.jsonl, too." in shown(panelled.run("w").result[HTML])
    until(panelled, f"w.rows.total > {moved} + 20")
    panelled.run("w.stop()\nn = w.rows.total\nw.start()")
    until(panelled, "w.rows.total > n + 5")
    panelled.run(f"w.stop()\n%donutwork load {old} -o first\n%donutwork load {file} -o second")
    assert panelled.value("(len(first), [*first.seq, *second.seq] == list(range(w.rows.total)))") == f"({moved}, True)"
    assert f"; all after the first {moved} are in night.jsonl." in shown(started.displays[1][HTML])
    assert panelled.value("w.problem") == "''"


def shown(html: str) -> str:
    return re.sub("<wbr>", "", html)


def test_it_can_be_loaded_while_the_watch_goes_on(sandboxed: Kernel, file: Path) -> None:
    sandboxed.run(f"w = %donutwork watch -r 50 --journal {file}")
    until(sandboxed, "len(w.df) > 10")
    cell = sandboxed.run(f"%donutwork load {file} -o so_far")
    assert "unfinished: " in cell.displays[0]["text/plain"]
    assert number(sandboxed, "len(so_far)") > 10
    assert sandboxed.value("(w.running, so_far.attrs['donutwork']['ended'])") == "(True, 'unfinished')"


def test_a_change_and_a_pause_are_one_run_and_another_start_continues_the_file(sandboxed: Kernel, file: Path) -> None:
    sandboxed.run(f"w = %donutwork watch -r 50 --journal {file}")
    until(sandboxed, "len(w.df) > 3")
    sandboxed.run("w.change(rate_hz=40.0, http='auto')")
    parts = "len(w.df.attrs['donutwork']['plan'])"
    until(sandboxed, f"{parts} == 2")
    sandboxed.run("w.pause()")
    sandboxed.run("w.start(); n = w.rows.total")
    until(sandboxed, f"{parts} == 3 and w.rows.total > n + 3")
    sandboxed.run("w.stop()")
    assert file.read_bytes().count(b'"donutwork_journal"') == 1
    sandboxed.run(f"%donutwork load {file} -o one\nw.start()")
    assert sandboxed.value("(one.equals(w.df.head(len(one))), len(one.attrs['donutwork']['plan']))") == "(True, 3)"
    until(sandboxed, "w.rows.total > len(one) + 3")
    unfinished = f"__import__('donutwork_magics').load({str(file)!r}).attrs['donutwork']['ended']"
    assert sandboxed.value(unfinished) == "'unfinished'"
    sandboxed.run(f"w.stop()\n%donutwork load {file} -o both\nwhole = w.df")
    assert file.read_bytes().count(b'"donutwork_journal"') == 1
    assert sandboxed.value("(both.equals(whole), both.attrs == whole.attrs, len(both) > len(one))") == (
        "(True, True, True)"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no advisory locks")
def test_its_file_is_its_own_until_it_has_stopped(panelled: Kernel, file: Path) -> None:
    panelled.run(f"w = %donutwork watch -r 50 --journal {file}")
    until(panelled, "len(w.df) > 3")
    for command in ("ping -n 2 -r 100", "watch"):
        cell = panelled.run(f"%donutwork {command} --journal {file}")
        assert cell.ename == "SettingsError"
        assert "is being written by another run" in cell.evalue
        assert not cell.displays
    panelled.run("w.pause()")
    assert "is being written" in panelled.run(f"%donutwork ping -n 2 -r 100 --journal {file}").evalue
    panelled.run("w.stop()")
    assert panelled.run(f"%donutwork ping -n 2 -r 100 --journal {file}").ok
    # The rows of a watch that went on behind those of another run would be none of either.
    cell = panelled.run("w.start()")
    assert "is not as this run has left it, and cannot be continued" in cell.evalue
    assert panelled.value("(w.state, w.problem.startswith('The file of the journal is not'))") == "('stopped', True)"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no advisory locks")
def test_a_start_that_has_no_file_is_one_line_in_the_cell_and_in_the_panel(panelled: Kernel, file: Path) -> None:
    panelled.run(f"w = %donutwork watch -r 50 --journal {file}")
    until(panelled, "len(w.df) > 3")
    panelled.run(
        "w.stop(); n = w.rows.total\n"
        "from donutwork_magics.sampling.journal import Journal, journal_path\n"
        f"other = Journal(journal_path({str(file)!r}))"
    )
    cell = panelled.run("w.start()")
    assert cell.ename == "SettingsError"
    assert len(cell.traceback.strip().splitlines()) == 1
    assert panelled.value("(w.state, w.rows.total == n)") == "('stopped', True)"
    panelled.run("w._problem = ''")
    panelled.click("Start")
    seen(panelled, lambda: "is being written by another run" in card(panelled))
    assert panelled.value(f"({THREADS}, w.state)") == "(['donutwork-journal'], 'stopped')"
    panelled.run("other.close()")
    panelled.click("Start")
    until(panelled, "w.rows.total > n")
    assert panelled.value("w.problem") == "''"


def test_a_file_that_cannot_be_one_is_refused_before_anything_is_shown(sandboxed: Kernel, tmp_path: Path) -> None:
    cell = sandboxed.run(f"%donutwork watch --journal {tmp_path}")
    assert cell.ename == "SettingsError"
    assert "is no regular file" in cell.evalue
    assert not cell.displays
    assert sandboxed.value(THREADS) == "[]"


def test_an_interrupt_while_it_is_shown_gives_the_file_free(sandboxed: Kernel, file: Path) -> None:
    sandboxed.run(
        "from donutwork_magics.display.watch_panel import WatchPanel\nshow = WatchPanel.show\n"
        "def interrupted(panel): raise KeyboardInterrupt\nWatchPanel.show = interrupted"
    )
    cell = sandboxed.run(f"%donutwork watch --journal {file}")
    sandboxed.run("WatchPanel.show = show")
    assert cell.ename == "Interrupted"
    assert sandboxed.value(THREADS) == "[]"
    assert sandboxed.run(f"%donutwork ping -n 2 -r 100 --journal {file}").ok


def test_an_interrupt_while_it_starts_leaves_no_thread_and_no_file_to_nobody(sandboxed: Kernel, file: Path) -> None:
    sandboxed.run(
        "import os, signal, threading\nstart = threading.Thread.start\n"
        "def interrupted(thread):\n    start(thread)\n"
        "    if thread.name == 'donutwork-watch': os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread.start = interrupted"
    )
    cell = sandboxed.run(f"%donutwork watch -r 50 --journal {file}")
    assert cell.ename == "Interrupted"
    assert sandboxed.value(THREADS) == "[]"
    sandboxed.run(f"threading.Thread.start = start\nw = %donutwork watch -r 50 --journal {file}")
    until(sandboxed, "len(w.df) > 3")
    cell = sandboxed.run("w.stop()\nthreading.Thread.start = interrupted\nw.start()")
    assert cell.ename == "KeyboardInterrupt"
    sandboxed.run("threading.Thread.start = start\nn = w.rows.total")
    until(sandboxed, "w.running and w.rows.total > n")
    sandboxed.run(f"w.stop()\n%donutwork load {file} -o whole")
    assert sandboxed.value("whole.seq.tolist() == list(range(w.rows.total))") == "True"
    assert sandboxed.value(THREADS) == "[]"


def test_a_disk_that_is_slow_at_the_end_keeps_no_click_waiting(sandboxed: Kernel, file: Path) -> None:
    sandboxed.run(
        "import time\nimport donutwork_magics.sampling.journal as journal\nsync = journal._sync\n"
        f"w = %donutwork watch -r 50 --journal {file}"
    )
    until(sandboxed, "len(w.df) > 3")
    sandboxed.run(
        "journal._sync = lambda file: time.sleep(2) or sync(file)\nw.end(); time.sleep(1)\n"
        "began_s = time.monotonic()\nw.end(); w.pause(); took_s = time.monotonic() - began_s\n"
        f"assert w.wait({PATIENCE_S})\njournal._sync = sync"
    )
    assert sandboxed.value("took_s < 0.5") == "True"


def test_a_disk_that_fails_in_the_end_is_told(sandboxed: Kernel, file: Path) -> None:
    sandboxed.run(
        "import donutwork_magics.sampling.journal as journal\nsync = journal._sync\n"
        f"w = %donutwork watch -r 50 --journal {file}"
    )
    until(sandboxed, "len(w.df) > 3")
    sandboxed.run(
        "def failing(file): raise OSError(5, 'Input/output error')\njournal._sync = failing\n"
        "w.stop()\njournal._sync = sync"
    )
    assert "The journal cannot be written (Input/output error)" in sandboxed.value("w.problem")
    assert sandboxed.value(THREADS) == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_child_that_was_forked_does_not_wait_for_a_thread_that_it_lacks(sandboxed: Kernel) -> None:
    sandboxed.run("w = %donutwork watch -r 50")
    until(sandboxed, "len(w.df) > 3")
    cell = sandboxed.run(
        "import os, signal, time, warnings\nwarnings.simplefilter('ignore')\nchild = os.fork()\n"
        "if child == 0:\n    signal.alarm(5)\n    w._panel = None\n    w.end()\n    os._exit(0 if w.wait(4) else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert cell.stdout.strip() == "0"
    assert sandboxed.value("w.running") == "True"


def test_a_watch_that_has_stopped_is_not_kept(sandboxed: Kernel) -> None:
    sandboxed.run("import gc, weakref\nw = %donutwork watch -r 50 --cold")
    until(sandboxed, "len(w.df) > 3")
    sandboxed.run("gone = weakref.ref(w)\nw.stop()\ndel w, _donutwork")
    # Whatever an earlier cell of these tests has left of it.
    sandboxed.run("%reset -f out")
    sandboxed.run("_ = __ = ___ = None\n%donutwork ping;")
    assert sandboxed.value("(__import__('gc').collect() >= 0, gone())") == "(True, None)"


def test_a_panel_that_cannot_be_drawn_gives_the_file_free(sandboxed: Kernel, file: Path) -> None:
    sandboxed.run(
        "class Broken:\n    def draw(self): raise ValueError\n    def freeze(self, *, in_cell): pass\n"
        f"w = %donutwork watch -r 50 --journal {file}\nw.show_in(Broken())\nassert w.wait({PATIENCE_S})"
    )
    assert sandboxed.value(THREADS) == "[]"
    assert sandboxed.run(f"%donutwork ping -n 2 -r 100 --journal {file}").ok


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
def test_a_full_disk_ends_it_by_name_with_the_rows_kept(tmp_path: Path, file: Path) -> None:
    with Kernel(tmp_path) as kernel:
        # A limit of the file's size fails a write as a full disk does, and needs no file system of its own.
        kernel.run(
            "%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;\nimport resource, signal\n"
            # Compiled modules would be cut off there too, and kept.
            "import sys\nsys.dont_write_bytecode = True\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
        )
        started = kernel.run(f"w = %donutwork watch -r max --keep 400 --journal {file}")
        kernel.run(f"assert w.wait({PATIENCE_S})")
        assert kernel.value("(w.state, w.problem)") == (
            "('stopped', 'The watch ended: The journal cannot be written (File too large). "
            "Make room, or choose another place.')"
        )
        assert kernel.value("w.df.attrs['donutwork']['ended']") == "'journal_failed'"
        assert "ended early, as the journal could not be written" in started.displays[1][HTML]
        assert "all before the failure are in" in re.sub("<wbr>", "", started.displays[1][HTML])
        assert "Each row before the failure is in" in kernel.run("w").result[HTML]
        cell = kernel.run("w.start()")
        assert cell.evalue == (
            "The journal could not be written to its end. Begin a new watch, in this file or another."
        )
        # The row that did not fit is kept in memory.
        kernel.run(f"%donutwork load {file} -o on_disk;")
        assert kernel.value("w.rows.total == len(on_disk) + 1 > 401") == "True"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_kernel_loses_no_row(sandboxed: Kernel, tmp_path: Path, file: Path) -> None:
    with Kernel(tmp_path) as kernel:
        kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start;")
        kernel.kill_during(
            f"w = %donutwork watch -r 50 --keep 5 --journal {file}\nw.wait()",
            when=lambda: file.exists() and rows_in(file) >= 20,
        )
    cell = sandboxed.run(f"%donutwork load {file} -o night")
    assert cell.ok, cell.text
    assert "unfinished" in cell.displays[0]["text/plain"]
    # The last line may be torn.
    assert number(sandboxed, "len(night)") >= rows_in(file) - 1 >= 19
    assert sandboxed.value("night.seq.tolist() == list(range(len(night)))") == "True"
