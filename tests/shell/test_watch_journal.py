"""A watch with a journal: few rows in memory, every row on the disk, whatever becomes of its kernel."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.shell.watching import HTML, PATIENCE_S, THREADS, card, number, rows_in, seen, until, until_free
from tests.support.kernel import ABOUT, Kernel

pytestmark = pytest.mark.usefixtures("no_watch_left")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "night.jsonl"


def test_the_journal_has_every_row_and_the_memory_the_latest(panelled: Kernel, file: Path) -> None:
    started = panelled.run(f"w = %donutwork watch -r max --keep 50 --journal {file}\nw")
    assert f"Each row is in {file.name}, too." in re.sub("<wbr>", "", started.result[HTML])
    until(panelled, "w.rows.total > 300")
    panelled.run("w.stop()")
    assert panelled.run(f"whole = %donutwork load {file}").ok
    panelled.run("few = w.df")
    assert panelled.value("(len(few), whole.seq.tolist() == list(range(w.rows.total)))") == "(50, True)"
    assert panelled.value("whole.tail(50).duration_ms.tolist() == few.duration_ms.tolist()") == "True"
    assert panelled.value(f"(whole.attrs == few.attrs, {ABOUT}(whole)['ended'])") == "(True, None)"
    total = number(panelled, "w.rows.total")
    left = f"The latest 50 rows of a watch of {total} pings; all are in {file.name}."
    assert left in re.sub("<wbr>", "", started.displays[0][HTML])


def test_without_one_the_card_says_that_rows_made_room(sandboxed: Kernel) -> None:
    started = sandboxed.run("w = %donutwork watch -r max --keep 50")
    until(sandboxed, "w.rows.total > 60")
    sandboxed.run("w.stop()")
    assert "pings, the most that --keep allows." in started.displays[0][HTML]


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
    panelled.run("runs = [list(seq) for _, seq in second.groupby('run').seq]")
    assert panelled.value("(len(first), [*first.seq, *runs[0]] == list(range(n)))") == f"({moved}, True)"
    assert panelled.value("(len(runs), runs[1] == list(range(w.rows.total - n)))") == "(2, True)"
    assert panelled.value("first.run.nunique() == 1 and first.run[0] == second.run[0]") == "True"
    assert f"; all after the first {moved} are in night.jsonl." in shown(started.displays[0][HTML])
    assert panelled.value("w.problem") == "''"


def shown(html: str) -> str:
    return re.sub("<wbr>", "", html)


def test_it_can_be_loaded_while_the_watch_goes_on(sandboxed: Kernel, file: Path) -> None:
    sandboxed.run(f"w = %donutwork watch -r 50 --journal {file}")
    until(sandboxed, "len(w.df) > 10")
    cell = sandboxed.run(f"%donutwork load {file} -o so_far")
    assert "unfinished: " in cell.displays[0]["text/plain"]
    assert number(sandboxed, "len(so_far)") > 10
    assert sandboxed.value(f"(w.running, {ABOUT}(so_far)['ended'])") == "(True, 'unfinished')"


def test_each_start_and_each_change_is_a_run_in_the_file(sandboxed: Kernel, file: Path) -> None:
    sandboxed.run(f"w = %donutwork watch -r 50 --journal {file}")
    until(sandboxed, "len(w.df) > 3")
    sandboxed.run("w.change(rate_hz=40.0, http='auto')")
    runs = "w.df.run.nunique()"
    until(sandboxed, f"{runs} == 2")
    sandboxed.run("w.pause()")
    until(sandboxed, "w._recording is None")
    sandboxed.run("w.start(); n = w.rows.total")
    until(sandboxed, f"{runs} == 3 and w.rows.total > n + 3")
    sandboxed.run("w.stop()")
    assert file.read_bytes().count(b'"donutwork_journal"') == 3
    sandboxed.run(f"%donutwork load {file} -o one\nthree = w.df\nw.start()")
    assert sandboxed.value("(one.equals(three), one.attrs == three.attrs, one.run.nunique())") == "(True, True, 3)"
    assert sandboxed.value(f"[plan['rate_hz'] for plan in {ABOUT}(one)['plan']]") == "[50.0, 40.0, 40.0]"
    until(sandboxed, "w.rows.total > len(one) + 3")
    unfinished = f"{ABOUT}(__import__('donutwork_magics').load({str(file)!r}))['ended']"
    assert sandboxed.value(unfinished) == "'unfinished'"
    sandboxed.run(f"w.stop()\n%donutwork load {file} -o both\nwhole = w.df")
    assert file.read_bytes().count(b'"donutwork_journal"') == 4
    assert sandboxed.value("(both.equals(whole), both.attrs == whole.attrs, len(both) > len(one))") == (
        "(True, True, True)"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no advisory locks")
def test_its_file_is_its_own_while_it_runs(panelled: Kernel, file: Path) -> None:
    panelled.run(f"w = %donutwork watch -r 50 --journal {file}")
    until(panelled, "len(w.df) > 3")
    for command in ("ping -n 2 -r 100", "watch"):
        cell = panelled.run(f"%donutwork {command} --journal {file}")
        assert cell.ename == "SettingsError"
        assert "is being written by another run" in cell.evalue
        assert not cell.displays
    panelled.run("w.pause()")
    until(panelled, "w._recording is None")
    assert panelled.run(f"%donutwork ping -n 2 -r 100 --label between --journal {file}").ok
    assert panelled.run("n = w.rows.total; w.start()").ok
    until(panelled, "w.rows.total > n + 3")
    panelled.run(f"w.stop()\nwhole = w.df\n%donutwork load {file} -o all_of_it")
    assert panelled.value("all_of_it[all_of_it.label == 'ping'].reset_index(drop=True).equals(whole)") == "True"
    assert panelled.value("(all_of_it.run.nunique(), len(all_of_it) - len(whole))") == "(3, 2)"


TAKEN = "import fcntl\nother = open({file!r}, 'rb')\nfcntl.flock(other, fcntl.LOCK_EX)"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no advisory locks")
@pytest.mark.parametrize("end", ["w.stop()", "w.pause()"])
def test_a_start_that_has_no_file_is_one_line_in_the_cell_and_in_the_panel(
    panelled: Kernel, file: Path, end: str
) -> None:
    panelled.run(f"w = %donutwork watch -r 50 --journal {file}")
    until(panelled, "len(w.df) > 3")
    panelled.run(end)
    until(panelled, "w._recording is None")
    panelled.run(f"n = w.rows.total\n{TAKEN.format(file=str(file))}")
    cell = panelled.run("w.start()")
    assert cell.ename == "SettingsError"
    assert "is being written by another run" in cell.evalue
    assert len(cell.traceback.strip().splitlines()) == 1
    until(panelled, f"{THREADS} == []")
    assert panelled.value("(w.state, w.rows.total == n)") == "('stopped', True)"
    panelled.run("w.problem = ''")
    panelled.click("Start")
    seen(panelled, lambda: "is being written by another run" in card(panelled))
    until(panelled, f"{THREADS} == []")
    assert panelled.value("w.state") == "'stopped'"
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
        "from donutwork_magics.display.widgets import WatchPanel\nshow = WatchPanel.show\n"
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
    assert (
        sandboxed.value("len(whole) >= w.rows.total and whole[-w.rows.total:].reset_index(drop=True).equals(w.df)")
        == "True"
    )
    assert sandboxed.value(THREADS) == "[]"


def test_a_disk_that_is_slow_at_the_end_keeps_no_click_waiting(changeable: Kernel, file: Path) -> None:
    changeable.run(
        "import time\nimport donutwork_magics.sampling.journal as journal\nsync = journal._sync\n"
        f"w = %donutwork watch -r 50 --journal {file}"
    )
    until(changeable, "len(w.df) > 3")
    changeable.run(
        "journal._sync = lambda file: time.sleep(2) or sync(file)\nw.end(); time.sleep(1)\n"
        "began_s = time.monotonic()\nw.end(); w.pause(); took_s = time.monotonic() - began_s\n"
        f"assert w.wait({PATIENCE_S})\njournal._sync = sync"
    )
    assert changeable.value("took_s < 0.5") == "True"


def test_a_disk_that_fails_in_the_end_is_told(changeable: Kernel, file: Path) -> None:
    changeable.run(
        "import donutwork_magics.sampling.journal as journal\nsync = journal._sync\n"
        f"w = %donutwork watch -r 50 --journal {file}"
    )
    until(changeable, "len(w.df) > 3")
    changeable.run(
        "def failing(file): raise OSError(5, 'Input/output error')\njournal._sync = failing\n"
        "w.stop()\njournal._sync = sync"
    )
    assert "The journal cannot be written (Input/output error)" in changeable.value("w.problem")
    assert changeable.value(THREADS) == "[]"


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
    # Compiled modules would be cut off there too, and kept.
    with Kernel(tmp_path, {"PYTHONDONTWRITEBYTECODE": "1"}) as kernel:
        # A limit of the file's size fails a write as a full disk does, and needs no file system of its own.
        kernel.run(
            "%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;\nimport resource, signal\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
        )
        started = kernel.run(f"w = %donutwork watch -r max --keep 400 --journal {file}")
        kernel.run(f"assert w.wait({PATIENCE_S})")
        assert kernel.value("(w.state, w.problem)") == (
            "('stopped', 'The watch ended: The journal cannot be written (File too large). "
            "Make room, or choose another place.')"
        )
        assert kernel.value(f"{ABOUT}(w.df)['ended']") == "'journal_failed'"
        assert "ended early, as the journal could not be written" in started.displays[0][HTML]
        assert "all before the failure are in" in re.sub("<wbr>", "", started.displays[0][HTML])
        assert "Each row before the failure is in" in kernel.run("w").result[HTML]
        kernel.run(f"n = w.rows.total; why = w.problem; w.start()\nassert w.wait({PATIENCE_S})")
        assert kernel.value("(w.state, w.problem == why, w.rows.total - n)") == "('stopped', True, 0)"
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
    until_free(file)
    cell = sandboxed.run(f"%donutwork load {file} -o night")
    assert cell.ok, cell.text
    assert "unfinished" in cell.displays[0]["text/plain"]
    assert number(sandboxed, "len(night)") == rows_in(file) >= 20
    assert sandboxed.value("night.seq.tolist() == list(range(len(night)))") == "True"
