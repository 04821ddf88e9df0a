"""``--until`` while a run goes on: whether the interval that it is for has become narrow enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from donutwork_magics.probers import Recording

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def narrowing(recording: Recording) -> Callable[[], bool]:
    """Return what tells whether a run may end; to be asked again and again while it goes on.

    Of one line the interval of its median counts, of several those of their differences to the first.
    """
    shares = [line.until for line in recording.lines if line.until is not None]
    if not shares:
        return lambda: False
    is_narrow = _series if len(recording.lines) == 1 else _cell
    return is_narrow(recording, min(shares))


def _series(recording: Recording, share: float) -> Callable[[], bool]:
    from donutwork_magics.analysis.intervals import next_look, series_is_narrow

    look = next_look(0)

    def is_narrow() -> bool:
        nonlocal look
        if recording.done < look:
            return False
        durations_ms = _Succeeded(recording).durations_ms
        if durations_ms.size < look:
            return False
        look = next_look(durations_ms.size)
        return series_is_narrow(durations_ms, share)

    return is_narrow


def _cell(recording: Recording, share: float) -> Callable[[], bool]:
    import numpy as np

    from donutwork_magics.analysis.intervals import FEWEST_ROUNDS, cell_is_narrow

    seen = FEWEST_ROUNDS - 1
    labels = [line.plan.label for line in recording.lines]

    def is_narrow() -> bool:
        nonlocal seen
        rounds = recording.round
        if rounds <= seen:
            return False
        seen = rounds
        rows = _Succeeded(recording)
        medians = np.array([[rows.median_ms(label, block) for block in range(rounds)] for label in labels])
        # A round in which a line has no success tells no difference.
        medians = medians[:, ~np.isnan(medians).any(axis=0)]
        return cell_is_narrow(list(medians), float(np.median(rows.of(labels[0]))), share)

    return is_narrow


class _Succeeded:
    """The successes of a run so far, warm-up apart, in planned order."""

    def __init__(self, recording: Recording) -> None:
        import numpy as np

        rows = recording.rows.copy()
        codes = np.array(rows.words["error"].codes)
        counted = (codes < 0) & (np.array(rows.flags["warmup"]) == 0)
        order = np.argsort(np.array(rows.integers["seq"])[counted], kind="stable")
        self.durations_ms: npt.NDArray[np.float64] = np.array(rows.floats["duration_ms"])[counted][order]
        self._labels = np.array(rows.words["label"].distinct)[np.array(rows.words["label"].codes)[counted][order]]
        self._blocks = np.array(rows.integers["block"])[counted][order]

    def of(self, label: str) -> npt.NDArray[np.float64]:
        own: npt.NDArray[np.float64] = self.durations_ms[self._labels == label]
        return own

    def median_ms(self, label: str, block: int) -> float:
        import numpy as np

        own = self.durations_ms[(self._labels == label) & (self._blocks == block)]
        return float(np.median(own)) if own.size else float("nan")
