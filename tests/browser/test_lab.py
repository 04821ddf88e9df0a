"""What is seen in JupyterLab and Notebook 7, by a person who opens, runs, saves and opens again."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import put_copy, put_notebook
from tests.support.jupyter import PATIENCE_S, App, JupyterServer, Notebook, Theme, open_notebook

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_S * 1000)

DEAD_WIDGET = ("Error displaying widget", "model not found", "Loading widget")
START = "%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;"
CARDS = """[...document.querySelectorAll(".jp-OutputArea-output[data-mime-type='text/html']")]
    .filter(output => !output.querySelector('table.dataframe'))"""
# Each text of the cards with its contrast, as WCAG 2.2 counts it ("relative luminance", "contrast ratio").
CONTRASTS = (
    """() => {
    const channels = colour => colour.match(/[\\d.]+/g).map(Number);
    const luminance = rgb => rgb
        .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const backdrop = element => {
        const [r, g, b, alpha = 1] = channels(getComputedStyle(element).backgroundColor);
        return alpha > 0 ? [r, g, b] : backdrop(element.parentElement);
    };
    const opacity = element => element ? getComputedStyle(element).opacity * opacity(element.parentElement) : 1;
    const contrast = element => {
        const [r, g, b, alpha = 1] = channels(getComputedStyle(element).color);
        const behind = backdrop(element), share = alpha * opacity(element);
        const seen = [r, g, b].map((v, i) => share * v + (1 - share) * behind[i]);
        const [high, low] = [luminance(seen), luminance(behind)].sort((x, y) => y - x);
        return (high + 0.05) / (low + 0.05);
    };
    return """
    + CARDS
    + """.flatMap(card => [...card.querySelectorAll('*')])
        .filter(element => !element.closest(':disabled'))
        .filter(element => [...element.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim()))
        .map(element => [element.textContent, contrast(element)]);
}"""
)


def cards(notebook: Notebook) -> list[str]:
    """The texts of the static cards, of which there must be some."""
    texts: list[str] = notebook.page.evaluate(f"() => {CARDS}.map(card => card.innerText)")
    assert texts
    return texts


def assert_cards_are_readable(notebook: Notebook) -> None:
    """No card is wider than the place that it has, on a desktop and on a phone, and every text stands out."""
    for width in (400, 1200):
        notebook.set_width(width)
        wide = f"() => {CARDS}.filter(card => card.scrollWidth > card.clientWidth).map(card => card.innerText)"
        assert notebook.page.evaluate(wide) == []
    contrasts = notebook.page.evaluate(CONTRASTS)
    assert contrasts
    # The square of a legend is no text, and says nothing that the word beside it does not say.
    assert [(text, ratio) for text, ratio in contrasts if ratio < 4.5 and text != "■"] == []


def assert_no_widget_is_left(notebook: Notebook) -> None:
    text = notebook.page.inner_text(".jp-Notebook")
    assert not [words for words in DEAD_WIDGET if words in text]
    expect(notebook.page.locator(".jupyter-widgets")).to_have_count(0)


def assert_cards_are_readable_in_both_themes(notebook: Notebook) -> None:
    for theme in get_args(Theme):
        notebook.set_theme(theme)
        assert_cards_are_readable(notebook)


def test_the_first_notebook_is_readable_as_it_comes_and_runs_and_its_cards_outlive_the_kernel(
    browser: Browser, server: JupyterServer
) -> None:
    name = put_copy(server, "01_first_ping.ipynb", "first.ipynb", outputs=True)
    with open_notebook(browser, server, name) as notebook:
        success = notebook.page.locator("strong", has_text="success").first
        expect(success).to_be_visible()
        assert not notebook.is_trusted()
        assert_cards_are_readable_in_both_themes(notebook)
        assert_no_widget_is_left(notebook)

        notebook.command("notebook:clear-all-cell-outputs")
        expect(success).to_have_count(0)
        notebook.run_all()
        expect(success).to_be_visible()
        expect(notebook.page.get_by_text("60 pings, no errors").first).to_be_visible()
        assert_cards_are_readable_in_both_themes(notebook)
        shown = cards(notebook)
        notebook.save_and_reopen()
        notebook.page.wait_for_function(f"count => {CARDS}.length === count", arg=len(shown))
        assert cards(notebook) == shown
        assert_no_widget_is_left(notebook)


SERIES = (
    START,
    "df = %donutwork ping -n 40 -r 20",
    "%%donutwork -n 30 -r 20 -o both\na: ping\nb: ping --cold",
    "df = %donutwork ping -n 4000 -r 20",
    "print('went', 'on')",
)


@pytest.mark.parametrize("app", get_args(App))
def test_a_series_shows_progress_and_then_its_card_in_the_same_place(
    browser: Browser, server: JupyterServer, app: App
) -> None:
    with open_notebook(browser, server, put_notebook(server, f"series-{app}.ipynb", *SERIES), app=app) as notebook:
        page = notebook.page
        notebook.start_all()
        expect(page.get_by_text("ping: running")).to_be_visible()
        expect(page.get_by_role("progressbar", name="pings done")).to_be_visible()
        expect(page.get_by_text("40 pings, no errors").first).to_be_visible()
        # A cell of several lines names the one that pings.
        for title in ("a (1 of 2): running", "b (2 of 2): running"):
            expect(page.get_by_text(title)).to_be_visible()
        expect(page.get_by_text("60 pings, no errors").first).to_be_visible()
        # An interrupt leaves the card of the completed rows, and stops what comes after.
        done = page.get_by_text(re.compile(r"^\d+/4000$"))
        expect(done).to_be_visible()
        expect(done).not_to_have_text(done.inner_text())
        expect(page.locator(".jp-OutputArea svg[role=img]")).to_be_visible()
        notebook.command("notebook:interrupt-kernel")
        interrupted = page.locator("strong", has_text=re.compile(r"interrupted: \d+ pings"))
        expect(interrupted).to_be_visible()
        expect(page.get_by_text("rows are kept in _donutwork, and nothing was assigned.").first).to_be_visible()
        notebook.wait_until_idle()
        shown = cards(notebook)
        assert len(shown) == 3
        assert_no_widget_is_left(notebook)
        notebook.save_and_reopen()
        expect(interrupted).to_be_visible()
        assert cards(notebook) == shown
        assert_no_widget_is_left(notebook)
        expect(page.get_by_text("running")).to_have_count(0)
        expect(page.locator(".jp-OutputArea-output", has_text="went on")).to_have_count(0)


def test_a_tab_completes_what_the_grammar_has_there(browser: Browser, server: JupyterServer) -> None:
    name = put_notebook(server, "tab.ipynb", "%load_ext donutwork_magics", "1")
    with open_notebook(browser, server, name) as notebook:
        notebook.run_all()
        editor = notebook.page.locator(".jp-CodeCell .cm-content").last
        offered = notebook.page.locator(".jp-Completer-item")
        for typed, words in (("%donutwork check --", 7), ("df = %donutwork sandbox sto", 1)):
            editor.click()
            notebook.page.keyboard.press("ControlOrMeta+A")
            notebook.page.keyboard.type(typed)
            # Before that, a Tab would indent.
            notebook.page.wait_for_selector(".jp-mod-completer-enabled")
            notebook.page.keyboard.press("Tab")
            expect(offered).to_have_count(words)
        notebook.page.keyboard.press("Enter")
        expect(editor).to_have_text("df = %donutwork sandbox stop")


def test_the_live_card_calls_again_and_measures_by_mouse_and_keyboard(browser: Browser, server: JupyterServer) -> None:
    name = put_notebook(server, "widget.ipynb", START, "%donutwork ping --widget")
    with open_notebook(browser, server, name) as notebook:
        page = notebook.page
        notebook.run_all()
        again, measure = (page.get_by_role("button", name=name) for name in ("Again", "Measure 50"))
        [first] = cards(notebook)
        again.click()
        page.wait_for_function(f"first => {CARDS}[0].innerText !== first", arg=first)
        expect(again).to_be_enabled()
        [second] = cards(notebook)

        notebook.save_and_reopen()
        page.wait_for_function(f"() => {CARDS}.length === 1")
        assert cards(notebook) == [second]
        again.focus()
        page.keyboard.press("Tab")
        expect(measure).to_be_focused()
        page.keyboard.press("Space")
        # The page does not know any more where the cards are to be updated.
        expect(page.locator(".widget-html").get_by_text("50 pings, no errors")).to_be_visible()
        expect(again).to_be_enabled()

        # The buttons go with their kernel, and the card stays.
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
        expect(page.locator(".jupyter-widgets-disconnected").first).to_be_visible()
        assert cards(notebook) == [second]
        assert_cards_are_readable(notebook)
