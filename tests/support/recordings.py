"""Runs that a test looks at, or stops, while they go on, and what they call and write to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from donutwork_magics import SettingsError, probers
from donutwork_magics.client.settings import Target, sandbox_target
from donutwork_magics.frame.table import table_of
from donutwork_magics.probers import Recording
from donutwork_magics.sampling.journal import Journal
from donutwork_magics.sampling.plan import Segment, one_after_the_other
from donutwork_magics.sampling.rows import Rows
from donutwork_magics.sampling.series import Series
from tests.servers import Server
from tests.support.tables import RUN

PATIENCE_S = 30.0
KEY = "dw_test_Kx81mZq0vTnR57yE"


def target_of(server: Server) -> Target:
    """Make the target of a server of the tests."""
    return sandbox_target(server.url, KEY, None)


def is_free(file: Path) -> bool:
    """Tell whether no run writes to a journal."""
    try:
        Journal(file, RUN).close()
    except SettingsError:
        return False
    return True


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
