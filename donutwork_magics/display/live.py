"""What is seen while series run: a widget in a kernel, a line in a terminal, and in their place the card at the end."""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, Self, TextIO

from IPython.display import DisplayHandle, display

from donutwork_magics.display.card import Card, Figure
from donutwork_magics.display.html import to_html
from donutwork_magics.display.readings import NOTHING, Reader, Reading, down_since, live_chart
from donutwork_magics.displayed import Displayed
from donutwork_magics.interrupts import uninterrupted
from donutwork_magics.sampling.outages import Outage
from donutwork_magics.sampling.plan import Course
from donutwork_magics.sampling.rows import Rows
from donutwork_magics.units import (
    UNKNOWN,
    clean,
    fitting,
    format_ms,
    format_rate,
    format_s,
    plural,
    printable,
    shorten,
    width,
)

_CHART_S: Final = 60.0
_COLUMNS_OF_A_CONSOLE: Final = 60
_MOST_COLUMNS: Final = 120
_EDGE: Final = 1
"""After a character in the last column a terminal may begin a new line."""
_LONGEST_TITLE: Final = 24
_LEAST_BAR: Final = 4
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


class Progress(Protocol):
    """What is looked at while a run goes on."""

    @property
    def rows(self) -> Rows:
        """The completed rows, of runs before this one too."""

    @property
    def done(self) -> int:
        """How many rows this run has completed."""

    @property
    def elapsed_s(self) -> float:
        """How long this run has run."""

    @property
    def outage(self) -> Outage | None:
        """The outage that goes on now."""

    @property
    def waiting_s(self) -> float:
        """How long the oldest ping in flight has waited; 0 where it is not long."""


@dataclass(frozen=True, slots=True)
class Readout:
    """A moment of a run, in numbers."""

    course: Course
    label: str
    """Of the line that pings now."""
    done: int = 0
    elapsed_s: float = 0.0
    reading: Reading = NOTHING
    """The rows to draw."""
    badges: tuple[str, ...] = ()
    down: str = ""
    """Since when the service has been down, or given no reply, in words; empty where it is not."""
    is_down: bool = False

    @property
    def left_s(self) -> float:
        """How long it will probably take; NaN before that can be said."""
        estimates_s = []
        total, duration_s = self.course.total, self.course.duration_s
        if total is not None and self.done:
            next_s, last_s = map(self.course.planned_start_s, (self.done, total - 1))
            planned_s = 0.0 if last_s is None else last_s - self.elapsed_s
            on_time = next_s is not None and self.elapsed_s <= next_s
            at_this_pace_s = (total - self.done) * self.elapsed_s / self.done
            estimates_s.append(planned_s if on_time else max(planned_s, at_this_pace_s))
        if duration_s is not None:
            estimates_s.append(duration_s - self.elapsed_s)
        return max(0.0, min(estimates_s)) if estimates_s else math.nan

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        by_count = self.done / self.course.total if self.course.total else 0.0
        by_duration = self.elapsed_s / self.course.duration_s if self.course.duration_s else 0.0
        return min(1.0, max(by_count, by_duration))

    @property
    def title(self) -> str:
        """The label, and which of several series it is."""
        labels = [plan.label for plan in self.course.plans]
        if len(labels) == 1:
            return labels[0]
        return f"{self.label} ({labels.index(self.label) + 1} of {len(labels)})"

    @property
    def count(self) -> str:
        """How many are done, of how many if that is known; first those of the warm-up, which do not count."""
        # Of several lines one after the other, each has its warm-up first.
        warmup, total = self.course.warmup if len(self.course.plans) == 1 else 0, self.course.total
        if self.done < warmup:
            return f"warm-up {self.done}/{warmup}"
        return f"{self.done - warmup}" if total is None else f"{self.done - warmup}/{total - warmup}"

    @property
    def facts(self) -> tuple[str, ...]:
        """How it comes on, what matters most first."""
        reading, left_s = self.reading, self.left_s
        p50_ms, p95_ms = reading.percentiles_ms()
        parts = (
            self.count,
            self.down,
            format_rate(reading.rate_hz) if math.isfinite(reading.rate_hz) else "",
            f"{format_s(left_s)} left" if math.isfinite(left_s) else "",
            plural(reading.errors, "error"),
            f"p50 {format_ms(p50_ms)}" if math.isfinite(p50_ms) else "",
            f"p95 {format_ms(p95_ms)}" if math.isfinite(p95_ms) else "",
        )
        return tuple(filter(None, parts))

    @property
    def line(self) -> str:
        """Say everything in one line."""
        done, *more = self.facts
        return f"{clean(self.title)}: {self.share:.0%}, {', '.join((f'{done} pings', *more))}"

    def card(self) -> Card:
        """Make the card that the static one will take the place of."""
        reading, left_s = self.reading, self.left_s
        return Card(
            title="Pings",
            tone="bad" if self.is_down else "running",
            state=", ".join(filter(None, (f"{self.title}: running", self.down))),
            badges=self.badges,
            figures=(
                Figure(self.count, "pings done"),
                Figure(format_rate(reading.rate_hz), "rate"),
                Figure(format_s(left_s) if math.isfinite(left_s) else UNKNOWN, "left"),
                Figure(str(reading.errors), "errors"),
                *reading.figures(),
            ),
            progress=self.share,
            sections=live_chart(reading, self.elapsed_s, _CHART_S),
            notes=("Interrupt the kernel to stop: the completed rows are kept.",),
        )


