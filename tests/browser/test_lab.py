"""What is seen in JupyterLab and Notebook 7, by a person who opens, runs, saves and opens again."""

from __future__ import annotations

import contextlib

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import TimeoutError as NotYet

from tests.browser.conftest import put_copy, put_notebook
from tests.support.jupyter import PATIENCE_S, JupyterServer, Notebook, Theme, new_page, open_notebook

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_S * 1000)

DEAD_WIDGET = ("Error displaying widget", "model not found", "Loading widget")
START = "%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;"


def assert_cards_fit(notebook: Notebook) -> None:
    """No output is wider than the place that it has, tables of pandas apart."""
    wide = notebook.page.evaluate(
        """() => [...document.querySelectorAll('.jp-RenderedHTMLCommon')]
            .filter(output => !output.querySelector('table.dataframe'))
            .filter(output => output.scrollWidth > output.clientWidth + 1)
            .map(output => output.innerText.slice(0, 60))"""
    )
    assert wide == []


def assert_no_dead_widget(notebook: Notebook) -> None:
    text = notebook.page.inner_text(".jp-Notebook")
    assert not [words for words in DEAD_WIDGET if words in text]


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_the_first_notebook(browser: Browser, server: JupyterServer, theme: Theme, width: int) -> None:
    name = put_copy(server, "01_first_ping.ipynb", f"first-{theme}-{width}.ipynb")
    notebook = open_notebook(browser, server, name, theme=theme, width=width)
    notebook.run_all()
    page = notebook.page
    expect(page.locator("strong", has_text="success").first).to_be_visible()
    expect(page.get_by_text("60 pings, no errors").first).to_be_visible()
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert_cards_fit(notebook)
    notebook.save_and_reopen()
    expect(page.locator("strong", has_text="success").first).to_be_visible()
    expect(page.get_by_text("60 pings, no errors").first).to_be_visible()
    assert_no_dead_widget(notebook)
    assert notebook.complaints == []
    page.close()


def test_a_series_shows_progress_and_then_its_card_in_the_same_place(browser: Browser, server: JupyterServer) -> None:
    name = put_notebook(server, "live.ipynb", START, "df = %donutwork ping -n 40 -r 10")
    notebook = open_notebook(browser, server, name)
    page = notebook.page
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
    )
    notebook.command("notebook:run-all-cells")
    expect(page.get_by_text("ping: running")).to_be_visible()
    expect(page.get_by_text("pings done")).to_be_visible()
    notebook.wait_until_done()
    expect(page.get_by_text("40 pings, no errors").first).to_be_visible()
    expect(page.get_by_text("ping: running")).to_have_count(0)
    notebook.save_and_reopen()
    expect(page.get_by_text("40 pings, no errors").first).to_be_visible()
    assert_no_dead_widget(notebook)
    assert notebook.complaints == []
    page.close()


def test_an_interrupt_leaves_the_card_of_the_completed_rows(browser: Browser, server: JupyterServer) -> None:
    name = put_notebook(server, "interrupt.ipynb", START, "df = %donutwork ping -n 4000 -r 10", "print(1)")
    notebook = open_notebook(browser, server, name)
    page = notebook.page
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
    )
    notebook.command("notebook:run-all-cells")
    expect(page.get_by_text("ping: running")).to_be_visible()
    page.wait_for_timeout(1000)
    notebook.command("notebook:interrupt-kernel")
    expect(page.get_by_text("interrupted:").first).to_be_visible()
    expect(page.get_by_text("rows are kept.").first).to_be_visible()
    expect(page.get_by_text("ping: running")).to_have_count(0)
    page.close()


def test_the_live_card_of_a_call(browser: Browser, server: JupyterServer) -> None:
    name = put_notebook(server, "widget.ipynb", START, "%donutwork ping --widget")
    notebook = open_notebook(browser, server, name)
    page = notebook.page
    notebook.run_all()
    again, measure = (page.get_by_role("button", name=name) for name in ("Again", "Measure 50"))
    card = page.locator(".widget-html").first
    before = card.inner_html()
    again.click()
    page.wait_for_function("before => document.querySelector('.widget-html').innerHTML !== before", arg=before)
    expect(again).to_be_enabled()
    again.focus()
    page.keyboard.press("Tab")
    expect(measure).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("50 pings, no errors")).to_be_visible()
    expect(again).to_be_enabled()
    assert notebook.complaints == []
    page.close()


def test_notebook_7(browser: Browser, server: JupyterServer) -> None:
    name = put_notebook(server, "seven.ipynb", START, "%donutwork ping", "df = %donutwork ping -n 5 -r 50")
    page, complaints = new_page(browser, 1200)
    page.goto(f"{server.url}/notebooks/{name}")
    success = page.locator("strong", has_text="success").first
    for _try in range(5):
        # As long as the page has no kernel yet, Notebook drops what is run, and does not say so.
        page.locator(".jp-Notebook .jp-Cell").first.locator(".cm-content").click()
        for _cell in range(3):
            page.keyboard.press("Shift+Enter")
        with contextlib.suppress(NotYet):
            success.wait_for(timeout=PATIENCE_S / 5 * 1000)
            break
    expect(success).to_be_visible()
    expect(page.get_by_text("5 pings, no errors").first).to_be_visible()
    # Its own plugins complain of commands and settings that only JupyterLab has.
    assert not [complaint for complaint in complaints if complaint.startswith("request")]
    page.close()
