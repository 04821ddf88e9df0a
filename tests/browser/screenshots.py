"""Take pictures of a notebook after a run: ``python -m tests.browser.screenshots OUTDIR [NOTEBOOK]``.

With ``live`` for a notebook: of a watch and a series while they run, and of what they leave. With ``readme``: the two
pictures of the README, which are in ``notebooks/pictures``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import get_args

from tests.browser.conftest import put_copy, put_notebook
from tests.support.jupyter import HEIGHT, Notebook, Theme, chromium, jupyter_server, open_notebook

LIVE = (
    "%load_ext donutwork_magics\n"
    "%donutwork sandbox start --seed 1 --latency 20ms/60ms --server-time 2ms --fault server_error:0.03;",
    "w = %donutwork watch -r 10",
    "df = %donutwork ping -n 2000 -r 20",
)

README = (
    "%load_ext donutwork_magics\n"
    "%donutwork sandbox start --seed 4 --latency 20ms/60ms --server-time 3ms/8ms --fault server_error:0.01;",
    "df = %donutwork ping -n 300 -r 25",
)
_README_WIDTH = 860


def take(out: Path, notebook: str) -> None:
    """Run a notebook of ``notebooks/`` in JupyterLab, and save it whole as a picture for each theme and width."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, jupyter_server(Path(home)) as server, chromium() as browser:
        name = put_copy(server, notebook, notebook)
        with open_notebook(browser, server, name) as opened:
            opened.run_all()
            _shoot(opened, out, f"lab-{Path(notebook).stem}")


def take_live(out: Path) -> None:
    """Save a watch and a series as pictures while they run, and after they were stopped."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, jupyter_server(Path(home)) as server, chromium() as browser:
        name = put_notebook(server, "live.ipynb", *LIVE)
        with open_notebook(browser, server, name) as opened:
            opened.start_all()
            opened.page.get_by_text("ping: running").nth(1).wait_for()
            opened.page.wait_for_timeout(15_000)
            _shoot(opened, out, "lab-running")
            opened.command("notebook:interrupt-kernel")
            opened.wait_until_idle()
            opened.page.get_by_role("button", name="Stop").click()
            opened.page.get_by_role("button", name="Stop").wait_for(state="detached")
            _shoot(opened, out, "lab-stopped")


def take_readme(out: Path) -> None:
    """Save the cell that the README shows, with its output, in both themes."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, jupyter_server(Path(home)) as server, chromium() as browser:
        name = put_notebook(server, "readme.ipynb", *README)
        with open_notebook(browser, server, name) as opened:
            opened.run_all()
            for theme in get_args(Theme):
                opened.set_theme(theme)
                opened.page.wait_for_selector("#jupyterlab-splash", state="detached")
                opened.page.set_viewport_size({"width": _README_WIDTH, "height": 2 * HEIGHT})
                # The toolbar of the active cell would lie over it.
                opened.page.locator(".jp-Cell").nth(0).click()
                opened.page.locator(".jp-Cell").nth(1).screenshot(path=out / f"run-{theme.lower()}.png")


def _shoot(opened: Notebook, out: Path, name: str) -> None:
    for theme in get_args(Theme):
        opened.set_theme(theme)
        # It covers the page while the theme changes.
        opened.page.wait_for_selector("#jupyterlab-splash", state="detached")
        for width in (1200, 774, 400):
            opened.set_width(width)
            hidden: int = opened.page.evaluate(
                "() => { const box = document.querySelector('.jp-WindowedPanel-outer');"
                " return box.scrollHeight - box.clientHeight; }"
            )
            opened.page.set_viewport_size({"width": width, "height": HEIGHT + hidden})
            opened.page.evaluate("() => document.querySelector('.jp-WindowedPanel-outer').scrollTo(0, 0)")
            opened.page.screenshot(path=out / f"{name}-{theme.lower()}-{width}.png")


if __name__ == "__main__":
    if sys.argv[2:] == ["live"]:
        take_live(Path(sys.argv[1]))
    elif sys.argv[2:] == ["readme"]:
        take_readme(Path(sys.argv[1]))
    else:
        take(Path(sys.argv[1]), *sys.argv[2:] or ["01_first_ping.ipynb"])
