"""What stays alive in a notebook: the panel of a watch, and what ``--widget`` adds to the card of a single call."""

from __future__ import annotations

import contextvars
import math
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from IPython.display import DisplayHandle, display
from ipywidgets import HTML, Button, Dropdown, HBox, VBox

from donutwork_magics.display import mimebundle
from donutwork_magics.display.cards import card_of
from donutwork_magics.display.html import muted, spoken, to_html
from donutwork_magics.display.live import WidgetAndLine
from donutwork_magics.display.readings import Reader
from donutwork_magics.display.watch_card import caption, last_card, live_card
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import DonutworkError, Interrupted, OutOfThreadsError, SettingsError
from donutwork_magics.interrupts import start_thread
from donutwork_magics.sampling.plan import POLITE_RATE_HZ
from donutwork_magics.sampling.series import Series
from donutwork_magics.types import Http
from donutwork_magics.watch import Watch

_LINE: Final = "Buttons to call again, and to measure: they work while their kernel runs."
_RATES_HZ: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_MORE_RATES_HZ: Final = (50.0, 100.0)
_NOTED_EVERY_S: Final = 30.0
"""Each update of the line below the panel changes the notebook, which is then saved anew; those of a widget do not."""


class Box(VBox):  # type: ignore[misc]
    """A vertical box that knows whether a page has asked for it after it was made.

    A front end that opens a page asks the kernel for the whole state of each widget that is there already. So does one
    that had lost its connection; and a second page of the same notebook. Such a page takes no updates of the outputs
    that it came with.
    """

    loaded_anew = False
    """Whether some page shows it that was opened after it."""

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the state, or the part of it that is asked for."""
        if key is None and self.comm is not None:
            self.loaded_anew = True
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        return state


class CallWidget:
    """Buttons above the static cards of what they did.

    The cards are an output of their own, which the buttons change in its place: so a saved notebook has the latest of
    them, and loses the buttons only. A page that was loaded anew takes no such change any more: there the latest cards
    are shown below the buttons.

    Parameters
    ----------
    result
        The call that was made.
    again
        Makes it once more.
    measure
        Makes a series of 50 pings. Both are called from a thread, one at a time.
    """

    def __init__(self, result: Displayed, *, again: Callable[[], Displayed], measure: Callable[[], Displayed]) -> None:
        self._cards = _Cards([result])
        self._handle: DisplayHandle | None = None
        self._latest = HTML()
        self._status = HTML()
        self._buttons = (
            Button(description="Again", tooltip="Make the same call once more"),
            Button(description="Measure 50", tooltip="Make 50 pings, five a second, and show their latency"),
        )
        again_button, measure_button = self._buttons
        again_button.on_click(lambda _button: self._start(0, again, "calling…"))
        measure_button.on_click(lambda _button: self._start(1, measure, "measuring 50 pings, about ten seconds…"))
        # Below the buttons is the place for the cards of a page that was loaded anew.
        self.box = Box([HBox([*self._buttons, self._status], layout={"flex_flow": "row wrap"}), self._latest])

    def show(self) -> None:
        """Display the buttons and the card in the running cell."""
        display(WidgetAndLine(self.box, _LINE))
        self._handle = display(self._cards, display_id=True)

    def _start(self, place: int, action: Callable[[], Displayed], status: str) -> None:
        # Disabled by the first click, before the next can be looked at: so there is one thread at a time.
        if any(button.disabled for button in self._buttons):
            return
        self._set_busy(True)
        self._status.value = spoken(status, "status")
        # A plain thread has no parent message, and ipykernel then loses what it sends after a page reload. It is a
        # thread at all because a handler that waits would hold up every other message of the widgets.
        context = contextvars.copy_context()
        arguments = (self._carry_out, place, action)
        try:
            start_thread(threading.Thread(target=context.run, args=arguments, name="donutwork-widget", daemon=True))
        except OutOfThreadsError as error:
            self._status.value = spoken(f"✗ {error}", "alert")
            self._set_busy(False)

    def _carry_out(self, place: int, action: Callable[[], Displayed]) -> None:
        problem = ""
        try:
            # The card of the call, or that of the series below it.
            self._cards.values[place:] = [action(), *self._cards.values[place + 1 :]]
            if self._handle is not None:
                self._handle.update(self._cards)
            if self.box.loaded_anew:
                self._latest.value = self._cards.html()
        except (DonutworkError, Interrupted) as error:
            problem = f"✗ {error}"
        except Exception as error:
            # Its text is not ours, and might tell what nobody should see.
            problem = f"✗ unexpected: {type(error).__name__}"
        finally:
            self._status.value = spoken(problem, "alert")
            self._set_busy(False)

    def _set_busy(self, busy: bool) -> None:
        for button in self._buttons:
            button.disabled = busy


@dataclass(frozen=True, slots=True)
class _Cards:
    """Cards one below the other in a single output: that of a call, and that of a series."""

    values: list[Displayed]

    def html(self) -> str:
        return "".join(to_html(card_of(value)) for value in self.values)

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, str]:
        texts = [mimebundle(value)["text/plain"] for value in self.values]
        return {"text/plain": "\n\n".join(texts), "text/html": self.html()}


class WatchPanel:
    """What is seen of a watch in a notebook.

    Its widgets are never closed: a page that was loaded anew does not get the last update, and would be left with
    controls of nothing. The line below them is an output of its own, which is left of them in a notebook that was
    saved while they were there, and is opened when their kernel has ended.

    ipywidgets keeps a panel until the kernel ends, and the panel does not keep its watch: while it pings or rests, its
    thread does; and then whoever has it in a variable.

    Parameters
    ----------
    watch
        What it shows and steers.
    protocols
        Those that can be chosen.
    """

    def __init__(self, watch: Watch, protocols: Sequence[Http]) -> None:
        self._watch: Watch = weakref.proxy(watch)
        self._reader = Reader(0)
        self._line: DisplayHandle | None = None
        self._handle: DisplayHandle | None = None
        self._ended_s: float | None = None
        self._noted: tuple[str, float] = ("", 0.0)
        """State and time of the last update of the line."""
        self._left = False
        self._free = watch.series.plan.allow_load or watch.series.target.is_loopback
        self._in_menus: Series | None = None
        self._are_set = False
        self._card = HTML()
        self._go = Button(layout={"width": "96px"})
        self._end = Button(
            description="Stop", icon="stop", tooltip="Stop the watch, and leave its card", layout={"width": "96px"}
        )
        self._rate = _dropdown("Rate", [])
        self._http = _dropdown("Protocol", [(name if name == "auto" else f"HTTP/{name}", name) for name in protocols])
        # Handlers ask only, since a click comes in the thread that runs the cells.
        self._go.on_click(self._asking(self._pause_or_start))
        self._end.on_click(self._asking(self._stop))
        self._rate.observe(self._asking(self._change_rate), names="value")
        self._http.observe(self._asking(self._change_http), names="value")
        self._set_menus()
        controls = HBox([self._go, self._end, self._rate, self._http], layout={"flex_flow": "row wrap"})
        self.box = Box([self._card, controls])

    def show(self) -> None:
        """Display the panel in the running cell."""
        self.draw()
        self._handle = display(self._bundle(), display_id=True)
        self._noted = self._watch.state, time.monotonic()
        self._line = display(caption(self._watch, None), raw=True, display_id=True)

    def draw(self) -> None:
        """Show the watch as it is now."""
        self._card.value = to_html(live_card(self._watch, self._reader.read(self._watch.rows)))
        self._set_buttons()
        self._set_menus()
        if self._ended_s is not None:
            self._ended_s, self._left = None, False
            self._put(self._bundle())
        state, noted_s = self._noted
        if self._line is not None and (state != self._watch.state or time.monotonic() - noted_s >= _NOTED_EVERY_S):
            self._note()

    def freeze(self, *, in_cell: bool) -> None:
        """Put the card of the rows in the panel's place, and into the panel where a page still shows that."""
        card = last_card(self._watch)
        self._card.value = to_html(card_of(card))
        self._set_buttons()
        self._ended_s = self._ended_s or time.time()
        self._put(card)
        if in_cell and self.box.loaded_anew and not self._left:
            # A page that was loaded anew shows it in the panel, and would save none.
            self._left = True
            display(card)

    def _put(self, shown: object) -> None:
        if self._line is not None and self._handle is not None:
            self._note()
            self._handle.update(shown)

    def _note(self) -> None:
        self._noted = self._watch.state, time.monotonic()
        if self._line is not None:
            self._line.update(caption(self._watch, self._ended_s), raw=True)

    def _bundle(self) -> WidgetAndLine:
        return WidgetAndLine(self.box, caption(self._watch, self._ended_s, state=False)["text/plain"])

    def _set_buttons(self) -> None:
        running = self._watch.running
        self._go.description, self._go.icon = ("Pause", "pause") if running else ("Start", "play")
        self._go.tooltip = "Send no further ping, until it is started again" if running else "Go on with the pings"
        self._end.disabled = self._watch.state == "stopped"

    def _set_menus(self) -> None:
        series = self._watch.series
        if series is self._in_menus:
            return
        # It may have been changed in a cell, which nobody has chosen here.
        self._in_menus, self._are_set = series, True
        # As ipywidgets takes None for no choice at all, here the rate of pings back to back is infinite.
        current_hz = math.inf if series.plan.rate_hz is None else series.plan.rate_hz
        if current_hz not in dict(self._rate.options).values():
            rates = {*_RATES_HZ, *((*_MORE_RATES_HZ, math.inf) if self._free else ()), current_hz}
            offered = sorted(rate for rate in rates if self._free or rate <= POLITE_RATE_HZ)
            self._rate.options = [("max" if rate == math.inf else f"{rate:.3g}/s", rate) for rate in offered]
        self._rate.value, self._http.value = current_hz, series.http
        self._are_set = False

    def _pause_or_start(self) -> None:
        if self._watch.running:
            self._watch.pause()
            return
        try:
            self._watch.start()
        except SettingsError:
            # It is the watch's problem now, and is to be read in the page and not in a log.
            self.freeze(in_cell=False)

    def _stop(self) -> None:
        self._watch.end()

    def _change_rate(self) -> None:
        if not self._are_set:
            rate_hz = None if self._rate.value == math.inf else self._rate.value
            self._watch.change(rate_hz=rate_hz, http=self._watch.series.http)

    def _change_http(self) -> None:
        if not self._are_set:
            self._watch.change(rate_hz=self._watch.series.plan.rate_hz, http=self._http.value)

    def _asking(self, action: Callable[[], None]) -> Callable[[object], None]:
        def handler(_event: object) -> None:
            try:
                action()
            except ReferenceError:
                for control in (self._go, self._end, self._rate, self._http):
                    control.disabled = True
                gone = "No variable holds this watch any more: start another with %donutwork watch."
                self._card.value += muted(gone)

        return handler


def _dropdown(name: str, options: Sequence[tuple[str, object]]) -> Dropdown:
    return Dropdown(description=name, options=options, style={"description_width": "initial"}, layout={"width": "auto"})