class LiveView:
    """One view serves a whole run, also one of several series; it takes itself away when its context ends.

    This one shows nothing; the others say what they show.
    """

    def __init__(self) -> None:
        self._start: Readout | None = None
        self._reader: Reader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        # Nothing is left half done on the screen, also where `finish` was not reached.
        self._clear()

    def begin(self, course: Course, badges: tuple[str, ...] = ()) -> None:
        """Show that a run begins, before its first ping; badges say where its pings go."""
        self._reader, self._start = None, Readout(course, course.plans[course.segments[0].line].label, badges=badges)
        with contextlib.suppress(Exception):
            # As below.
            self._show(self._start)

    def observe(self, progress: Progress) -> None:
        """Show how the run comes on; called ten times a second at most."""
        if self._start is None:
            return
        try:
            self._show(self._read(self._start, progress))
        except Exception:
            # What cannot be shown is not worth a row: the run goes on unseen, and its card comes in the end.
            self._start = None

    def finish(self, card: Displayed | None) -> None:
        """Show a card in place of the progress, or nothing."""

    def _read(self, start: Readout, progress: Progress) -> Readout:
        rows, done = progress.rows, progress.done
        if self._reader is None:
            self._reader = Reader(max(0, rows.total - done))
        reading = self._reader.read(rows)
        return replace(
            start,
            label=reading.label or start.label,
            done=done,
            elapsed_s=progress.elapsed_s,
            reading=reading,
            down=down_since(progress.outage, progress.waiting_s),
            is_down=progress.outage is not None,
        )

    def _show(self, readout: Readout) -> None:
        """Show nothing."""

    def _clear(self) -> None:
        """Have nothing to take away."""


def live_view(shell: object, *, quiet: bool) -> LiveView:
    """Make the view that suits the running IPython shell; a quiet one shows neither progress nor card."""
    if quiet:
        return LiveView()
    if takes_widgets(shell):
        return _KernelView()
    return _TerminalView(sys.stdout if hasattr(shell, "kernel") or sys.stdout.isatty() else None)


def takes_widgets(shell: Any) -> bool:
    """Tell whether what the running cell displays can be updated.

    A terminal and `jupyter console` print what comes, and never what is updated. The console also has a kernel; but a
    notebook names the cell that it runs (JupyterLab, Notebook 7, VS Code), and nbclient and papermill set no
    `allow_stdin`.
    """
    if not hasattr(shell, "kernel"):
        return False
    if "google.colab" in sys.modules:
        return True
    message = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return not message.get("content", {}).get("allow_stdin") or "cellId" in message.get("metadata", {})


