"""The line of a terminal among what a user, the environment and a broken stream may do to it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from donutwork_magics.display.live import ProgressLine
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.units import width
from tests.display.test_live import Screen, Series, course, last_line, showing_on
from tests.display.values import run

FACTS = ("5/10", "10.0/s", "1 s left", "0 errors", "p50 30.0 ms")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("COLUMNS", "100")
    return Screen()


def frame(screen: Screen) -> str:
    return screen.getvalue().removesuffix("\r").rpartition("\r")[2]


def rows(text: str) -> list[str]:
    """What is left on a screen that is as wide as it takes."""
    screen = [""]
    row = column = 0
    for part in re.split(r"(\r|\n|\x1b\[A)", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            screen += [""] * (row + 1 - len(screen))
        elif part == "\x1b[A":
            row -= 1
        else:
            line = screen[row].ljust(column)
            screen[row] = line[:column] + part + line[column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in screen]


def test_nothing_is_drawn_before_there_is_something_to_show(screen: Screen) -> None:
    with showing_on(screen):
        pass
    assert screen.getvalue() == ""


def test_a_card_that_stands_is_not_blanked(screen: Screen) -> None:
    with showing_on(screen) as live:
        live.begin(course(Plan(count=5)))
        live.finish(run())
    assert rows(screen.getvalue())[0].startswith("⚠ Pings: 70 pings, 2 errors")


@pytest.mark.parametrize("left", ["bar  10%|#" + "#" * 289, "\ntwo\nbars|||"])
def test_a_bar_that_the_user_left_there_is_in_neither_the_line_nor_the_card(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    screen.write(left)
    series = Series(Plan(count=2))
    with showing_on(screen) as live:
        live.begin(series.course)
        series.ping(1.0)
        live.observe(series)
        drawn = screen.getvalue().removeprefix(left)
        assert not {"\n", "\x1b"} & set(drawn)
        assert re.fullmatch(r"ping  50%\|█+ +\| 1/2, 1 s left, 0 errors", rows(screen.getvalue())[left.count("\n")])
        live.finish(run())
    first = rows(screen.getvalue())[left.count("\n")]
    assert first.startswith("⚠ Pings: 70 pings, 2 errors")
    assert "|" not in first


class Broken(Screen):
    """A terminal that is gone after some writes."""

    def __init__(self, error: Exception, method: str, after: int) -> None:
        super().__init__()
        self._error, self._method, self._left = error, method, after
        self.failures = 0

    def write(self, text: str) -> int:
        self._count("write")
        return super().write(text)

    def flush(self) -> None:
        self._count("flush")

    def _count(self, method: str) -> None:
        if method == self._method:
            self._left -= 1
            if self._left < 0:
                self.failures += 1
                raise self._error


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "gone"), ValueError("closed")])
@pytest.mark.parametrize("method", ["write", "flush"])
@pytest.mark.parametrize("after", [0, 2, 3])
def test_a_broken_stream_does_not_reach_the_series(screen: Screen, error: Exception, method: str, after: int) -> None:
    del screen
    broken = Broken(error, method, after)
    series = Series(Plan(count=2))
    with showing_on(broken) as live:
        live.begin(series.course)
        series.ping(1.0)
        live.observe(series)
        live.finish(None)
    # The first failure is enough to know.
    assert broken.failures == 1


def test_a_stream_that_is_closed_meanwhile_does_not_reach_the_series(screen: Screen) -> None:
    series = Series(Plan(count=2))
    with showing_on(screen) as live:
        live.begin(series.course)
        screen.close()
        series.ping(1.0)
        live.observe(series)
        live.finish(None)


@pytest.mark.parametrize(
    ("columns", "wide"), [("300", 119), ("121", 119), ("120", 119), ("119", 118), ("4", 3), ("1", 1)]
)
def test_the_line_keeps_away_from_the_edge_and_is_not_endless(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, columns: str, wide: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    ProgressLine(screen).show("ping", 0.5, FACTS)
    assert width(frame(screen)) == wide


def test_without_a_terminal_of_its_own_it_is_rather_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    code = "import io; from donutwork_magics.display.live import ProgressLine as L; s = io.StringIO()\n"
    code += "L(s).show('ping', 0.5, ['5/10']); print(len(s.getvalue().split('\\r')[-2]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "59\n"


@pytest.mark.parametrize(
    ("label", "title"),
    [
        ("two\nlines", "two lines"),
        ("back\rto\tthe start", "back to the start"),
        ("\x1b[2Jred\x07", "[2Jred"),
        ("{bar} {n} %", "{bar} {n} %"),
        ("測" * 30, "測" * 11 + "…"),
        ("a" * 30, "a" * 23 + "…"),
    ],
    ids=["newline", "controls", "escape", "braces", "wide", "long"],
)
def test_a_label_stays_in_its_place(screen: Screen, label: str, title: str) -> None:
    # A plan refuses the first three; the line does not rely on that.
    ProgressLine(screen).show(label, 0.0, ["0/2", "0 errors"])
    assert last_line(screen) == f"{title}   0% 0/2, 0 errors"
    assert width(frame(screen)) == 99
    assert not {"\n", "\x1b", "\x07"} & set(screen.getvalue())


def test_wide_facts_are_left_out_by_the_columns_they_take(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    ProgressLine(screen).show("測" * 4, 0.5, ["測" * 12, "測" * 7])
    # Of 59 columns the title takes 8, the frame 8 and the least bar 4: 39, enough for 24 but not for 24 + 2 + 14.
    assert last_line(screen) == f"{'測' * 4}  50% {'測' * 12}"
    assert width(frame(screen)) == 59


@pytest.mark.parametrize("said", ["^C", "tick number 1\n", "x" * 90 + "\n"])
def test_what_is_said_beside_the_line_is_not_torn(screen: Screen, said: str) -> None:
    line = ProgressLine(screen)
    line.show("ping", 0.5, FACTS)
    screen.write(said)
    assert rows(screen.getvalue())[0].startswith(said.strip())
    line.close()
    assert rows(screen.getvalue())[-1] == ""
