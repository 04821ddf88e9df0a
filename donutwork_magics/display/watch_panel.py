"""The panel of a watch: its live card, and controls that start, pause, stop and change it."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Final

from IPython.display import DisplayHandle, display
from ipywidgets import HTML, Button, Dropdown, HBox, Layout

from donutwork_magics.display import card_of
from donutwork_magics.display.html import muted, to_html
from donutwork_magics.display.live import WidgetAndLine
from donutwork_magics.display.pages import Box
from donutwork_magics.display.readings import Reader
from donutwork_magics.display.watch_card import caption, last_card, live_card
from donutwork_magics.errors import SettingsError
from donutwork_magics.sampling.plan import POLITE_RATE_HZ
from donutwork_magics.sampling.series import Series
from donutwork_magics.types import Http
from donutwork_magics.watch import Watch

_RATES_HZ: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_MORE_RATES_HZ: Final = (50.0, 100.0)


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

    Attributes
    ----------
    box : ipywidgets.VBox
        What is displayed.
    """

    def __init__(self, watch: Watch, protocols: Sequence[Http]) -> None:
        self._watch: Watch = weakref.proxy(watch)
        self._reader = Reader(0)
        self._line: DisplayHandle | None = None
        self._handle: DisplayHandle | None = None
        self._ended_s: float | None = None
        self._left = False
        plan = watch.series.plan
        self._card = HTML()
        self._go = Button(layout=Layout(width="96px"))
        self._end = Button(
            description="Stop", icon="stop", tooltip="Stop the watch, and leave its card", layout=Layout(width="96px")
        )
        self._free = plan.allow_load or watch.series.target.is_loopback
        self._rate = _dropdown("Rate", [])
        self._http = _dropdown("Protocol", [(name if name == "auto" else f"HTTP/{name}", name) for name in protocols])
        self._in_menus: Series | None = None
        self._are_set = False
        # Handlers ask only, since a click comes in the thread that runs the cells.
        self._go.on_click(self._asking(self._pause_or_start))
        self._end.on_click(self._asking(self._stop))
        self._rate.observe(self._asking(self._change_rate), names="value")
        self._http.observe(self._asking(self._change_http), names="value")
        self._set_menus()
        controls = HBox([self._go, self._end, self._rate, self._http], layout=Layout(flex_flow="row wrap"))
        self.box = Box([self._card, controls])

    def show(self) -> None:
        """Display the panel in the running cell."""
        self.draw()
        self._handle = display(self._bundle(), display_id=True)
        self._line = display(self._caption(), raw=True, display_id=True)

    def draw(self) -> None:
        """Show the watch as it is now."""
        self._card.value = to_html(live_card(self._watch, self._reader.read(self._watch.rows)))
        self._set_buttons()
        self._set_menus()
        if self._ended_s is not None:
            self._ended_s, self._left = None, False
            self._put(self._bundle())

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
            self._line.update(self._caption(), raw=True)
            self._handle.update(shown)

    def _set_buttons(self) -> None:
        running, stopped = self._watch.running, self._watch.state == "stopped"
        self._go.description, self._go.icon = ("Pause", "pause") if running else ("Start", "play")
        self._go.tooltip = "Send no further ping, until it is started again" if running else "Go on with the pings"
        self._end.disabled = stopped

    def _set_menus(self) -> None:
        series = self._watch.series
        if series is self._in_menus:
            return
        # It may have been changed in a cell, which nobody has chosen here.
        self._in_menus, self._are_set = series, True
        rate_hz = math.inf if series.plan.rate_hz is None else series.plan.rate_hz
        if rate_hz not in dict(self._rate.options).values():
            self._rate.options = _rates(rate_hz, free=self._free)
        self._rate.value, self._http.value = rate_hz, series.http
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
                self._say_that_it_is_gone()

        return handler

    def _say_that_it_is_gone(self) -> None:
        for control in (self._go, self._end, self._rate, self._http):
            control.disabled = True
        self._card.value += muted("No variable holds this watch any more: start another with %donutwork watch.")

    def _caption(self) -> dict[str, str]:
        return caption(self._watch, self._ended_s)

    def _bundle(self) -> WidgetAndLine:
        return WidgetAndLine(self.box, self._caption()["text/plain"])


def _dropdown(name: str, options: Sequence[tuple[str, object]]) -> Dropdown:
    return Dropdown(
        description=name, options=options, style={"description_width": "initial"}, layout=Layout(width="auto")
    )


def _rates(current_hz: float, *, free: bool) -> list[tuple[str, float]]:
    # As ipywidgets takes None for no choice at all, here the rate of pings back to back is infinite.
    rates = {*_RATES_HZ, *((*_MORE_RATES_HZ, math.inf) if free else ()), current_hz}
    polite = sorted(rate for rate in rates if free or rate <= POLITE_RATE_HZ)
    return [("max" if rate == math.inf else f"{rate:.3g}/s", rate) for rate in polite]
