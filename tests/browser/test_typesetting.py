"""A server that answers in TeX: no front end makes a link, a box or a formula of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, expect

from tests.browser.conftest import put_notebook
from tests.browser.test_front_ends import put_stranger
from tests.servers import Server, answer_api, reply
from tests.support.jupyter import PATIENCE_S, App, JupyterServer, Notebook, open_notebook

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_S * 1000)

LINK = r"$\href{https://evil.example}{sign in}$"
BOX = r"\(\rule{300px}{300px}\)"
WHOLE = r"$$\href{https://evil.example}{x}$$ \[\rule{9px}{9px}\] \begin{matrix}\rule{9px}{9px}\end{matrix}"
PING = {"status": "success", "env": LINK, "RRT": BOX, "more": WHOLE}
CONNECTION = {
    "client": {"userAgent": LINK, "ips": {"ipv4": BOX, "ipv6": WHOLE}},
    "endpoint": {"apiVersion": LINK, "env": BOX, "protocol": WHOLE},
}
TYPESET = "mjx-container, mjx-merror, .MathJax"
CONTROL = "from IPython.display import HTML\nHTML(r'<p>control: $x^2$</p>')"


@pytest.fixture(scope="module")
def api() -> Iterator[Server]:
    ping, connection = (reply(json.dumps(body).encode()) for body in (PING, CONNECTION))
    with Server(answer_api(ping, connection, [])) as server:
        yield server


def cells(api: Server) -> tuple[str, ...]:
    """Everything that is shown as HTML, and in the end a formula that has to be typeset."""
    return (
        f"import os\nos.environ |= {{'DONUTWORK_API_KEY': 'dw_live_0123456789', 'DONUTWORK_BASE_URL': '{api.url}'}}\n"
        "%load_ext donutwork_magics\n%donutwork",
        "p = %donutwork ping\np",
        "print(p)\np.raw",
        "%donutwork connection",
        "%donutwork check",
        "df = %donutwork ping -n 3 -r max\ndf",
        "df.donutwork",
        "df.donutwork.summary(by=['env', 'rrt'])",
        # The labels are the user's own, and pandas typesets them: only the card is looked at.
        "%%donutwork -n 3 -r max\n\\(\\rule9mm9mm\\): ping\n$-5^2$: ping --cold;",
        "%donutwork ping --widget",
        "w = %donutwork watch -r 10\nw",
        "import time\nwhile len(w.df) < 3: time.sleep(0.05)",
        CONTROL,
    )


def assert_only_the_control_is_typeset(notebook: Notebook) -> None:
    # Outputs are typeset one after the other, and this is the last.
    page = notebook.page
    control = page.locator(".jp-OutputArea-output", has_text="control:").last
    expect(control.locator("mjx-container")).to_be_visible()
    made = page.locator(TYPESET).evaluate_all("all => all.map(one => one.closest('.jp-OutputArea-output').innerText)")
    assert [text for text in made if "control:" not in text] == []
    assert page.get_by_role("link", name="sign in").count() == 0


def assert_no_tex_is_left(path: Path) -> None:
    """In the page that nbconvert makes of a notebook: MathJax, which is not on this machine, skips such elements."""
    html, _resources = HTMLExporter().from_filename(str(path))
    outputs = BeautifulSoup(html, "html.parser").select(".jp-OutputArea-output")
    texts = [text for output in outputs for text in output.find_all(string=re.compile(r"[$\\]"))]
    assert len(texts) > 10
    read = [text for text in texts if not text.find_parent("pre") and not text.find_parent(class_="tex2jax_ignore")]
    assert [text for text in read if "control:" not in text] == []


@pytest.mark.parametrize("app", get_args(App))
def test_what_a_server_says_is_shown_as_it_is(browser: Browser, server: JupyterServer, api: Server, app: App) -> None:
    name = put_notebook(server, f"typeset-{app}.ipynb", *cells(api))
    with open_notebook(browser, server, name, app=app) as notebook:
        notebook.run_all()
        assert_only_the_control_is_typeset(notebook)
        again = notebook.page.get_by_role("button", name="Again")
        again.click()
        expect(again).to_be_enabled()
        notebook.page.get_by_role("button", name="Stop").click()
        expect(notebook.page.get_by_role("button", name="Stop")).to_have_count(0)
        expect(notebook.page.get_by_text(LINK).first).to_be_visible()
        notebook.save_and_reopen()
        assert_only_the_control_is_typeset(notebook)
    assert_no_tex_is_left(server.root / name)
    with open_notebook(browser, server, put_stranger(server, name, f"strange-{app}.ipynb"), app=app) as notebook:
        assert_only_the_control_is_typeset(notebook)
        assert not notebook.is_trusted()