@dataclass(frozen=True, slots=True)
class WidgetAndLine:
    """A widget beside a line of text, for front ends without widgets."""

    widget: Any
    line: str

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, Any]:
        # Written here, as ipywidgets 7 has no method for it.
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {"text/plain": self.line, "application/vnd.jupyter.widget-view+json": view}


class _KernelView(LiveView):
    """A widget whose output becomes the card."""

    def __init__(self) -> None:
        super().__init__()
        from ipywidgets import HTML

        self._html = HTML()
        self._handle: DisplayHandle | None = None

    def finish(self, card: Displayed | None) -> None:
        if self._handle is None:
            if card is not None:
                display(card)
        elif card is not None:
            self._handle.update(card)
            self._handle = None

    def _show(self, readout: Readout) -> None:
        self._html.value = to_html(readout.card())
        if self._handle is None:
            self._handle = display(WidgetAndLine(self._html, readout.line), display_id=True)

    def _clear(self) -> None:
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)
            self._handle = None
        # Only now: a front end complains about an output whose widget is gone. A widget has its layout and its style as
        # models of their own.
        for model in (self._html, self._html.layout, self._html.style):
            model.close()


class _TerminalView(LiveView):
    """A line that the card follows; the card only, where the output is no terminal."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._line = None if stream is None else ProgressLine(stream)

    def finish(self, card: Displayed | None) -> None:
        self._clear()
        if card is not None:
            display(card)

    def _show(self, readout: Readout) -> None:
        if self._line is not None:
            self._line.show(readout.title, readout.share, readout.facts)

    def _clear(self) -> None:
        if self._line is not None:
            self._line.close()


class ProgressLine:
    """One line of a terminal, which is written over: a bar between a title and what there is to say."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_shown = self._is_lost = False

    def show(self, title: str, share: float, facts: Sequence[str]) -> None:
        """Draw it anew, not wider than the terminal is now; the last facts are left out where there is no room."""
        if not self._is_shown:
            # A bar of the user may have been left there.
            self._blank()
            self._is_shown = True
        columns = max(1, min(_columns(), _MOST_COLUMNS) - _EDGE)
        title = shorten(clean(title), max(1, min(columns // 3, _LONGEST_TITLE)))
        before, after = printable(f"{title} {share:4.0%}|", self._stream), "| "
        room = columns - width(before + after)
        # Half a number would be another number.
        some = (", ".join(facts[:n]) for n in range(len(facts), 0, -1))
        after += printable(next((text for text in some if width(text) <= room - _LEAST_BAR), ""), self._stream)
        bar = self._bar(share, max(0, columns - width(before + after)))
        line = fitting(before + bar + after, columns)
        # What another thread prints, or the terminal echoes, begins in the first column, and is not torn at the last.
        self._write(f"\r{line}{' ' * (columns - width(line))}\r")

    def close(self) -> None:
        """Take it away, and begin in the first column."""
        if self._is_shown:
            self._is_shown = False
            self._blank()

    def _bar(self, share: float, columns: int) -> str:
        if printable(_EIGHTHS, self._stream) != _EIGHTHS:
            return ("#" * int(share * columns)).ljust(columns)
        whole, eighths = divmod(int(share * columns * 8), 8)
        return f"{'█' * whole}{_EIGHTHS[eighths]}"[:columns].ljust(columns)

    def _blank(self) -> None:
        self._write(f"\r{' ' * (_columns() - _EDGE)}\r")

    def _write(self, text: str) -> None:
        if self._is_lost:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # Closed, or nobody reads it any more: what is measured goes on.
            self._is_lost = True


@uninterrupted
def _columns() -> int:
    # A kernel is not told how wide a console is, and the terminal that it was started from may be another one. A line
    # that is too wide would become a new one ten times a second, so that it is rather too short.
    return shutil.get_terminal_size(fallback=(_COLUMNS_OF_A_CONSOLE, 24)).columns
