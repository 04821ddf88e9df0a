"""What comes with the package: tutorials that are copied, and a recorded run that is loaded without a server."""

from __future__ import annotations

import bz2
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from donutwork_magics import load, load_example, packaged
from donutwork_magics.errors import DonutworkError
from donutwork_magics.packaged import copy_tutorial, tutorial, tutorials
from tests.support.notebooks import NOTEBOOKS
from tests.support.tables import about

pytestmark = pytest.mark.slow

WORD = "sk_live_abc"
FIRST = NOTEBOOKS[0]
NIGHT = Path(packaged.__file__).with_name("examples") / "night.jsonl.bz2"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of which files are missing."""
    folder = tmp_path / "site-packages" / "donutwork_magics"
    folder.mkdir(parents=True)
    monkeypatch.setattr(packaged, "_PACKAGE", folder)
    return folder


class TestTutorials:
    def test_each_notebook_is_one_with_its_heading_as_title(self) -> None:
        headings = [nbformat.read(path, as_version=4).cells[0].source.splitlines()[0] for path in NOTEBOOKS]

        assert [*tutorials()] == [path.stem for path in NOTEBOOKS]
        assert [f"# {title}" for title in tutorials().values()] == headings

    def test_the_list_names_each_and_says_how_to_get_it(self, here: Path) -> None:
        first, *rows = tutorial(None).splitlines()

        assert "%donutwork tutorial NAME copies one" in first
        assert [row.split()[0] for row in rows] == [path.stem.partition("_")[2] for path in NOTEBOOKS]
        assert list(here.iterdir()) == []

    @pytest.mark.parametrize("name", ["first_ping", "01_first_ping", "01_first_ping.ipynb", "First_Ping"])
    def test_one_that_is_named_is_copied_as_it_is(self, here: Path, name: str) -> None:
        assert copy_tutorial(name) == here.resolve() / FIRST.name
        assert (here / FIRST.name).read_bytes() == FIRST.read_bytes()

    def test_a_file_that_is_there_stays_as_it_is(self, here: Path) -> None:
        (here / FIRST.name).write_text("mine")

        with pytest.raises(DonutworkError, match=r"^01_first_ping\.ipynb is here already, and stays as it is\. Rename"):
            copy_tutorial("first_ping")
        assert (here / FIRST.name).read_text() == "mine"

    @pytest.mark.parametrize("name", [WORD, "", ".ipynb", "..", "../notebooks/01_first_ping", "run.py"])
    def test_an_unknown_name_is_one_line_without_the_word(self, here: Path, name: str) -> None:
        with pytest.raises(DonutworkError, match=r"^There is no such tutorial.*They are first_ping, ") as caught:
            copy_tutorial(name)

        assert WORD not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert list(here.iterdir()) == []

    def test_a_near_name_is_named(self, here: Path) -> None:
        with pytest.raises(DonutworkError, match=r"; did you mean latency\?"):
            copy_tutorial("latenzy")

    @pytest.mark.skipif(sys.platform != "linux", reason="no file can be made in /proc")
    def test_a_directory_that_cannot_be_written_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir("/proc")

        with pytest.raises(DonutworkError, match=r"^01_first_ping\.ipynb cannot be written here \(.*\)\. Change to"):
            copy_tutorial("first_ping")

    @pytest.mark.skipif(sys.platform == "win32", reason="a working directory cannot be removed there")
    def test_a_directory_that_is_gone_is_one_line(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        gone = here / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()

        with pytest.raises(DonutworkError, match=r"cannot be written here \(No such file or directory\)"):
            copy_tutorial("first_ping")

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
    def test_where_the_disk_is_full_nothing_is_left(self, here: Path) -> None:
        code = (
            "import resource; from donutwork_magics import packaged\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "try: packaged.copy_tutorial('first_ping')\n"
            "except Exception as error: print(error)"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert "cannot be written here (File too large)" in ended.stdout
        assert list(here.iterdir()) == []

    def test_a_package_without_them_says_so(self, package: Path) -> None:
        for call in (tutorials, lambda: tutorial(None), lambda: copy_tutorial("first_ping")):
            with pytest.raises(DonutworkError, match=r"^The tutorials are missing: install donutwork_magics again\.$"):
                call()

    def test_a_damaged_one_says_so(self, package: Path) -> None:
        (package / "notebooks").mkdir()
        (package / "notebooks" / FIRST.name).write_text("{}")

        with pytest.raises(DonutworkError, match=r"^The tutorials cannot be read: install donutwork_magics again\.$"):
            tutorials()


class TestNight:
    def test_it_is_what_load_makes_of_the_journal(self, tmp_path: Path) -> None:
        journal = tmp_path / "night.jsonl"
        journal.write_bytes(bz2.decompress(NIGHT.read_bytes()))
        df = load_example("night")

        assert df.equals(load(journal))
        assert df.attrs == load(journal).attrs

    def test_it_is_an_hour_of_pings_with_a_slow_quarter_and_an_outage(self) -> None:
        df = load_example()
        known = about(df)
        ok = df[df["error"].isna()]
        minute = ok["scheduled_ms"] // 60_000
        slow = minute.between(22, 34)

        assert (len(df), bool(known["sandbox"])) == (3600, True)
        assert known["outages"]["count"] == 1
        assert 120 < known["outages"]["total_s"] < 180
        assert set(df["error"].dropna()) == {"timeout", "server_error"}
        # The server says itself that the slow quarter is its own.
        assert ok.loc[slow, "rrt_ms"].mean() > 5 * ok.loc[minute < 20, "rrt_ms"].mean()
        assert ok.loc[slow, "network_ms"].median() < 1.5 * ok.loc[minute < 20, "network_ms"].median()

    def test_it_is_small_and_holds_nothing_of_a_machine(self) -> None:
        text = bz2.decompress(NIGHT.read_bytes()).decode()

        assert NIGHT.stat().st_size < 200_000
        assert not re.search(r"sandbox_\w|Bearer|(?<![\w.])/(home|root|Users|tmp|usr|work)/", text)

    @pytest.mark.parametrize("name", [WORD, "", "../night", "night.jsonl"])
    def test_an_unknown_name_is_one_line_without_the_word(self, name: str) -> None:
        with pytest.raises(DonutworkError, match=r"^There is no such example.*There is night\.$") as caught:
            load_example(name)

        assert WORD not in str(caught.value)

    def test_a_package_without_it_says_so(self, package: Path) -> None:
        with pytest.raises(DonutworkError, match=r"^The examples are missing: install donutwork_magics again\.$"):
            load_example("night")

    @pytest.mark.parametrize("keep", [0, 1000, 30_000])
    def test_a_damaged_one_says_so(self, package: Path, keep: int) -> None:
        (package / "examples").mkdir()
        (package / "examples" / NIGHT.name).write_bytes(NIGHT.read_bytes()[:keep] + b"\0" * (keep % 7))

        with pytest.raises(DonutworkError, match=r"^The example is damaged: install donutwork_magics again\.$"):
            load_example("night")

    def test_without_room_for_it_is_one_line(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))

        with pytest.raises(DonutworkError, match=r"^The example cannot be unpacked \(No such file or directory\)"):
            load_example("night")

    def test_the_script_records_a_run_like_it(self, tmp_path: Path) -> None:
        script = Path(__file__).parents[1] / "notebooks" / "night.py"
        packed = tmp_path / "made" / "night.jsonl.bz2"
        ended = subprocess.run(
            [sys.executable, str(script), "--minutes", "0.2", "--rate", "10", "--to", str(packed)],
            env=os.environ | {"PYTHONPATH": str(script.parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        journal = tmp_path / "night.jsonl"
        journal.write_bytes(bz2.decompress(packed.read_bytes()))

        assert len(load(journal)) == 120


@pytest.mark.kernel
def test_a_shell_copies_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a plain IPython, as a user types it."""
    monkeypatch.chdir(tmp_path)
    lines = (
        "%load_ext donutwork_magics",
        "%donutwork tutorial",
        "%donutwork tutorial a_night",
        "df = %donutwork load --example night",
        "print(len(df), df is _donutwork)",
        "%donutwork tutorial a_night",
    )
    ended = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=nocolor", "-c", "\n".join(lines)],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"},
        check=False,
    )

    assert "05_a_night.ipynb is in the working directory now" in ended.stdout
    assert "Pings: night: 3600 pings" in ended.stdout
    assert "3600 True" in ended.stdout
    assert "DonutworkError: 05_a_night.ipynb is here already" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    shutil.rmtree(tmp_path)
