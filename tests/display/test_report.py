"""Given a run, the report is one page that needs nothing else, as safe as a card, written whole or not at all."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from donutwork_magics.analysis import plots
from donutwork_magics.display.report import report
from donutwork_magics.errors import AnalysisError, DonutworkError
from donutwork_magics.frame.accessor import DonutworkAccessor
from tests.analysis.experiments import alike, experiment
from tests.display.frames import ATTRS, frame
from tests.display.test_cards import Page
from tests.display.values import HOSTILE
from tests.support.tables import describe

pytestmark = pytest.mark.slow


def page_of(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    # The style is no text.
    return Page(re.sub("<style>.*?</style>|<!doctype html>", "", text, flags=re.DOTALL))


def test_a_report_has_everything_from_the_question_to_the_versions(tmp_path: Path) -> None:
    df = experiment(["cold", "warm"], shift_ms={"warm": -4.0})
    path = DonutworkAccessor(df).report(tmp_path / "x.html", question="Did a kept connection help?")
    assert path == tmp_path / "x.html"
    page = page_of(path)
    headings = re.findall("<h[12]>(.*?)</h[12]>", path.read_text(encoding="utf-8"))
    assert headings == [
        *("Did a kept connection help?", "Set-up", "Result", "Comparison", "Plots", "Diagnosis", "Versions"),
    ]
    assert re.search(r"warm \d\.\d ms faster \(\d\.\d to \d\.\d\), \d+ %", page.text)
    assert "127.0.0.1:8080/2026-02-01/ping.json" in page.text
    assert "Nothing doubtful was found." in page.text
    assert path.read_text(encoding="utf-8").count("<img alt=") == 7


def test_one_series_has_no_comparison(tmp_path: Path) -> None:
    text = report(frame([5.0] * 20), tmp_path / "x.html").read_text(encoding="utf-8")
    assert "How long does a ping take?" in text
    assert "Comparison" not in text
    assert "20 pings are too few for intervals." in text


def test_it_loads_nothing_runs_nothing_and_typesets_nothing(tmp_path: Path) -> None:
    df = frame([5.0] * 70, label=HOSTILE[:60], env=HOSTILE)
    describe(df, {**ATTRS, "host": HOSTILE, "platform": HOSTILE, "versions": {HOSTILE: HOSTILE}})
    path = report(df, tmp_path / "x.html", question=HOSTILE)
    text, page = path.read_text(encoding="utf-8"), page_of(path)
    assert page.open == []
    assert "script" not in page.tags | page.attributes
    assert 'class="tex2jax_ignore mathjax_ignore"' in text
    assert "default-src 'none'" in text
    assert not re.findall(r'(?:src|href)="(?!data:image/png;base64,)', text)
    assert all(part.isprintable() for part in page.text.splitlines())


def test_ten_thousand_pings_are_less_than_a_megabyte(tmp_path: Path) -> None:
    df = experiment(rounds=50, pings=100, latency_ms=lambda random, n: alike(n, 0.5, random))
    assert report(df, tmp_path / "x.html").stat().st_size < 1_000_000


def test_a_file_of_that_name_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "x.html").write_text("old")
    assert "old" not in report(frame([5.0] * 20), tmp_path / "x.html").read_text(encoding="utf-8")[:100]
    assert os.listdir(tmp_path) == ["x.html"]  # noqa: PTH208 - hidden ones too


@pytest.mark.parametrize("name", ["missing/x.html", ".", "/", "x\0.html", "y" * 300 + ".html", "", None, 3])
def test_where_nothing_can_be_written_nothing_is(tmp_path: Path, name: Any) -> None:
    with pytest.raises(
        DonutworkError, match=r"^The report cannot be written \(.*\)\. Choose another place\.$"
    ) as refused:
        report(frame([5.0] * 20), tmp_path / name if name and isinstance(name, str) else name)
    assert refused.value.__context__ is None
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda _name: None)
    with pytest.raises(DonutworkError, match=r"donutwork_magics\[plot\]"):
        report(frame([5.0] * 20), tmp_path / "x.html")
    assert not list(tmp_path.iterdir())


def test_a_table_without_pings_is_an_exact_error(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="There is nothing to draw"):
        report(frame([1.0]).iloc[:0], tmp_path / "x.html")
    with pytest.raises(AnalysisError, match="lacks the columns"):
        report(frame([1.0]).drop(columns="rrt_ms"), tmp_path / "x.html")
    with pytest.raises(AnalysisError, match=r"^A DataFrame is needed"):
        report("x", tmp_path / "x.html")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_style_of_the_user_changes_no_page(tmp_path: Path) -> None:
    import matplotlib.style

    df = frame(np.random.default_rng(1).normal(20.0, 1.0, 70).tolist())
    plain = report(df, tmp_path / "x.html").read_bytes()
    with matplotlib.style.context("dark_background"):
        assert report(df, tmp_path / "x.html").read_bytes() == plain
