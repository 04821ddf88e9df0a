"""``df.donutwork``: what a table of pings can tell about itself, reachable from the table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from donutwork_magics.displayed import Displayed

if TYPE_CHECKING:
    from donutwork_magics.analysis.diagnose import Finding
    from donutwork_magics.analysis.plots import Plots


@pd.api.extensions.register_dataframe_accessor("donutwork")
class DonutworkAccessor(Displayed):
    """A table of pings at a glance; its display is the run's card.

    Any DataFrame has it. One without the columns of schema 1 says so in place of the card.
    """

    def __init__(self, df: pd.DataFrame) -> None:
        # pandas calls this for whatever looks at the attribute, completion too: complaints wait until it is used.
        self._df = df

    def summary(self, by: Any = None, *, metric: str = "duration_ms") -> pd.DataFrame:
        """Summarise the run, or each of its groups: counts, percentiles, shares, the rate.

        Parameters, result and errors are those of `donutwork_magics.summary`: `by` is whatever ``groupby`` takes (None
        for one row over all), `metric` a column in milliseconds.
        """
        from donutwork_magics.analysis.summary import summary

        return summary(self._df, by, metric=metric)

    def percentiles(
        self,
        q: float | Sequence[float] = (0.5, 0.9, 0.95, 0.99, 0.999),
        by: Any = None,
        *,
        metric: str = "duration_ms",
    ) -> pd.DataFrame:
        """Compute percentiles with 95 % intervals that hold also where pings resemble each other.

        Parameters, result and errors are those of `donutwork_magics.percentiles`: `q` has quantiles above 0 and below
        1, `by` is whatever ``groupby`` takes, `metric` a column in milliseconds.
        """
        from donutwork_magics.analysis.summary import percentiles

        return percentiles(self._df, q, by, metric=metric)

    def compare(
        self, baseline: Any = None, metric: str = "duration_ms", q: float = 0.5, by: Any = "label"
    ) -> pd.DataFrame:
        """Compare the lines of an experiment, or other groups, with one of them: by how much, and how surely.

        Parameters, result and errors are those of `donutwork_magics.compare`: `baseline` is the first line unless
        named, `metric` a column in milliseconds, `q` the quantile that is compared, `by` whatever ``groupby`` takes.
        """
        from donutwork_magics.analysis.compare import compare

        return compare(self._df, baseline, metric, q, by)

    def diagnose(self) -> tuple[Finding, ...]:
        """Say what is doubtful about the measurement: each with a ``name``, a ``text``, ``evidence`` and ``advice``."""
        from donutwork_magics.analysis.diagnose import diagnose

        return diagnose(self._df)

    @property
    def plot(self) -> Plots:
        """Plots with matplotlib (extra ``plot``), as in ``df.donutwork.plot.timeline()``; each returns its `Axes`."""
        from donutwork_magics.analysis.plots import Plots

        return Plots(self._df)

    def report(self, file: str | os.PathLike[str], *, question: str | None = None) -> Path:
        """Write the run as one self-contained page of HTML (extra ``plot``) that prints on A4; return its path.

        Parameters and errors are those of `donutwork_magics.report`: a `file` of that name is replaced, and `question`
        is what was to be found out, in one line.
        """
        from donutwork_magics.display.report import report

        return report(self._df, file, question=question)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from donutwork_magics.display.run import RunCard

        return RunCard(self._df)._repr_mimebundle_(include, exclude)

    def __repr__(self) -> str:
        from donutwork_magics.display.run import RunCard

        return repr(RunCard(self._df))
