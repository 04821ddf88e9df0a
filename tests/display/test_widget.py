"""The buttons of a call: they call again and measure, one at a time, and an error is one line beside them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import CapturedIO, capture_output
from ipywidgets import Button
from traitlets.config import Config

from donutwork_magics.display.widgets import CallWidget
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import DonutworkError, Interrupted
from tests.display.values import ping, run


@pytest.fixture(autouse=True, scope="module")
def _shell() -> Iterator[None]:
    """Without a shell, what is displayed is printed only."""
    InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield
    InteractiveShell.clear_instance()


class Panel:
    """What a user sees and presses of a widget."""

    def __init__(self, again: Callable[[], Displayed] = ping, measure: Callable[[], Displayed] = run) -> None:
        self._widget = CallWidget(ping(), again=again, measure=measure)
        with capture_output() as shown:
            self._widget.show()
        self._outputs = [outputs(shown)[1]]

    @property
    def cards(self) -> str:
        """The output below the buttons."""
        return self._outputs[-1]

    @property
    def cards_in_widget(self) -> str:
        return str(self._widget.box.children[1].value)

    @property
    def again(self) -> Button:
        return self._widget.box.children[0].children[0]

    @property
    def measure(self) -> Button:
        return self._widget.box.children[0].children[1]

    @property
    def status(self) -> str:
        return str(self._widget.box.children[0].children[2].value)

    def press(self, button: Button) -> None:
        # What is captured is that of all threads.
        with capture_output() as shown:
            button.click()
            for thread in threading.enumerate():
                if thread.name == "donutwork-widget":
                    thread.join(10)
        self._outputs += outputs(shown)

    def load_anew(self) -> None:
        self._widget.box.get_state()


def outputs(shown: CapturedIO) -> list[str]:
    return [output.data.get("text/html", "") for output in shown.outputs]


def raising(error: BaseException) -> Callable[[], Displayed]:
    def action() -> Displayed:
        raise error

    return action


def test_it_begins_with_the_card_of_the_call_and_no_series() -> None:
    panel = Panel()
    assert "success" in panel.cards
    assert "pings" not in panel.cards
    assert (panel.status, panel.cards_in_widget) == ("", "")


def test_both_buttons_say_what_they_do() -> None:
    panel = Panel()
    assert (panel.again.description, panel.measure.description) == ("Again", "Measure 50")
    assert panel.again.tooltip
    assert panel.measure.tooltip


def test_again_replaces_the_card_of_the_call() -> None:
    panel = Panel(again=lambda: ping("production"))
    panel.press(panel.again)
    assert "production" in panel.cards
    assert panel.cards.count("✓ success") == 1
    assert (panel.status, panel.cards_in_widget) == ("", "")


def test_measure_adds_the_card_of_the_series() -> None:
    panel = Panel()
    panel.press(panel.measure)
    assert "70 pings" in panel.cards
    assert "success" in panel.cards
    assert panel.cards_in_widget == ""


def test_a_page_that_was_loaded_anew_shows_the_cards_below_the_buttons() -> None:
    panel = Panel()
    panel.load_anew()
    assert panel.cards_in_widget == ""
    panel.press(panel.measure)
    assert "70 pings" in panel.cards_in_widget
    assert panel.cards_in_widget == panel.cards


def test_one_call_at_a_time_and_never_in_the_thread_of_the_click() -> None:
    released = threading.Event()
    calls: list[threading.Thread] = []

    def again() -> Displayed:
        calls.append(threading.current_thread())
        released.wait(10)
        return ping()

    panel = Panel(again=again)
    panel.again.click()
    assert panel.again.disabled
    assert panel.measure.disabled
    assert "calling" in panel.status
    panel.measure.click()
    released.set()
    calls[0].join(10)
    assert len(calls) == 1
    assert calls[0] is not threading.current_thread()
    assert not panel.again.disabled
    assert "pings" not in panel.cards


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DonutworkError("No <network>. Check it."), '"alert">✗ No &lt;network&gt;. Check it.'),
        (Interrupted("Interrupted: 3 rows are kept."), '"alert">✗ Interrupted: 3 rows are kept.'),
        (RuntimeError("secret"), '"alert">✗ unexpected: RuntimeError'),
    ],
)
def test_an_error_is_one_line_and_the_last_card_stays(error: BaseException, line: str) -> None:
    panel = Panel(again=raising(error))
    panel.press(panel.again)
    assert line in panel.status
    assert "secret" not in panel.status
    assert "success" in panel.cards
    assert not panel.again.disabled


def test_the_next_success_takes_the_error_away() -> None:
    outcomes = iter([raising(DonutworkError("No network.")), ping])

    def again() -> Displayed:
        return next(outcomes)()

    panel = Panel(again=again)
    panel.press(panel.again)
    panel.press(panel.again)
    assert panel.status == ""


def test_it_displays_itself() -> None:
    with capture_output() as shown:
        CallWidget(ping(), again=ping, measure=run).show()
    buttons, cards = (output.data for output in shown.outputs)
    assert "application/vnd.jupyter.widget-view+json" in buttons
    assert cards["text/plain"].startswith("✓ Ping: success")
    assert cards.keys() == {"text/plain", "text/html"}
