"""A watch in JupyterLab: a panel that the keyboard reaches, that outlives a reload, and that becomes a card."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import put_notebook
from tests.browser.test_lab import DEAD_WIDGET, START, assert_cards_are_readable, assert_no_widget_is_left, cards
from tests.support.jupyter import PATIENCE_S, JupyterServer, Theme, open_notebook

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_S * 1000)

CHART = re.compile("^Durations of the last ")


def pings(page: Page) -> int:
    """How many the panel has counted."""
    figure = page.locator(".widget-html").get_by_text("pings", exact=True).locator("xpath=..")
    return int(figure.inner_text().split()[0])


def expect_more_pings(page: Page) -> None:
    before = pings(page)
    page.wait_for_timeout(1500)
    assert pings(page) > before


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_the_keyboard_pauses_starts_and_stops_it_also_after_a_reload(
    browser: Browser, server: JupyterServer, theme: Theme
) -> None:
    name = put_notebook(server, f"watch-{theme}.ipynb", START, "w = %donutwork watch -r 20", "1 + 1")
    with open_notebook(browser, server, name, theme=theme) as notebook:
        page = notebook.page
        notebook.run_all()
        expect(page.get_by_text("ping: running")).to_be_visible()
        expect(page.get_by_role("img", name=CHART)).to_be_visible()
        expect_more_pings(page)
        pause, start, stop = (
            page.locator(".widget-hbox").get_by_role("button", name=name) for name in ("Pause", "Start", "Stop")
        )
        pause.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("ping: paused")).to_be_visible()
        expect(start).to_be_focused()
        page.keyboard.press("Space")
        expect(page.get_by_text("ping: running")).to_be_visible()
        for label in ("Stop", "Rate", "Protocol"):
            page.keyboard.press("Tab")
            control = stop if label == "Stop" else page.get_by_label(label)
            expect(control).to_be_focused()

        notebook.save_and_reopen()
        expect(page.get_by_text("ping: running")).to_be_visible()
        expect_more_pings(page)
        pause.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("ping: paused")).to_be_visible()
        page.keyboard.press("Enter")
        expect(page.get_by_text("ping: running")).to_be_visible()
        stop.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text(re.compile(r"\d+ pings, no errors"))).to_be_visible()
        expect(stop).to_be_disabled()
        text = page.inner_text(".jp-Notebook")
        assert not [words for words in DEAD_WIDGET if words in text]


def test_stopping_leaves_a_card_that_is_saved(browser: Browser, server: JupyterServer) -> None:
    name = put_notebook(server, "watch-stop.ipynb", START, "w = %donutwork watch -r 40")
    with open_notebook(browser, server, name) as notebook:
        page = notebook.page
        notebook.run_all()
        expect(page.get_by_role("img", name=CHART)).to_be_visible()
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text(re.compile(r"\d+ pings, no errors"))).to_be_visible()
        expect(page.get_by_role("button", name="Pause")).to_have_count(0)
        expect(page.get_by_role("img", name=re.compile("^Histogram of "))).to_be_visible()
        assert_cards_are_readable(notebook)
        notebook.save_and_reopen()
        expect(page.get_by_role("img", name=re.compile("^Histogram of "))).to_be_visible()
        assert_no_widget_is_left(notebook)


def test_with_its_kernel_it_ends_and_tells_since_when_it_was(browser: Browser, server: JupyterServer) -> None:
    name = put_notebook(server, "watch-restart.ipynb", START, "w = %donutwork watch -r 40")
    with open_notebook(browser, server, name) as notebook:
        page = notebook.page
        notebook.run_all()
        expect(page.get_by_role("img", name=CHART)).to_be_visible()
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
        expect(page.locator(".jupyter-widgets-disconnected").first).to_be_visible()
        left = pings(page)
        page.wait_for_timeout(1000)
        assert pings(page) == left
        assert re.search(r"Watch of the sandbox, started .* UTC; it ends with its kernel", cards(notebook)[-1])


def test_a_cell_that_stops_it_after_a_reload_saves_its_card(browser: Browser, server: JupyterServer) -> None:
    name = put_notebook(server, "watch-reload.ipynb", START, "w = %donutwork watch -r 40", "1 + 1")
    with open_notebook(browser, server, name) as notebook:
        page = notebook.page
        notebook.run_all()
        expect(page.get_by_role("img", name=CHART)).to_be_visible()
        notebook.save_and_reopen()
        expect(page.get_by_role("img", name=CHART)).to_be_visible()
        page.locator(".jp-CodeCell .cm-content").last.click()
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.type("w.stop()")
        page.keyboard.press("Control+Enter")
        # In the panel, and below the cell.
        expect(page.get_by_text(re.compile(r"\d+ pings, no errors"))).to_have_count(2)
        assert re.search(r"\d+ pings, no errors", cards(notebook)[-1])
