"""The live card of a call: its buttons call again and measure, one at a time, and an error is one line in it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from IPython.utils.capture import capture_output
from ipywidgets import HTML, Button

from donutwork_magics.display.widget import CallWidget, call_widget
from donutwork_magics.displayed import Displayed
from donutwork_magics.errors import DonutworkError, Interrupted
from tests.display.values import ping, run


class Panel:
    """What a user sees and presses of a widget."""

    def __init__(self, again: Callable[[], Displayed] = ping, measure: Callable[[], Displayed] = run) -> None:
        self._box = CallWidget(ping(), again=again, measure=measure).box

    @property
    def call(self) -> HTML:
        return self._box.children[0]

    @property
    def again(self) -> Button:
        return self._box.children[1].children[0]

    @property
    def measure(self) -> Button:
        return self._box.children[1].children[1]

    @property
    def status(self) -> str:
        return str(self._box.children[1].children[2].value)

    @property
    def series(self) -> HTML:
        return self._box.children[2]

    def press(self, button: Button) -> None:
        button.click()
        for thread in threading.enumerate():
            if thread.name == "donutwork-widget":
                thread.join(10)


def raising(error: BaseException) -> Callable[[], Displayed]:
    def action() -> Displayed:
        raise error

    return action


def test_it_begins_with_the_card_of_the_call_and_no_series() -> None:
    panel = Panel()
    assert "success" in panel.call.value
    assert panel.series.value == ""
    assert panel.status == ""


def test_both_buttons_say_what_they_do() -> None:
    panel = Panel()
    assert (panel.again.description, panel.measure.description) == ("Again", "Measure 50")
    assert panel.again.tooltip
    assert panel.measure.tooltip


def test_again_replaces_the_card_of_the_call() -> None:
    panel = Panel(again=lambda: ping("production"))
    panel.press(panel.again)
    assert "production" in panel.call.value
    assert panel.status == ""


def test_measure_adds_the_card_of_the_series() -> None:
    panel = Panel()
    panel.press(panel.measure)
    assert "70 pings" in panel.series.value
    assert "success" in panel.call.value


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
    assert panel.series.value == ""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DonutworkError("No <network>. Check it."), "✗ No &lt;network&gt;. Check it."),
        (Interrupted("Interrupted: 3 rows are kept."), "✗ Interrupted: 3 rows are kept."),
        (RuntimeError("secret"), "✗ unexpected: RuntimeError"),
    ],
)
def test_an_error_is_one_line_and_the_last_card_stays(error: BaseException, line: str) -> None:
    panel = Panel(again=raising(error))
    panel.press(panel.again)
    assert line in panel.status
    assert "secret" not in panel.status
    assert "success" in panel.call.value
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
        call_widget(ping(), again=ping, measure=run)
    text = str(shown.outputs) + shown.stdout
    assert "VBox" in text
    assert "✓ Ping: success" in text
