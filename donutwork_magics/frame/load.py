"""From a journal back to the DataFrame."""

from __future__ import annotations

import os

import pandas as pd

from donutwork_magics.frame.table import table_of
from donutwork_magics.sampling.journal_reader import read_journal


def load(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the DataFrame of a journal, also of one whose process was killed.

    A line that was torn when its process died is left out. Where the journal has several runs, their rows follow one
    another; the column ``run`` tells them apart. The parts of a run whose journal was moved or truncated load each by
    itself, and joined in one file as the one run that they are.

    Returns
    -------
    pandas.DataFrame
        Schema 1. It equals what the runs returned: values, dtypes and attrs. ``attrs["donutwork"]["runs"]`` has what
        is known of each run by its id: ``ended`` is ``unfinished`` where its process was killed, and ``continued`` in a
        file that was moved while it went on. Where rows of a run are not in the file, ``journal`` has the number that
        is ``missing``, their ``seq`` where it is known, and the number that was written ``elsewhere``, to another file.

    Raises
    ------
    DonutworkError
        The file cannot be read, is no journal of this schema, or is damaged.
    """
    return table_of(*read_journal(path))
