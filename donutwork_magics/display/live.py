"""What is seen while series run: a widget in a kernel, a line in a terminal, and in their place the card at the end."""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TextIO

from IPython.display import DisplayHandle, display

from donutwork_magics.display.card import Card, Figure, Picture, Pictures
from donutwork_magics.display.html import to_html
from donutwork_magics.display.outages import down_since
from donutwork_magics.display.readings import Reader, Reading, lately, live_picture
from donutwork_magics.displayed import Displayed
from donutwork_magics.sampling.outages import Outage
from donutwork_magics.sampling.plan import Course
from donutwork_magics.sampling.rows import Rows
from donutwork_magics.units import (
    UNKNOWN,
    clean,
    format_ms,
    format_rate,
    format_s,
    plural,
)

if TYPE_CHECKING:
    from donutwork_magics.display.progress_line import ProgressLine

_CHART_S: Final = 60.0


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


class LiveView(Protocol):
    """One view serves a whole run, also one of several series; it takes itself away when its context ends."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave nothing half done on the screen, also where `finish` was not reached."""

    def begin(self, course: Course, badges: tuple[str, ...] = ()) -> None:
        """Show that a run begins, before its first ping.

        Parameters
        ----------
        course
            What is planned.
        badges
            Where its pings go.
        """

    def observe(self, progress: Progress) -> None:
        """Show how the run comes on; called ten times a second at most."""

    def finish(self, card: Displayed | None) -> None:
        """Show a card in place of the progress, or nothing."""


def live_view(shell: object, *, quiet: bool) -> LiveView:
    """Make the view that suits a shell.

    Parameters
    ----------
    shell
        The running IPython shell.
    quiet
        Show nothing at all: no progress, and no card.
    """
    if quiet:
        return _View()
    if takes_widgets(shell):
        return _KernelView()
    return _TerminalView(sys.stdout if hasattr(shell, "kernel") or sys.stdout.isatty() else None)


def takes_widgets(shell: Any) -> bool:
    """Tell whether what the running cell displays can be updated.

    A terminal and `jupyter console` print what comes, and never what is updated. The console also has a kernel; but a
    notebook names the cell that it runs (JupyterLab, Notebook 7, VS Code), and what runs a notebook without anybody
    there lets nobody be asked.
    """
    if not hasattr(shell, "kernel"):
        return False
    if "google.colab" in sys.modules:
        return True
    message = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return not message.get("content", {}).get("allow_stdin") or "cellId" in message.get("metadata", {})


