"""A Jupyter server of our own, and a headless Chromium that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Route, sync_playwright

PATIENCE_S = 60.0
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # Cells that are not in view would not be in the page.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}
_OWN_NOISE = (
    # JupyterLab asks for files that need not be there.
    "Failed to load resource: the server responded with a status of 404",
)

Theme = Literal["Light", "Dark"]


@dataclass(frozen=True)
class JupyterServer:
    """A running server, and the directory that it serves."""

    url: str
    root: Path


@contextmanager
def jupyter_server(home: Path) -> Iterator[JupyterServer]:
    """Run JupyterLab and Notebook on 127.0.0.1, with nothing of the developer's settings."""
    root = home / "root"
    root.mkdir()
    for name, values in _SETTINGS.items():
        path = home / "lab-settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DONUTWORK_", "JUPYTER"))}
    environ |= {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "lab-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    port = _free_port()
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"),
        *("--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}"),
        *("--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True", "--ServerApp.log_level=ERROR"),
    ]
    log = home / "server.log"
    with log.open("wb") as sink, subprocess.Popen(command, env=environ, stdout=sink, stderr=sink) as process:
        try:
            _wait_until_it_listens(port, process, log)
            yield JupyterServer(f"http://127.0.0.1:{port}", root)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium: a browser that a test tool downloads itself is not to be had everywhere."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "The browser tests need Chromium: apt-get install chromium, or set CHROMIUM to its path."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Notebook:
    """A notebook that is open in JupyterLab."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Console errors, and requests that left this machine: there must be none."""

    def command(self, command: str, **arguments: Any) -> None:
        """Execute one of JupyterLab's own commands."""
        self.page.evaluate("([c, a]) => { window.jupyterapp.commands.execute(c, a) }", [command, arguments])

    def run_all(self) -> None:
        """Run all cells, and wait until each has a number and the kernel is idle."""
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=PATIENCE_S * 1000,
        )
        self.command("notebook:run-all-cells")
        self.wait_until_done()

    def wait_until_done(self) -> None:
        """Wait until every code cell has been run."""
        self.page.wait_for_function(
            """() => {
                const panel = window.jupyterapp.shell.currentWidget;
                const code = panel.content.widgets.filter(cell => cell.model.type === 'code');
                return code.every(cell => cell.model.executionCount !== null && cell.model.executionState !== 'running')
                    && panel.sessionContext.session.kernel.status === 'idle';
            }""",
            timeout=PATIENCE_S * 1000,
        )

    def save_and_reopen(self) -> None:
        """Save, load the whole page anew, and wait for the notebook."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        self.page.reload()
        self._wait_until_open()

    def _wait_until_open(self) -> None:
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length > 0", timeout=PATIENCE_S * 1000
        )
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE_S * 1000)


def open_notebook(
    browser: Browser, server: JupyterServer, name: str, *, theme: Theme = "Light", width: int = 1200
) -> Notebook:
    """Open a notebook in JupyterLab, alone on the page."""
    page, complaints = new_page(browser, width)
    page.goto(f"{server.url}/doc/tree/{name}?reset")
    notebook = Notebook(page, complaints)
    notebook._wait_until_open()
    if theme == "Dark":
        notebook.command("apputils:change-theme", theme="JupyterLab Dark")
        page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    return notebook


def new_page(browser: Browser, width: int) -> tuple[Page, list[str]]:
    """Open a page that may reach this machine only, and the list of what it complains about."""
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 1000})
    page.set_default_timeout(PATIENCE_S * 1000)

    def guard(route: Route) -> None:
        if route.request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            route.continue_()
        else:
            complaints.append(f"request to {route.request.url}")
            route.abort()

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(_OWN_NOISE):
            complaints.append(f"console: {message.text}")

    page.route("**/*", guard)
    page.on("console", listen)

    def listen_to_page(error: Error) -> None:
        if not error.message.startswith(_OWN_NOISE):
            complaints.append(f"page: {error.message}")

    page.on("pageerror", listen_to_page)
    return page, complaints


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"Jupyter did not start:\n{log.read_text()[-2000:]}")
