"""Runs that a test looks at, or stops, while they go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd

from donutwork_magics import probers
from donutwork_magics.frame.table import table_of
from donutwork_magics.probers import Recording
from donutwork_magics.sampling.plan import Segment, one_after_the_other
from donutwork_magics.sampling.rows import Rows
from donutwork_magics.sampling.series import Series

PATIENCE_S = 30.0


def recording_of(lines: Sequence[Series], segments: Sequence[Segment] | None = None) -> Recording:
    """Make the recording of a run, by default of one line after the other."""
    in_turn = one_after_the_other([line.plan for line in lines])
    return Recording(lines, tuple(in_turn if segments is None else segments), rows=Rows())


@contextmanager
def running(*lines: Series, segments: Sequence[Segment] | None = None) -> Iterator[Recording]:
    """Have a prober carry out a run until the block is left, or the run ends by itself."""
    recording = recording_of(lines, segments)
    prober = probers.acquire()
    try:
        prober.begin(recording)
        assert recording.begun.wait(PATIENCE_S)
        yield recording
        prober.stop()
        assert recording.over.wait(PATIENCE_S)
    finally:
        probers.release(prober)


def carried_out(*lines: Series, segments: Sequence[Segment] | None = None) -> Recording:
    """Have a prober carry out a run to its end."""
    with running(*lines, segments=segments) as recording:
        assert recording.over.wait(PATIENCE_S)
    return recording


def table(recording: Recording) -> pd.DataFrame:
    """Make the table of a run."""
    return table_of(recording.rows, {recording.run: recording.attrs})
