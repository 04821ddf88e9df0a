"""Given a table, each plot is an `Axes` with units and counts, quick and safe; without matplotlib one line names it."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from donutwork_magics.analysis import plots
from donutwork_magics.errors import AnalysisError, DonutworkError
from donutwork_magics.frame.accessor import DonutworkAccessor
from tests.analysis.experiments import alike, experiment
from tests.analysis.test_runs import LATER, OUTAGE, joined, later, of_run
from tests.display.frames import ATTRS, frame
from tests.support.tables import RUN, describe

pytestmark = pytest.mark.slow

NAMES = ("timeline", "histogram", "ecdf", "percentiles", "heatmap", "phases", "compare")
SINGLE = NAMES[:-1]


@pytest.fixture(autouse=True)
def _without_windows() -> Iterator[None]:
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    yield
    plt.close("all")


def one(n: int = 300) -> pd.DataFrame:
    df = frame(alike(n, 0.5, np.random.default_rng(1)).tolist(), errors={5: "timeout", 9: "dns"})
    spans: dict[str, Any] = {
        "outages": {"first": [{"at_s": 2.0, "length_s": 3.0}]},
        "pauses": {"first": [[10.0, 2.0]]},
        "machine_pauses": {"first": [[20.0, 1.0]]},
    }
    describe(df, {**ATTRS, **spans})
    return df


def draw(name: str, df: pd.DataFrame, ax: Axes | None = None) -> Axes:
    drawn: Axes = getattr(DonutworkAccessor(df).plot, name)(ax=ax)
    drawn.get_figure().savefig(io.BytesIO(), format="png")  # type: ignore[union-attr]
    return drawn


@pytest.mark.parametrize("name", SINGLE)
def test_a_plot_says_how_many_pings_and_in_which_unit(name: str) -> None:
    ax = draw(name, one())
    assert ax.get_title().endswith(": 300 pings, 2 errors")
    assert "(ms)" in ax.get_xlabel() + ax.get_ylabel()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_drawn_where_it_is_asked_for(name: str) -> None:
    ax = Figure().subplots()
    assert draw(name, experiment(rounds=7), ax) is ax
    assert ax.has_data()


def test_the_timeline_marks_errors_outages_rests_and_pauses() -> None:
    legend = draw("timeline", one()).get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["ping", "errors", "outage", "rest, as the server asked", "this machine stood still"]


def test_the_timeline_of_several_runs_has_one_clock_also_where_the_first_was_warm_up_only() -> None:
    outages = {"count": 1, "total_s": 1.0, "first": [{**OUTAGE, "at_s": 3.0}]}
    warmup = of_run(frame([1.0] * 50, warmup=50), RUN)
    ax = draw("timeline", joined(warmup, of_run(later(frame([1.0] * 50), 60.0), LATER, outages=outages)))
    began = float(ax.lines[0].get_xdata()[0])  # type: ignore[index, arg-type]
    assert ax.patches[0].get_x() / began == pytest.approx(63.0 / 60.0)  # type: ignore[attr-defined]


def test_the_timeline_says_which_services_were_down_where_a_run_asks_several() -> None:
    df, spans = one(), [{"at_s": at_s, "length_s": 3.0, "place": "staging"} for at_s in (2.0, 8.0)]
    describe(df, {**ATTRS, "outages": {"first": spans}})
    legend = draw("timeline", df).get_legend()
    assert legend is not None
    assert "outage of staging" in [text.get_text() for text in legend.get_texts()]


def test_the_comparison_shows_each_interval_and_its_verdict() -> None:
    ax = draw("compare", experiment(["a", "b", "c"], shift_ms={"b": 5.0}))
    assert ax.get_title() == "Duration, p50: 300 pings, 10 rounds"
    assert ax.get_xlabel() == "slower than a by (ms), 95 % intervals"
    assert ["slower (" in text.get_text() for text in ax.texts] == [True, False]
    hollow = draw("compare", experiment(rounds=1)).lines[-1]
    assert hollow.get_markerfacecolor() == "none"


def test_a_comparison_without_a_known_difference_is_drawn_too() -> None:
    df = frame([1.0] * 70)
    df.loc[1, "label"] = "once"
    assert len(draw("compare", df).lines) == 2


def test_a_label_is_neither_typeset_nor_left_out() -> None:
    ax = draw("ecdf", experiment(["$x^2$", "_hidden", "plain"]))
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [r"\$x^2\$", " _hidden", "plain"]


@pytest.mark.parametrize("name", NAMES)
def test_thousands_of_pings_of_many_labels_are_drawn(name: str) -> None:
    labels = [f"line {at}" for at in range(12)]
    ax = draw(name, experiment(labels, rounds=8, pings=100))
    assert len(ax.get_legend_handles_labels()[1]) <= 8
    assert name == "compare" or ax.get_title().endswith(", the first 8 of 12 labels")


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("durations", [[5.0], [5.0] * 80, [0.001, 9000.0] * 40])
def test_odd_tables_are_drawn_too(name: str, durations: list[float]) -> None:
    ax = draw(name, frame(durations))
    assert ax.has_data() or [text.get_text() for text in ax.texts] == ["p50 needs 5 pings"]


@pytest.mark.parametrize("name", SINGLE)
def test_nothing_to_draw_is_an_exact_error(name: str) -> None:
    with pytest.raises(AnalysisError, match="There is nothing to draw: no ping that counts has a duration_ms"):
        draw(name, frame([1.0]).iloc[:0])


@pytest.mark.parametrize("name", SINGLE[:-1])
def test_a_phase_that_never_happened_is_drawn_as_0_or_is_an_exact_error(name: str) -> None:
    table = one().assign(dns_ms=0.0)
    if name == "heatmap":
        with pytest.raises(AnalysisError, match="no ping that counts has a dns_ms above 0"):
            DonutworkAccessor(table).plot.heatmap(metric="dns_ms")
    else:
        assert getattr(DonutworkAccessor(table).plot, name)(metric="dns_ms").has_data()


def test_another_metric_has_its_own_name_and_an_unknown_one_is_an_error() -> None:
    assert DonutworkAccessor(one()).plot.histogram(metric="rrt_ms").get_xlabel() == "RRT (ms)"
    with pytest.raises(AnalysisError, match="metric must be one of"):
        DonutworkAccessor(one()).plot.ecdf(metric="rrt")


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_colours_are_seen_on_white_and_on_black(background: str) -> None:
    def luminance(colour: str) -> float:
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in plots.COLOURS:
        light, dark = sorted([luminance(colour), luminance(background)], reverse=True)
        # WCAG 2.2, 1.4.11: 3 to 1 for graphics; two lines also differ in their dashes.
        assert (light + 0.05) / (dark + 0.05) >= 2.9, colour


@pytest.mark.parametrize("name", NAMES)
def test_without_matplotlib_one_line_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        DonutworkError, match=r'^Plots need matplotlib, the extra "plot": pip install "donutwork_magics'
    ):
        draw(name, experiment(rounds=7))


def test_matplotlib_is_imported_when_something_is_drawn() -> None:
    code = (
        "import sys, donutwork_magics.analysis.plots, donutwork_magics.display.run;"
        "print(*sorted({'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
    assert importlib.util.find_spec(mpl.__name__)
