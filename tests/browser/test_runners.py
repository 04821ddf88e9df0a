"""Notebooks that nobody watches: run from a command line, stopped by a failing ping, and read as HTML from a disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, Route, expect

from tests.browser.test_lab import START

pytestmark = pytest.mark.browser

RUNNERS = {
    "execute": ("jupyter", "execute", "--inplace", "{path}"),
    "papermill": ("papermill", "{path}", "{path}", "--no-progress-bar"),
    "nbconvert": ("nbconvert", "--to", "notebook", "--execute", "--inplace", "{path}"),
}
EACH = pytest.mark.parametrize("runner", RUNNERS)


def write(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(sources)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def run(runner: str, path: Path) -> subprocess.CompletedProcess[str]:
    module, *arguments = (part.format(path=path) for part in RUNNERS[runner])
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@EACH
def test_a_failing_ping_stops_it_with_our_line(tmp_path: Path, runner: str) -> None:
    path = write(
        tmp_path / "failing.ipynb",
        f"{START}\n%donutwork sandbox start --fault unauthorized:1;",
        "%donutwork ping",
        "print('went', 'on')",
    )
    done = run(runner, path)
    assert done.returncode != 0
    [line] = {line for line in done.stderr.splitlines() if line.startswith("DonutworkError: ")}
    assert "sandbox" in line
    assert "site-packages" not in line
    assert "went on" not in path.read_text() + done.stdout
    assert "donutwork_magics/" not in done.stderr


@pytest.mark.parametrize("runner", ["execute", "papermill"])
def test_a_series_is_saved_as_its_card_and_read_without_scripts(tmp_path: Path, browser: Browser, runner: str) -> None:
    path = write(tmp_path / "series.ipynb", START, "%donutwork ping", "df = %donutwork ping -n 70 -r max")
    done = run(runner, path)
    assert done.returncode == 0, done.stderr
    html, _resources = HTMLExporter().from_filename(str(path))
    path.with_suffix(".html").write_text(html, encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    requested = []

    def guard(route: Route) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            requested.append(route.request.url)
            route.abort()

    try:
        page = context.new_page()
        page.route("**/*", guard)
        page.goto(path.with_suffix(".html").as_uri())
        expect(page.locator("strong", has_text="success")).to_be_visible()
        expect(page.get_by_text("70 pings, no errors")).to_be_visible()
        for name in ("Durations of 70 pings", "Histogram of 70 durations"):
            image = page.get_by_role("img", name=name)
            expect(image).to_be_visible()
            assert (image.get_attribute("src") or "").startswith("data:image/svg+xml;base64,")
            box = image.bounding_box()
            assert box is not None
            # What cannot be drawn is as small as its broken sign, or as its text.
            assert box["height"] > 100
        assert "Error displaying widget" not in page.inner_text("body")
    finally:
        context.close()
    assert requested == []
