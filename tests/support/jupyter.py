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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, WebSocket, sync_playwright

PATIENCE_S = 60.0
HEIGHT = 1000
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No page may leave this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # Cells that are not in view would not be in the page.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}

Theme = Literal["Light", "Dark"]
App = Literal["JupyterLab", "Notebook 7"]

_PATHS: dict[App, str] = {"JupyterLab": "doc/tree", "Notebook 7": "notebooks"}
_NOISE: dict[App, tuple[str, ...]] = {
    # Its own complaint, where a kernel is restarted before it has made the subshell that a widget asks for.
    "JupyterLab": ("Error: Canceled future for create_subshell_request", "Canceled future for create_subshell_request"),
    # It lacks some of JupyterLab's plugins, and trips over what these left on the same server.
    "Notebook 7": (
        "Cannot read properties of undefined (reading 'schema')",
        "Command 'filebrowser:open-path' not registered.",
        # The server looks up a static file by its name alone, once for both, and refuses JupyterLab's to Notebook.
        "Failed to load resource: the server responded with a status of 403 (Forbidden) /static/notebook/",
    ),
}
_PANEL = "window.jupyterapp?.shell?.currentWidget"
_CELLS = f"{_PANEL}.content.widgets.filter(cell => cell.model.type === 'code')"
_ERRORS = (
    f"{_CELLS}.flatMap(cell => cell.model.outputs.toJSON())"
    ".filter(output => output.output_type === 'error' || output.name === 'stderr')"
    ".map(output => output.evalue ?? output.text)"
)


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
        *("--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True"),
        *("--IdentityProvider.token=", "--ServerApp.log_level=ERROR"),
        # As in tests/support/kernel.py.
        *(("--KernelManager.transport=ipc",) if sys.platform == "linux" else ()),
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


@dataclass(frozen=True)
class Notebook:
    """A notebook that is open in JupyterLab or in Notebook 7."""

    page: Page

    def command(self, command: str, **arguments: Any) -> None:
        """Start one of the application's own commands."""
        self.page.evaluate("([c, a]) => { window.jupyterapp.commands.execute(c, a) }", [command, arguments])

    def start_all(self) -> None:
        """Start to run all cells, as soon as there is a kernel."""
        self.wait_until_idle()
        self.command("notebook:run-all-cells")

    def run_all(self) -> None:
        """Run all cells, none of which may fail."""
        self.start_all()
        self.wait_until_done()

    def wait_until_done(self) -> None:
        """Wait until every code cell has been run without an error."""
        self._wait(
            f"{_CELLS}.every(cell => cell.model.executionCount !== null && cell.model.executionState !== 'running')"
            f" && {_PANEL}.sessionContext.session.kernel.status === 'idle' || {_ERRORS}.length > 0"
        )
        errors = self.page.evaluate(f"() => {_ERRORS}")
        assert not errors, "\n".join(errors)

    def wait_until_idle(self) -> None:
        """Wait until there is a kernel that has nothing to do."""
        self._wait(f"{_PANEL}?.sessionContext?.session?.kernel?.status === 'idle'")

    def set_theme(self, theme: Theme) -> None:
        """Change to the light or the dark theme."""
        self.command("apputils:change-theme", theme=f"JupyterLab {theme}")
        self.page.wait_for_selector(f"body[data-jp-theme-light={str(theme == 'Light').lower()}]", state="attached")

    def set_width(self, width: int) -> None:
        """Make the page so many pixels wide, and wait until it is laid out anew."""
        self.page.set_viewport_size({"width": width, "height": HEIGHT})
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def save_and_reopen(self) -> None:
        """Save, load the whole page anew, and wait for the notebook."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        self.page.reload()
        self.wait_until_open()

    def restart(self) -> None:
        """Restart the kernel, and wait until the new one is there."""
        self.page.evaluate(f"() => {_PANEL}.sessionContext.restartKernel()")
        self.wait_until_idle()

    def wait_until_open(self) -> None:
        """Wait until the cells are on the page."""
        self._wait(f"{_PANEL}?.content?.widgets?.length > 0")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")

    def is_trusted(self) -> bool:
        """Whether the application shows the outputs of any code cell as they are, and not cleaned."""
        trusted: bool = self.page.evaluate(f"() => {_CELLS}.some(cell => cell.model.trusted)")
        return trusted

    def _wait(self, condition: str) -> None:
        # Else it is looked at before each frame, and frames are drawn for it.
        self.page.wait_for_function(f"() => {condition}", polling=100)


@contextmanager
def open_notebook(
    browser: Browser,
    server: JupyterServer,
    name: str,
    *,
    app: App = "JupyterLab",
    theme: Theme = "Light",
) -> Iterator[Notebook]:
    """Open a notebook, alone on a page that may reach this machine only.

    At the end nothing may be on the browser's console, and nothing may have gone elsewhere.
    """
    page = browser.new_page(viewport={"width": 1200, "height": HEIGHT})
    page.set_default_timeout(PATIENCE_S * 1000)
    complaints = _listen(page, _NOISE[app])
    try:
        page.goto(f"{server.url}/{_PATHS[app]}/{name}?reset")
        notebook = Notebook(page)
        notebook.wait_until_open()
        # Always: the server keeps the last one, and would hand it to the next page.
        notebook.set_theme(theme)
        yield notebook
        assert not complaints, "\n".join(complaints)
        page.evaluate(f"() => {_PANEL}.sessionContext.shutdown()")
    finally:
        page.close()


def _listen(page: Page, noise: tuple[str, ...]) -> list[str]:
    """Collect what a page complains about, and what it asks of other machines."""
    complaints: list[str] = []

    def hear_request(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            complaints.append(f"request to {request.url}")

    def hear_socket(socket: WebSocket) -> None:
        if not socket.url.startswith("ws://127.0.0.1:"):
            complaints.append(f"socket to {socket.url}")

    def hear_console(message: ConsoleMessage) -> None:
        text = f"{message.text} {urlsplit(message.location['url']).path}"
        if message.type == "error" and not text.startswith(noise):
            complaints.append(f"console: {text}")

    def hear_error(error: Error) -> None:
        if not error.message.startswith(noise):
            complaints.append(f"page: {error.message}")

    page.on("request", hear_request)
    page.on("websocket", hear_socket)
    page.on("console", hear_console)
    page.on("pageerror", hear_error)
    return complaints


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
