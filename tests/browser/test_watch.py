"""A watch in JupyterLab: a panel that the keyboard reaches, that outlives a reload, and that becomes a card."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import put_notebook
from tests.browser.test_lab import DEAD_WIDGET, START, assert_cards_are_readable, assert_no_widget_is_left, cards
from tests.support.jupyter import PATIENCE_S, App, JupyterServer, open_notebook

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_S * 1000)

CHART = re.compile("^Durations of the last ")


def pings(page: Page) -> int:
    """How many the panel has counted."""
    return int(counter(page).inner_text().split()[0])


def counter(page: Page) -> Locator:
    return page.locator(".widget-html").get_by_text("pings", exact=True).locator("xpath=..")


def expect_more_pings(page: Page) -> None:
    expect(counter(page)).not_to_have_text(counter(page).inner_text())


def control(page: Page, name: str) -> Locator:
    return page.locator(".widget-hbox").get_by_role("button", name=name)


@pytest.mark.parametrize("app", get_args(App))
def test_the_keyboard_pauses_starts_and_stops_it_and_its_card_is_saved(
    browser: Browser, server: JupyterServer, app: App
) -> None:
    name = put_notebook(server, f"watch-{app}.ipynb", START, "w = %donutwork watch -r 20", "1 + 1")
    with open_notebook(browser, server, name, app=app) as notebook:
        page = notebook.page
        notebook.run_all()
        expect(page.get_by_text("ping: running")).to_be_visible()
        expect(page.get_by_role("img", name=CHART)).to_be_visible()
        expect_more_pings(page)
        pause, start, stop = (control(page, name) for name in ("Pause", "Start", "Stop"))
        pause.focus()
        for key in ("Space", "Enter"):
            expect(page.get_by_text("ping: running")).to_be_visible()
            page.keyboard.press(key)
            expect(page.get_by_text("ping: paused")).to_be_visible()
            expect(start).to_be_focused()
            page.keyboard.press(key)
        expect(page.get_by_text("ping: running")).to_be_visible()
        for each in (stop, page.get_by_label("Rate"), page.get_by_label("Protocol")):
            page.keyboard.press("Tab")
            expect(each).to_be_focused()
        stop.focus()
        page.keyboard.press("Space")
        # The panel has the card a moment before the output has.
        expect(pause).to_have_count(0)
        expect(page.get_by_text(re.compile(r"\d+ pings, no errors"))).to_be_visible()
        expect(page.get_by_role("img", name=re.compile("^Histogram of "))).to_be_visible()
        assert_cards_are_readable(notebook)
        assert_no_widget_is_left(notebook)
        shown = cards(notebook)
        notebook.save_and_reopen()
        expect(page.get_by_role("img", name=re.compile("^Histogram of "))).to_be_visible()
        assert cards(notebook) == shown
        assert_no_widget_is_left(notebook)


def test_it_ends_with_its_kernel_and_goes_on_after_a_reload(browser: Browser, server: JupyterServer) -> None:
    name = put_notebook(server, "watch-reload.ipynb", START, "w = %donutwork watch -r 40", "1 + 1")
    with open_notebook(browser, server, name) as notebook:
        page = notebook.page
        chart = page.get_by_role("img", name=CHART)
        notebook.run_all()
        expect(chart).to_be_visible()
        notebook.restart()
        expect(page.locator(".jupyter-widgets-disconnected").first).to_be_visible()
        left = pings(page)
        page.wait_for_timeout(500)
        assert pings(page) == left
        line = r"Watch of the sandbox, started .* UTC; running, \d+ pings? by .* UTC; it stops when its kernel stops"
        assert re.search(line, cards(notebook)[-1])

        notebook.run_all()
        expect(chart).to_be_visible()
        notebook.save_and_reopen()
        expect(page.get_by_text("ping: running")).to_be_visible()
        expect(chart).to_be_visible()
        expect_more_pings(page)
        control(page, "Pause").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("ping: paused")).to_be_visible()
        page.keyboard.press("Enter")
        expect(page.get_by_text("ping: running")).to_be_visible()

        # A cell that stops it saves its card: it is in the panel, and below the cell.
        page.locator(".jp-CodeCell .cm-content").last.click()
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.type("w.stop()")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_text(re.compile(r"\d+ pings, no errors"))).to_have_count(2)
        assert re.search(r"\d+ pings, no errors", cards(notebook)[-1])
        expect(control(page, "Stop")).to_be_disabled()
        text = page.inner_text(".jp-Notebook")
        assert not [words for words in DEAD_WIDGET if words in text]
