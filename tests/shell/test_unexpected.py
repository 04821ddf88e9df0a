"""Given a fault of our own that nobody foresaw, the rows are kept, and what is told is one line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kernel import ABOUT, Kernel

_BREAK = """
import itertools, {module} as module
whole = module.{name}
counter = itertools.count(1)
def broken(*args, **kwargs):
    if next(counter) >= {at}:
        raise ValueError("secret")
    return whole(*args, **kwargs)
module.{name} = broken
"""


@pytest.fixture
def breakable(changeable: Kernel) -> Iterator[Kernel]:
    yield changeable
    assert changeable.run("module.__dict__.update({broken_name: whole})").ok


def break_in(kernel: Kernel, module: str, name: str, *, at: int) -> None:
    """Let the calls of a function of the kernel fail from a certain one on."""
    assert kernel.run(_BREAK.format(module=module, name=name, at=at) + f"broken_name = {name!r}").ok


@pytest.mark.parametrize("at", [1, 2], ids=["from the beginning", "from the first row on"])
def test_what_cannot_be_drawn_costs_no_row(breakable: Kernel, at: int) -> None:
    break_in(breakable, "donutwork_magics.display.live", "to_html", at=at)
    cell = breakable.run("df = %donutwork ping -n 40 -r 100")
    assert cell.ok, cell.text
    assert breakable.value(f"(len(df), {ABOUT}(df)['ended'])") == "(40, None)"
    assert [set(bundle) for bundle in cell.displays] == [{"text/plain", "text/html"}]


def test_a_ping_that_breaks_ends_the_series_with_its_rows_kept(breakable: Kernel) -> None:
    break_in(breakable, "donutwork_magics.sampling.workers", "row_of", at=5)
    cell = breakable.run("df = None\n%donutwork ping -n 40 -r 100 -o df")
    assert cell.ename == "SeriesError"
    assert len(cell.traceback.strip().splitlines()) == 1
    assert "4 rows are kept in df. Unexpected: ValueError" in cell.evalue
    assert "secret" not in cell.text
    assert breakable.value(f"(len(df), _donutwork is df, {ABOUT}(df)['ended'])") == ("(4, True, 'unexpected_error')")
    assert "ended early by a fault of this extension" in cell.displays[-1]["text/plain"]


def test_so_it_does_in_a_cell_of_several(breakable: Kernel) -> None:
    break_in(breakable, "donutwork_magics.sampling.workers", "row_of", at=15)
    cell = breakable.run("%%donutwork\na: ping -n 10 -r 100\nb: ping -n 10 -r 100\nc: ping -n 10 -r 100")
    assert cell.ename == "SeriesError"
    assert breakable.value("_donutwork.label.value_counts(sort=False).to_dict()") == "{'a': 10, 'b': 4}"