@dataclass(frozen=True, slots=True)
class Readout:
    """A moment of a run, in numbers."""

    course: Course
    label: str
    """Of the line that pings now."""
    done: int = 0
    elapsed_s: float = 0.0
    errors: int = 0
    p50_ms: float = math.nan
    p95_ms: float = math.nan
    reading: Reading | None = None
    """The rows to draw; None before the first."""
    badges: tuple[str, ...] = ()
    down: str = ""
    """Since when the service has been down, in words; empty where it is not."""

    @property
    def rate_hz(self) -> float:
        """Starts a second; NaN before there are two."""
        return math.nan if self.reading is None else self.reading.rate_hz

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
        warmup, total = self.course.warmup, self.course.total
        if self.done < warmup and len(self.course.plans) == 1:
            return f"warm-up {self.done}/{warmup}"
        # Of several lines one after the other, each has its warm-up first.
        done = self.done - (warmup if len(self.course.plans) == 1 else 0)
        return f"{done}" if total is None else f"{done}/{total - self.done + done}"

    @property
    def left(self) -> str:
        """How long it will probably take, in words."""
        return f"{format_s(self.left_s)} left" if math.isfinite(self.left_s) else ""

    @property
    def facts(self) -> tuple[str, ...]:
        """How it comes on, what matters most first."""
        parts = (
            self.count,
            self.down,
            format_rate(self.rate_hz) if math.isfinite(self.rate_hz) else "",
            self.left,
            plural(self.errors, "error"),
            f"p50 {format_ms(self.p50_ms)}" if math.isfinite(self.p50_ms) else "",
            f"p95 {format_ms(self.p95_ms)}" if math.isfinite(self.p95_ms) else "",
        )
        return tuple(filter(None, parts))

    @property
    def line(self) -> str:
        """Say everything in one line."""
        done, *more = self.facts
        return f"{clean(self.title)}: {self.share:.0%}, {', '.join((f'{done} pings', *more))}"

    def card(self) -> Card:
        """Make the card that the static one will take the place of."""
        window = "so far" if self.reading is None else self.reading.window
        return Card(
            title="Pings",
            tone="bad" if self.down else "running",
            state=", ".join(filter(None, (f"{self.title}: running", self.down))),
            badges=self.badges,
            figures=(
                Figure(self.count, "pings done"),
                Figure(format_rate(self.rate_hz), "rate"),
                Figure(format_s(self.left_s) if math.isfinite(self.left_s) else UNKNOWN, "left"),
                Figure(str(self.errors), "errors"),
                lately("p50", self.p50_ms, 0.50, window),
                lately("p95", self.p95_ms, 0.95, window),
            ),
            progress=self.share,
            sections=(Pictures((self._picture(self.reading),)),) if self.reading is not None else (),
            notes=("Interrupt the kernel to stop: the completed rows are kept.",),
        )

    def _picture(self, reading: Reading) -> Picture:
        return live_picture(reading, self.elapsed_s, _CHART_S)


class _Meter:
    """Reads the rows of a run, each of them once."""

    def __init__(self, course: Course, badges: tuple[str, ...]) -> None:
        self._start = Readout(course, course.plans[course.segments[0].line].label, badges=badges)
        self._reader: Reader | None = None

    def start(self) -> Readout:
        return self._start

    def read(self, progress: Progress) -> Readout:
        rows, done = progress.rows, progress.done
        if self._reader is None:
            self._reader = Reader(max(0, rows.total - done))
        reading = self._reader.read(rows)
        p50_ms, p95_ms = reading.percentiles_ms()
        return replace(
            self._start,
            label=reading.label or self._start.label,
            done=done,
            elapsed_s=progress.elapsed_s,
            errors=reading.errors,
            p50_ms=p50_ms,
            p95_ms=p95_ms,
            reading=reading,
            down=down_since(progress.outage),
        )


class _View:
    """Shows nothing; the others say what they show."""

    def __init__(self) -> None:
        self._meter: _Meter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._clear()

    def begin(self, course: Course, badges: tuple[str, ...] = ()) -> None:
        self._meter = _Meter(course, badges)
        with contextlib.suppress(Exception):
            # As below.
            self._show(self._meter.start())

    def observe(self, progress: Progress) -> None:
        if self._meter is None:
            return
        try:
            self._show(self._meter.read(progress))
        except Exception:
            # What cannot be shown is not worth a row: the run goes on unseen, and its card comes in the end.
            self._meter = None

    def finish(self, card: Displayed | None) -> None:
        """Show nothing."""

    def _show(self, readout: Readout) -> None:
        """Show nothing."""

    def _clear(self) -> None:
        """Have nothing to take away."""


class _KernelView(_View):
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


@dataclass(frozen=True, slots=True)
class WidgetAndLine:
    """A widget beside a line of text, for front ends without widgets."""

    widget: Any
    line: str

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, Any]:
        # Written here, as ipywidgets 7 has no method for it.
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {"text/plain": self.line, "application/vnd.jupyter.widget-view+json": view}


class _TerminalView(_View):
    """A line that the card follows; the card only, where the output is no terminal."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._line: ProgressLine | None = None
        if stream is not None:
            # tqdm converts every variable TQDM_... when it is imported, and fails at one that is no number.
            with contextlib.suppress(ValueError):
                from donutwork_magics.display.progress_line import ProgressLine

                self._line = ProgressLine(stream)

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
