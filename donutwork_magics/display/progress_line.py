"""One line of a terminal that is written over while a series runs."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Sequence
from typing import Any, ClassVar, Final, TextIO
from weakref import WeakSet

from tqdm.std import tqdm
from tqdm.utils import disp_len

from donutwork_magics.display.units import clean, shorten

_MOST_COLUMNS: Final = 120
_LONGEST_TITLE: Final = 24
_FRAME: Final = " 100%|| "
_LEAST_BAR: Final = 4


class ProgressLine(tqdm):  # type: ignore[type-arg]  # it is generic for type checkers only
    """A bar between a title and what there is to say.

    Parameters
    ----------
    stream
        A terminal.
    """

    # It is drawn when there is something new. A thread that looks after it would compete with what is measured.
    monitor_interval = 0
    # A bar of the user's, open or forgotten, would push it down, and what follows it to the end of that bar.
    _instances: ClassVar[WeakSet[ProgressLine]] = WeakSet()

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._title = self._facts = ""
        # All that TQDM_* variables could set as well. The delay is for the constructor, which would draw it empty.
        super().__init__(
            iterable=None,
            total=1.0,
            file=stream,
            leave=False,
            bar_format="{title} {percentage:3.0f}%|{bar}| {facts}",
            delay=1,
            disable=False,
            ascii=None,
            colour=None,
            position=None,
            initial=0,
            unit_scale=False,
            write_bytes=False,
            dynamic_ncols=False,
            ncols=1,
            nrows=None,
            gui=False,
            desc=None,
            postfix=None,
            lock_args=None,
            smoothing=0,
            mininterval=0,
            maxinterval=0,
            miniters=None,
            unit="",
            unit_divisor=1000,
        )
        self.delay = 0

    def show(self, title: str, share: float, facts: Sequence[str]) -> None:
        """Draw it anew, not wider than the terminal is now.

        Parameters
        ----------
        share
            How much is done, 0 to 1.
        facts
            What there is to say; the last are left out where there is no room.
        """
        # The kernel of `jupyter console` knows nothing of its terminal, and is told 80. Room is left for an echoed ^C.
        self.ncols = max(1, min(shutil.get_terminal_size().columns, _MOST_COLUMNS) - 3)
        # As tqdm measures, which counts combining characters and cuts what is longer: half a number would be another.
        most = max(1, min(self.ncols // 3, _LONGEST_TITLE))
        self._title = self._printable(shorten(clean(title), most)[:most])
        room = self.ncols - disp_len(self._title) - len(_FRAME) - _LEAST_BAR
        fitting = (", ".join(facts[:some]) for some in range(len(facts), 0, -1))
        self._facts = self._printable(next((text for text in fitting if disp_len(text) <= room), ""))
        self.n = share
        # What becomes of the terminal is nothing to end a series for.
        with contextlib.suppress(OSError, ValueError):
            self.refresh()

    def close(self) -> None:
        """Take it away."""
        with contextlib.suppress(OSError, ValueError):
            super().close()

    @property
    def format_dict(self) -> Any:
        """What can be in its format."""
        return {**super().format_dict, "title": self._title, "facts": self._facts}

    def _printable(self, text: str) -> str:
        # A terminal of an old code page has no µ.
        encoding = self._stream.encoding or "utf-8"
        return text.encode(encoding, "replace").decode(encoding)


# Of threads only: the usual one would set the context of multiprocessing for the whole kernel.
ProgressLine.set_lock(threading.RLock())
