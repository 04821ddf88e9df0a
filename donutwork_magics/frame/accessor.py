"""``df.donutwork``: what a table of pings can tell about itself, reachable from the table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from donutwork_magics.displayed import Displayed


@pd.api.extensions.register_dataframe_accessor("donutwork")
class DonutworkAccessor(Displayed):
    """A table of pings at a glance; its display is the run's card.

    Any DataFrame has it. One without the columns of schema 1 says so in place of the card.
    """

    def __init__(self, df: pd.DataFrame) -> None:
        # pandas calls this for whatever looks at the attribute, completion too: complaints wait until it is used.
        self._df = df

    def summary(self, by: str | Sequence[str] | None = None, *, metric: str = "duration_ms") -> pd.DataFrame:
        """Summarise the run, or each of its groups.

        Parameters
        ----------
        by
            A column, or several, to group by; None for one row over all.
        metric
            The column that is summarised, in milliseconds.

        Returns
        -------
        pandas.DataFrame
            One row a group, as described at `donutwork_magics.analysis.summary.summary`.

        Raises
        ------
        ValueError
            The frame lacks a column, or `by` or `metric` is not one.
        """
        from donutwork_magics.analysis.summary import summary

        return summary(self._df, by, metric=metric)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from donutwork_magics.display.run import RunCard

        return RunCard(self._df)._repr_mimebundle_(include, exclude)

    def __repr__(self) -> str:
        from donutwork_magics.display.run import RunCard

        return repr(RunCard(self._df))
