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

        Parameters
        ----------
        by
            Whatever ``groupby`` takes: a column, several, a `pandas.Grouper`, a Series; None for one row over all.
        metric
            The column that is summarised, in milliseconds.

        Returns
        -------
        pandas.DataFrame
            One row a group, as described at `donutwork_magics.analysis.summary.summary`.

        Raises
        ------
        AnalysisError
            A ValueError: the frame lacks a column, or `by` or `metric` is not one.
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

        Parameters
        ----------
        q
            Quantiles, each above 0 and below 1.
        by, metric
            As for `summary`.

        Returns
        -------
        pandas.DataFrame
            One row a group and quantile, as described at `donutwork_magics.analysis.percentiles.percentiles`.

        Raises
        ------
        AnalysisError
            A ValueError: the frame lacks a column, or `q`, `by` or `metric` is not one.
        """
        from donutwork_magics.analysis.percentiles import percentiles

        return percentiles(self._df, q, by, metric=metric)

    def compare(
        self, baseline: Any = None, metric: str = "duration_ms", q: float = 0.5, by: Any = "label"
    ) -> pd.DataFrame:
        """Compare the lines of an experiment, or other groups, with one of them: by how much, and how surely.

        Parameters
        ----------
        baseline
            The group with which the others are compared; the first line unless named.
        metric
            The column that is compared, in milliseconds.
        q
            The quantile that is compared.
        by
            Whatever ``groupby`` takes.

        Returns
        -------
        pandas.DataFrame
            One row a group but the baseline, with a verdict; see `donutwork_magics.analysis.compare.compare`.

        Raises
        ------
        AnalysisError
            A ValueError: the frame lacks a column, an argument does not exist in it, or there are not two groups.
        """
        from donutwork_magics.analysis.compare import compare

        return compare(self._df, baseline, metric, q, by)

    def diagnose(self) -> tuple[Finding, ...]:
        """Say what is doubtful about the measurement, and what to do about it.

        Returns
        -------
        tuple of Finding
            Each with a ``name``, a ``text``, ``advice`` and the numbers behind it; empty where nothing is doubtful.

        Raises
        ------
        AnalysisError
            A ValueError: the frame lacks a column.
        """
        from donutwork_magics.analysis.diagnose import diagnose

        return diagnose(self._df)

    @property
    def plot(self) -> Plots:
        """Plots with matplotlib (extra ``plot``), as in ``df.donutwork.plot.timeline()``; each returns its `Axes`."""
        from donutwork_magics.analysis.plots import Plots

        return Plots(self._df)

    def report(self, file: str | os.PathLike[str], *, question: str | None = None) -> Path:
        """Write the run as one self-contained page of HTML (extra ``plot``); it prints on A4.

        Parameters
        ----------
        file
            Where; a file of that name is replaced.
        question
            What was to be found out, in one line; one that fits the table without it.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        DonutworkError
            The frame is no table of pings, matplotlib is not installed, or the file cannot be written.
        """
        from donutwork_magics.display.report import report

        return report(self._df, file, question=question)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from donutwork_magics.display.run import RunCard

        return RunCard(self._df)._repr_mimebundle_(include, exclude)

    def __repr__(self) -> str:
        from donutwork_magics.display.run import RunCard

        return repr(RunCard(self._df))
