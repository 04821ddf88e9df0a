"""Take pictures of a notebook after a run: ``python -m tests.browser.screenshots OUTDIR [NOTEBOOK]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import get_args

from tests.browser.conftest import put_copy
from tests.support.jupyter import HEIGHT, Theme, chromium, jupyter_server, open_notebook


def take(out: Path, notebook: str) -> None:
    """Run a notebook of ``notebooks/`` in JupyterLab, and save it whole as a picture for each theme and width."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, jupyter_server(Path(home)) as server, chromium() as browser:
        name = put_copy(server, notebook, notebook)
        with open_notebook(browser, server, name) as opened:
            opened.run_all()
            for theme in get_args(Theme):
                opened.set_theme(theme)
                for width in (1200, 400):
                    opened.set_width(width)
                    hidden: int = opened.page.evaluate(
                        "() => { const box = document.querySelector('.jp-WindowedPanel-outer');"
                        " return box.scrollHeight - box.clientHeight; }"
                    )
                    opened.page.set_viewport_size({"width": width, "height": HEIGHT + hidden})
                    opened.page.evaluate("() => document.querySelector('.jp-WindowedPanel-outer').scrollTo(0, 0)")
                    opened.page.screenshot(path=out / f"lab-{Path(notebook).stem}-{theme.lower()}-{width}.png")


if __name__ == "__main__":
    take(Path(sys.argv[1]), *sys.argv[2:] or ["01_first_ping.ipynb"])
