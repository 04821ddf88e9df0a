"""Everything that we show, under the rules of axe-core: while it is live, and as it is left."""

from __future__ import annotations

from typing import get_args

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import put_notebook
from tests.browser.test_lab import CARDS, CONTRASTS, START
from tests.support.axe import look
from tests.support.jupyter import PATIENCE_S, JupyterServer, Notebook, Theme, open_notebook

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_S * 1000)

SHOWN = (
    f"{START}\n%donutwork",
    "%donutwork ping",
    "%donutwork check",
    "df = %donutwork ping -n 400 -r max",
    "%%donutwork -n 10 -r max -o both\nkept: ping\nnew: ping --cold",
    "%donutwork sandbox start --fault server_error:0.3\ndf = %donutwork ping -n 20 -r max --journal rows.jsonl",
    "%donutwork load rows.jsonl -o df",
    "%donutwork sandbox start --seed 1;\n%donutwork connection --widget",
    "w = %donutwork watch -r 20\nw",
    "import time\nwhile len(w.df) < 10: time.sleep(0.1)",
)
OURS = """[...document.querySelectorAll('.jp-OutputArea-output')]
    .filter(output => !output.querySelector('table.dataframe'))"""
RULES_OF_CARDS = {"image-alt", "summary-name", "td-headers-attr", "th-has-data-cells"}
RULES_OF_CONTROLS = {"button-name", "select-name"}
RULES_OF_LIVE_CHARTS = {"svg-img-alt"}


def assert_accessible(notebook: Notebook, rules: set[str]) -> None:
    """Nothing breaks a rule, in any theme and width, and what is folded neither; and some rules were tested at all."""
    page = notebook.page
    page.evaluate(f"() => {OURS}.flatMap(o => [...o.querySelectorAll('details')]).forEach(d => d.open = true)")
    for theme in get_args(Theme):
        notebook.set_theme(theme)
        # It covers the page while the theme changes, and axe does not test what is covered.
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        for width in (1200, 400):
            notebook.set_width(width)
            # In this page axe looks at the contrast of controls only: that of text is counted here.
            contrasts = page.evaluate(CONTRASTS.replace(CARDS, OURS))
            assert contrasts
            assert [(text, ratio) for text, ratio in contrasts if ratio < 4.5 and text != "■"] == []
            found = look(page, OURS)
            assert (theme, width, found.broken) == (theme, width, [])
            assert rules <= found.kept


def test_axe_finds_what_is_wrong(browser: Browser) -> None:
    page = browser.new_page()
    try:
        page.set_content('<button></button><img src="data:image/gif;base64,R0lGODlhAQABAAA">')
        broken = look(page, "document.body").broken
    finally:
        page.close()
    assert [line for line in broken if line.startswith("critical: Buttons must have discernible text")]
    assert [line for line in broken if line.startswith("critical: Images must have alternative text")]


def test_all_that_is_shown_is_accessible(browser: Browser, server: JupyterServer) -> None:
    with open_notebook(browser, server, put_notebook(server, "accessible.ipynb", *SHOWN)) as notebook:
        notebook.run_all()
        expect(notebook.page.get_by_text("ping: running")).to_have_count(1)
        assert_accessible(notebook, RULES_OF_CARDS | RULES_OF_CONTROLS | RULES_OF_LIVE_CHARTS)
        notebook.page.get_by_role("button", name="Measure 50").click()
        expect(notebook.page.get_by_role("status")).to_be_visible()
        assert_accessible(notebook, RULES_OF_CONTROLS)
        notebook.page.get_by_role("button", name="Stop").click()
        expect(notebook.page.get_by_role("button", name="Stop")).to_have_count(0)
        assert_accessible(notebook, RULES_OF_CARDS)


def test_a_running_series_is_accessible(browser: Browser, server: JupyterServer) -> None:
    name = put_notebook(server, "accessible-live.ipynb", START, "%donutwork ping -n 4000 -r 20")
    with open_notebook(browser, server, name) as notebook:
        notebook.start_all()
        expect(notebook.page.get_by_role("progressbar", name="pings done")).to_be_visible()
        expect(notebook.page.locator(".jp-OutputArea svg[role=img]")).to_be_visible()
        assert_accessible(notebook, {"aria-progressbar-name"} | RULES_OF_LIVE_CHARTS)
        notebook.command("notebook:interrupt-kernel")
        notebook.wait_until_idle()
