"""One line of a terminal that is written over while a series runs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from typing import Any, Final, TextIO

from tqdm.std import tqdm

from donutwork_magics.display.units import clean, shorten, width

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

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._title = self._facts = ""
        # The delay is for the constructor, which would draw it empty.
        super().__init__(
            total=1.0, file=stream, leave=False, bar_format="{title} {percentage:3.0f}%|{bar}| {facts}", delay=1
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
        self.ncols = min(shutil.get_terminal_size().columns, _MOST_COLUMNS) - 1
        self._title = self._printable(shorten(clean(title), max(1, min(self.ncols // 3, _LONGEST_TITLE))))
        room = self.ncols - width(self._title) - len(_FRAME) - _LEAST_BAR
        # Half a number would be another number.
        fitting = (", ".join(facts[:some]) for some in range(len(facts), 0, -1))
        self._facts = self._printable(next((text for text in fitting if width(text) <= room), ""))
        self.n = share
        self.refresh()

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
