"""One line of a terminal that is written over while a series runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any, Final, TextIO

from tqdm.std import tqdm

from donutwork_magics.units import clean, shorten, width

_COLUMNS_OF_A_CONSOLE: Final = 60
_MOST_COLUMNS: Final = 120
_EDGE: Final = 1
"""After a character in the last column a terminal may begin a new line."""
_LONGEST_TITLE: Final = 24
_FORMAT: Final = "{title} {percentage:3.0f}%|{bar}| {facts}"
_FRAME: Final = " 100%|| "
_LEAST_BAR: Final = 4
_BLOCKS: Final = "█▏"


class ProgressLine:
    """A bar between a title and what there is to say.

    It is laid out by tqdm, but is none of its bars: they share their places on the screen with those of the user, can
    be changed by the environment, and have a lock that would set the context of multiprocessing for the whole kernel.

    Parameters
    ----------
    stream
        A terminal. Where it cannot be written to, there is no line.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = stream.encoding or "utf-8"
        self._is_shown = self._is_lost = False

    def show(self, title: str, share: float, facts: Sequence[str]) -> None:
        """Draw it anew, not wider than the terminal is now.

        Parameters
        ----------
        share
            How much is done, 0 to 1.
        facts
            What there is to say; the last are left out where there is no room.
        """
        if not self._is_shown:
            # A bar of the user may have been left there.
            self._write(_blank())
            self._is_shown = True
        columns = max(1, min(_columns(), _MOST_COLUMNS) - _EDGE)
        words: dict[str, Any] = {"title": self._printable(shorten(clean(title), _columns_of_title(columns)))}
        room = columns - width(words["title"]) - len(_FRAME) - _LEAST_BAR
        # Half a number would be another number.
        fitting = (", ".join(facts[:some]) for some in range(len(facts), 0, -1))
        words["facts"] = self._printable(next((text for text in fitting if width(text) <= room), ""))
        is_ascii = self._printable(_BLOCKS) != _BLOCKS
        line = tqdm.format_meter(share, 1.0, 0.0, ncols=columns, ascii=is_ascii, bar_format=_FORMAT, **words)
        # What another thread prints, or the terminal echoes, begins in the first column, and is not torn at the last.
        self._write(f"\r{line}{' ' * (columns - width(line))}\r")

    def close(self) -> None:
        """Take it away, and begin in the first column."""
        if self._is_shown:
            self._is_shown = False
            self._write(_blank())

    def _printable(self, text: str) -> str:
        # A terminal of an old code page has no µ.
        return text.encode(self._encoding, "replace").decode(self._encoding)

    def _write(self, text: str) -> None:
        if self._is_lost:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # Closed, or nobody reads it any more: what is measured goes on.
            self._is_lost = True


def _columns() -> int:
    # A kernel is not told how wide a console is, and the terminal that it was started from may be another one. A line
    # that is too wide would become a new one ten times a second, so that it is rather too short.
    return shutil.get_terminal_size(fallback=(_COLUMNS_OF_A_CONSOLE, 24)).columns


def _columns_of_title(columns: int) -> int:
    return max(1, min(columns // 3, _LONGEST_TITLE))


def _blank() -> str:
    return f"\r{' ' * (_columns() - _EDGE)}\r"
