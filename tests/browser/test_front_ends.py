"""Every kind of card and every live view in both front ends: run, loaded anew, without its kernel, and not trusted."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, get_args

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import put_notebook
from tests.browser.test_lab import CARDS, CONTRASTS, START, assert_no_widget_is_left
from tests.support.jupyter import PATIENCE_S, App, JupyterServer, Notebook, Theme, open_notebook

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_S * 1000)

ALL_CARDS = (
    f"{START}\n%donutwork",
    "%donutwork help ping",
    "%donutwork sandbox status",
    "%donutwork ping",
    "%donutwork connection",
    "%donutwork check",
    "%donutwork sandbox start --seed 1 --fault forbidden:1;\n%donutwork check",
    "%donutwork sandbox start --seed 1 --fault server_error:0.3;\n"
    "df = %donutwork ping -n 400 -r max --journal rows.jsonl",
    "%%donutwork -n 20 -r max -o both\nkept: ping\nwith-a-connection-of-its-own-each-time: ping --cold",
    "%donutwork load rows.jsonl -o again",
    "df.donutwork",
    "w = %donutwork watch -r 40\nimport time\nwhile w.df.shape[0] < 10: time.sleep(0.05)\nw.stop()\nw",
)
WATCHED = "Watch of the sandbox"
TITLES = ["Donutwork", "Sandbox", "Ping", "Connection", "Check", "Check", *["Pings"] * 5, WATCHED, "Watch"]
# All cards, unfolded: what is wrong with them as they stand there now, one line each.
FAULTS = (
    """() => {
    const cards = """
    + CARDS
    + """;
    const faults = [];
    const wider = (element, what) =>
        element.scrollWidth > element.clientWidth && faults.push(`${what} is wider than its place`);
    wider(document.documentElement, 'the page');
    wider(document.querySelector('.jp-WindowedPanel-outer'), 'the notebook');
    for (const card of cards) {
        const what = card.innerText.slice(0, 40);
        wider(card, what);
        wider(card.closest('.jp-OutputArea'), what);
        for (const caption of card.querySelectorAll('caption')) {
            if (caption.closest('[style*=overflow-x]')) faults.push(`${what}: scrolled: ${caption.innerText}`);
        }
        for (const row of [...card.querySelectorAll('tr')].filter(row => row.style.display === 'flex')) {
            const time = document.createRange();
            time.selectNodeContents(row.children[2]);
            const edge = row.getBoundingClientRect().right - time.getBoundingClientRect().right;
            if (time.toString() && Math.abs(edge) > 2) faults.push(`${what}: not at the right: ${time}`);
        }
        for (const image of card.querySelectorAll('img')) {
            const box = image.getBoundingClientRect();
            if (!(image.alt && image.complete && image.naturalWidth && box.height > 50)) faults.push(`image: ${what}`);
        }
        const texts = document.createTreeWalker(card, NodeFilter.SHOW_TEXT);
        const range = document.createRange();
        while (texts.nextNode()) {
            for (const word of texts.currentNode.data.matchAll(/[\\p{L}\\d]+/gu)) {
                range.setStart(texts.currentNode, word.index);
                range.setEnd(texts.currentNode, word.index + word[0].length);
                const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
                if (lines.size > 1) faults.push(`${what}: broken: ${word[0]}`);
            }
        }
    }
    return faults;
}"""
)


def look(notebook: Notebook, count: int = 0) -> list[str]:
    """Look at the cards in both themes and widths, and return their texts, with what was folded."""
    page = notebook.page
    if count:
        page.wait_for_function(f"count => {CARDS}.length === count", arg=count)
    page.evaluate(f"() => {CARDS}.flatMap(o => [...o.querySelectorAll('details')]).forEach(d => d.open = true)")
    for theme in get_args(Theme):
        notebook.set_theme(theme)
        for width in (360, 400, 1200):
            notebook.set_width(width)
            assert (theme, width, page.evaluate(FAULTS)) == (theme, width, [])
        contrasts = page.evaluate(CONTRASTS)
        assert contrasts
        assert [(theme, text, ratio) for text, ratio in contrasts if ratio < 4.5 and text != "■"] == []
    assert_no_widget_is_left(notebook)
    texts: list[str] = page.evaluate(f"() => {CARDS}.map(card => card.innerText)")
    return texts


def assert_arrows_scroll(notebook: Notebook) -> None:
    """The keyboard alone reads what is wider than a narrow page."""
    notebook.set_width(400)
    table = notebook.page.get_by_role("group", name="Duration by label")
    expect(table).to_have_js_property("scrollLeft", 0)
    table.focus()
    notebook.page.keyboard.press("ArrowRight")
    expect(table).not_to_have_js_property("scrollLeft", 0)


def assert_steps_are_a_table(notebook: Notebook) -> None:
    """The browser itself tells assistive software of a table, whatever the layout of its rows is."""
    session = notebook.page.context.new_cdp_session(notebook.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    named = Counter((node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if "role" in node)
    # Of two checks.
    for name in ("State", "Step", "Time"):
        assert named["columnheader", name] == 2
    for name in ("API key", "TLS", "Proxy"):
        assert named["rowheader", name] == 2
    assert named["cell", "✗ failed"] == 2


def put_stranger(server: JupyterServer, saved: str, name: str) -> str:
    """Copy a saved notebook as if it came from elsewhere: another content than the one that was signed here."""
    content: dict[str, Any] = json.loads((server.root / saved).read_text("utf-8"))
    content["metadata"]["title"] = name
    (server.root / name).write_text(json.dumps(content))
    return name


@pytest.mark.parametrize("app", get_args(App))
def test_every_card_is_whole_run_reloaded_without_its_kernel_and_untrusted(
    browser: Browser, server: JupyterServer, app: App
) -> None:
    name = put_notebook(server, f"all-{app}.ipynb", *ALL_CARDS)
    with open_notebook(browser, server, name, app=app) as notebook:
        notebook.run_all()
        expect(notebook.page.get_by_text("Examples\n")).to_be_visible()
        shown = look(notebook)
        assert [re.split("[\n,]", text)[0] for text in shown] == TITLES
        assert_steps_are_a_table(notebook)
        assert_arrows_scroll(notebook)
        notebook.save_and_reopen()
        assert look(notebook, len(shown)) == shown
        notebook.restart()
        notebook.save_and_reopen()
        assert look(notebook, len(shown)) == shown
    with open_notebook(browser, server, put_stranger(server, name, f"strange-{app}.ipynb"), app=app) as notebook:
        # JupyterLab takes away role, label and tabindex, and no word or number.
        assert look(notebook, len(shown)) == shown
        assert not notebook.is_trusted()
        assert_steps_are_a_table(notebook)
