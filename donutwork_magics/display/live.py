"""What is seen while series run: a widget in a kernel, a line in a terminal, and in their place the card at the end."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TextIO

from IPython.display import DisplayHandle, display

from donutwork_magics.display.card import Card, Figure, Picture, Pictures
from donutwork_magics.display.html import to_html
from donutwork_magics.display.outages import down_since
from donutwork_magics.display.readings import Reader, Reading, lately, live_picture
from donutwork_magics.display.units import (
    UNKNOWN,
    clean,
    format_ms,
    format_rate,
    format_s,
    plural,
)
from donutwork_magics.displayed import Displayed
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.run import Progress

if TYPE_CHECKING:
    from donutwork_magics.display.progress_line import ProgressLine

_CHART_S: Final = 60.0
_SHARE_OF_DRAWING: Final = 0.02
"""Of the time, at most: what is drawn competes with what is measured."""


class LiveView(Protocol):
    """One view serves a whole command, also one of several series; it takes itself away when its context ends."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave nothing half done on the screen, also where `finish` was not reached."""

    def begin(self, plan: Plan, position: int, total: int, badges: tuple[str, ...] = ()) -> None:
        """Show that a series begins, before its first ping.

        Parameters
        ----------
        position, total
            It is series `position`, from 1, of `total`.
        badges
            Where its pings go.
        """

    def observe(self, progress: Progress) -> None:
        """Show how the series comes on; called ten times a second at most."""

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
    """A moment of a running series, in numbers."""

    plan: Plan
    position: int
    total: int
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
        if self.plan.total is not None and self.done:
            next_s, last_s = map(self.plan.planned_start_s, (self.done, self.plan.total - 1))
            planned_s = 0.0 if last_s is None else last_s - self.elapsed_s
            on_time = next_s is not None and self.elapsed_s <= next_s
            at_this_pace_s = (self.plan.total - self.done) * self.elapsed_s / self.done
            estimates_s.append(planned_s if on_time else max(planned_s, at_this_pace_s))
        if self.plan.duration_s is not None:
            estimates_s.append(self.plan.duration_s - self.elapsed_s)
        return max(0.0, min(estimates_s)) if estimates_s else math.nan

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        by_count = self.done / self.plan.total if self.plan.total else 0.0
        by_duration = self.elapsed_s / self.plan.duration_s if self.plan.duration_s else 0.0
        return min(1.0, max(by_count, by_duration))

    @property
    def title(self) -> str:
        """The label, and which of several series it is."""
        return self.plan.label if self.total == 1 else f"{self.plan.label} ({self.position} of {self.total})"

    @property
    def count(self) -> str:
        """How many are done, of how many if that is known; first those of the warm-up, which do not count."""
        if self.done < self.plan.warmup:
            return f"warm-up {self.done}/{self.plan.warmup}"
        done = self.done - self.plan.warmup
        return f"{done}" if self.plan.count is None else f"{done}/{self.plan.count}"

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
    """Reads the rows of the running series, each of them once."""

    def __init__(self, plan: Plan, position: int, total: int, badges: tuple[str, ...]) -> None:
        self._plan = plan
        self._badges = badges
        self._position = position
        self._total = total
        self._reader: Reader | None = None

    def start(self) -> Readout:
        return Readout(self._plan, self._position, self._total, badges=self._badges)

    def read(self, progress: Progress) -> Readout:
        rows, done = progress.rows, progress.done
        if self._reader is None:
            self._reader = Reader(max(0, rows.total - done))
        reading = self._reader.read(rows)
        p50_ms, p95_ms = reading.percentiles_ms()
        return Readout(
            self._plan,
            self._position,
            self._total,
            done=done,
            elapsed_s=progress.elapsed_s,
            errors=reading.errors,
            p50_ms=p50_ms,
            p95_ms=p95_ms,
            reading=reading,
            badges=self._badges,
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

    def begin(self, plan: Plan, position: int, total: int, badges: tuple[str, ...] = ()) -> None:
        self._meter = _Meter(plan, position, total, badges)
        with contextlib.suppress(Exception):
            # As below; here the rows of the series before it are at stake.
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
        self._next_s = 0.0

    def observe(self, progress: Progress) -> None:
        began_s = time.monotonic()
        if began_s >= self._next_s:
            super().observe(progress)
            # On a machine on which drawing is slow, it is done less often.
            self._next_s = began_s + (time.monotonic() - began_s) / _SHARE_OF_DRAWING

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
        return {**self.widget._repr_mimebundle_(), "text/plain": self.line}


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
