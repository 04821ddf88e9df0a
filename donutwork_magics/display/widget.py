"""The live card of a single call (``--widget``): its card, and buttons that call again or measure."""

from __future__ import annotations

import contextvars
import html
import threading
from collections.abc import Callable

from IPython.display import display
from ipywidgets import HTML, Button, HBox, VBox

from donutwork_magics.display import card_of
from donutwork_magics.display.html import to_html
from donutwork_magics.display.live import WidgetAndLine
from donutwork_magics.display.text import to_text
from donutwork_magics.display.units import clean
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import DonutworkError, Interrupted


def call_widget(result: Displayed, *, again: Callable[[], Displayed], measure: Callable[[], Displayed]) -> CallWidget:
    """Show the live card of a call.

    Parameters
    ----------
    result
        The call that was made.
    again
        Makes it once more.
    measure
        Makes a series of 50 pings. Both are called from a thread, one at a time.
    """
    widget = CallWidget(result, again=again, measure=measure)
    # A terminal, and a console, show the text.
    display(WidgetAndLine(widget.box, to_text(card_of(result))))
    return widget


class CallWidget:
    """A card with buttons; `box` is what is displayed.

    Attributes
    ----------
    box : ipywidgets.VBox
        The card of the call, the buttons, a line that says what is going on, and the card of the series.
    """

    def __init__(self, result: Displayed, *, again: Callable[[], Displayed], measure: Callable[[], Displayed]) -> None:
        self._call = HTML(to_html(card_of(result)))
        self._series = HTML()
        self._status = HTML()
        self._buttons = (
            _button("Again", "Make the same call once more"),
            _button("Measure 50", "Make 50 pings, five a second, and show their latency"),
        )
        again_button, measure_button = self._buttons
        again_button.on_click(lambda _button: self._start(again, self._call, "calling…"))
        measure_button.on_click(
            lambda _button: self._start(measure, self._series, "measuring 50 pings, about ten seconds…")
        )
        self.box = VBox([self._call, HBox([*self._buttons, self._status]), self._series])

    def _start(self, action: Callable[[], Displayed], place: HTML, status: str) -> None:
        # Disabled by the first click, before the next can be looked at: so there is one thread at a time.
        if any(button.disabled for button in self._buttons):
            return
        self._set_busy(True)
        self._status.value = _line(status)
        # A plain thread has no parent message, and ipykernel then loses what it sends after a page reload. It is a
        # thread at all because a handler that waits would hold up every other message of the widgets.
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(self._carry_out, action, place), name="donutwork-widget", daemon=True
        ).start()

    def _carry_out(self, action: Callable[[], Displayed], place: HTML) -> None:
        status = ""
        try:
            place.value = to_html(card_of(action()))
        except (DonutworkError, Interrupted) as error:
            status = f"✗ {error}"
        except Exception as error:
            # Its text is not ours, and might tell what nobody should see.
            status = f"✗ unexpected: {type(error).__name__}"
        finally:
            self._status.value = _line(status)
            self._set_busy(False)

    def _set_busy(self, busy: bool) -> None:
        for button in self._buttons:
            button.disabled = busy


def _button(description: str, tooltip: str) -> Button:
    return Button(description=description, tooltip=tooltip)


def _line(text: str) -> str:
    return f'<span role="status">{html.escape(clean(text))}</span>' if text else ""
