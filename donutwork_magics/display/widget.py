"""What ``--widget`` adds to the card of a single call: buttons that call again or measure."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from IPython.display import DisplayHandle, display
from ipywidgets import HTML, Button, HBox

from donutwork_magics.display import card_of, mimebundle
from donutwork_magics.display.html import spoken, to_html
from donutwork_magics.display.live import WidgetAndLine
from donutwork_magics.display.pages import Box
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import DonutworkError, Interrupted, OutOfThreadsError
from donutwork_magics.interrupts import start_thread

_LINE: Final = "Buttons to call again, and to measure: they work while their kernel runs."


def call_widget(result: Displayed, *, again: Callable[[], Displayed], measure: Callable[[], Displayed]) -> CallWidget:
    """Show a call with its buttons.

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
    widget.show()
    return widget


class CallWidget:
    """Buttons above the static cards of what they did.

    The cards are an output of their own, which the buttons change in its place: so a saved notebook has the latest of
    them, and loses the buttons only. A page that was loaded anew takes no such change any more: there the latest cards
    are shown below the buttons.

    Attributes
    ----------
    box : ipywidgets.VBox
        The buttons, a line that says what is going on, and the place for the cards of a page that was loaded anew.
    """

    def __init__(self, result: Displayed, *, again: Callable[[], Displayed], measure: Callable[[], Displayed]) -> None:
        self._call = result
        self._series: Displayed | None = None
        self._handle: DisplayHandle | None = None
        self._latest = HTML()
        self._status = HTML()
        self._buttons = (
            Button(description="Again", tooltip="Make the same call once more"),
            Button(description="Measure 50", tooltip="Make 50 pings, five a second, and show their latency"),
        )
        again_button, measure_button = self._buttons
        again_button.on_click(lambda _button: self._start(lambda: self._call_again(again), "calling…"))
        measure_button.on_click(
            lambda _button: self._start(lambda: self._measure(measure), "measuring 50 pings, about ten seconds…")
        )
        self.box = Box([HBox([*self._buttons, self._status], layout={"flex_flow": "row wrap"}), self._latest])

    def show(self) -> None:
        """Display the buttons and the card in the running cell."""
        display(WidgetAndLine(self.box, _LINE))
        self._handle = display(self._cards(), display_id=True)

    def _cards(self) -> _Cards:
        return _Cards((self._call,) if self._series is None else (self._call, self._series))

    def _call_again(self, again: Callable[[], Displayed]) -> None:
        self._call = again()

    def _measure(self, measure: Callable[[], Displayed]) -> None:
        self._series = measure()

    def _start(self, action: Callable[[], None], status: str) -> None:
        # Disabled by the first click, before the next can be looked at: so there is one thread at a time.
        if any(button.disabled for button in self._buttons):
            return
        self._set_busy(True)
        self._status.value = spoken(status, "status")
        # A plain thread has no parent message, and ipykernel then loses what it sends after a page reload. It is a
        # thread at all because a handler that waits would hold up every other message of the widgets.
        context = contextvars.copy_context()
        arguments = (self._carry_out, action)
        try:
            start_thread(threading.Thread(target=context.run, args=arguments, name="donutwork-widget", daemon=True))
        except OutOfThreadsError as error:
            self._status.value = spoken(f"✗ {error}", "alert")
            self._set_busy(False)

    def _carry_out(self, action: Callable[[], None]) -> None:
        problem = ""
        try:
            action()
            self._update()
        except (DonutworkError, Interrupted) as error:
            problem = f"✗ {error}"
        except Exception as error:
            # Its text is not ours, and might tell what nobody should see.
            problem = f"✗ unexpected: {type(error).__name__}"
        finally:
            self._status.value = spoken(problem, "alert")
            self._set_busy(False)

    def _update(self) -> None:
        cards = self._cards()
        if self._handle is not None:
            self._handle.update(cards)
        if self.box.loaded_anew:
            self._latest.value = cards.html()

    def _set_busy(self, busy: bool) -> None:
        for button in self._buttons:
            button.disabled = busy


@dataclass(frozen=True, slots=True)
class _Cards:
    """Cards one below the other in a single output."""

    values: tuple[Displayed, ...]

    def html(self) -> str:
        return "".join(to_html(card_of(value)) for value in self.values)

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, str]:
        texts = [mimebundle(value)["text/plain"] for value in self.values]
        return {"text/plain": "\n\n".join(texts), "text/html": self.html()}
