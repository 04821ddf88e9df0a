"""Real notebooks in a real kernel, over every command and every failure: the key is in nothing that is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
import trustme
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from donutwork_magics.errors import KINDS
from donutwork_magics.grammar import options
from tests.leaks import KEY, STAGING_KEY, scenes
from tests.leaks.search import Search
from tests.leaks.servers import Echo, Recorder
from tests.servers import Server, closed_port

pytestmark = pytest.mark.kernel

DECOY = "dw_decoy_5Wc8+kTf3/yGhB62nXo=Mz"


@dataclass
class Sweep:
    """What is left of a notebook that was run."""

    root: Path
    protocol: str
    notebook: nbformat.NotebookNode
    origin: list[str]
    """The Authorization headers that the servers got which were configured."""
    elsewhere: dict[str, bytes] = field(default_factory=dict)
    """What those got which were not."""

    @property
    def text(self) -> str:
        return json.dumps(self.notebook, ensure_ascii=False)

    def printed(self, pattern: str) -> str:
        """Return what the control cell printed."""
        # A kernel may send one print in several pieces.
        text = "".join(output.get("text", "") for output in self.notebook.cells[-1].outputs)
        match = re.search(pattern, text)
        assert match, text
        return match[1]


SETTINGS = {
    " ".join(setting): setting
    for setting in (("Context", "HTTP/1.1"), ("Verbose", "HTTP/2"), ("Minimal", "HTTP/1.1 with TLS"))
}


async def run(mode: str, protocol: str, root: Path, turn: int) -> Sweep:
    authority = trustme.CA()
    contexts = {version: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for version in ("http/1.1", "h2")}
    for version, context in contexts.items():
        authority.issue_cert("localhost").configure_cert(context)
        context.set_alpn_protocols([version])
    authority.cert_pem.write_to_path(str(root / "ca.pem"))
    recorder, proxy = Recorder(), Recorder()
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(Server(recorder))
        proxy_server = stack.enter_context(Server(proxy))
        plain = Echo(other.url)
        secure = Echo(other.url)
        plain_server = stack.enter_context(Server(plain.http1))
        version = "h2" if protocol == "HTTP/2" else "http/1.1"
        handler = secure.http2 if version == "h2" else secure.http1
        tls_server = stack.enter_context(Server(handler, tls=contexts[version]))
        plain.own, secure.own = (lambda: plain_server.url), (lambda: tls_server.url)
        places = {
            "BASE": plain_server.url if protocol == "HTTP/1.1" else tls_server.url,
            "PORT": plain_server.port,
            "TLS": tls_server.port,
            "ELSEWHERE": other.port,
            "CLOSED": stack.enter_context(closed_port()),
            "DECOY": DECOY,
        }
        notebook = scenes.notebook(mode, places, turn)
        await execute(notebook, root, proxy_server.url)
        for server in (other, proxy_server):
            assert server.connections == 0
            with socket.create_connection(("127.0.0.1", server.port)) as control:
                control.sendall(b"control")
                control.shutdown(socket.SHUT_WR)
                control.recv(1)
    elsewhere = {"redirect": bytes(recorder.received), "proxy": bytes(proxy.received)}
    return Sweep(root, protocol, notebook, [*plain.received, *secure.received], elsewhere)


async def execute(notebook: nbformat.NotebookNode, root: Path, proxy: str) -> None:
    """Run it in a kernel whose every directory is below `root`."""
    home, temporary = root / "home", root / "tmp"
    home.mkdir()
    temporary.mkdir()
    (home / ".netrc").write_text("".join(f"machine {name} login x password y\n" for name in ("localhost", "127.0.0.1")))
    (home / ".netrc").chmod(0o600)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DONUTWORK_", "JUPYTER"))}
    environ = kept | {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "IPYTHONDIR": str(home / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "SSLKEYLOGFILE": str(root / "tls-secrets"),
        "NETRC": str(home / ".netrc"),
        "MY_KEY": KEY,
        "MY_STAGING_KEY": STAGING_KEY,
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), proxy),
    }
    manager = AsyncKernelManager()
    manager._kernel_spec = KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="sweep",
        language="python",
    )
    manager.connection_file = str(root / "connection.json")
    if sys.platform == "linux":
        # A port that is free as the kernel is started may be taken by the next one before this one binds it. (Elsewhere
        # the path of a socket may be shorter than those of temporary directories are.)
        manager.transport = "ipc"
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=60,
        allow_errors=True,
        store_widget_state=True,
        ipython_hist_file=str(root / "history.sqlite"),
        resources={"metadata": {"path": root}},
    )
    await client.async_execute(env=environ, cleanup_kc=True)


async def run_all(roots: dict[str, Path]) -> dict[str, Sweep]:
    """Run the notebooks of all settings side by side: each often waits, and uses one processor only."""
    runs = [run(*setting, roots[name], turn) for turn, (name, setting) in enumerate(SETTINGS.items())]
    return dict(zip(SETTINGS, await asyncio.gather(*runs), strict=True))


class Page(str):
    """A finished page, not parsed anew: that takes longer than to make it, and adds only a few attributes."""

    __slots__ = ()

    def select(self, selector: str) -> list[Any]:
        return []


def save(sweep: Sweep) -> None:
    """Write the notebook as Jupyter does, and as HTML."""
    nbformat.write(sweep.notebook, sweep.root / "notebook.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nbconvert.exporters.html.BeautifulSoup", lambda html, **_options: Page(html))
        page, _resources = HTMLExporter().from_notebook_node(sweep.notebook)
    (sweep.root / "notebook.html").write_text(page, "utf-8")


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sweep]:
    done = asyncio.run(run_all({name: tmp_path_factory.mktemp("sweep").resolve() for name in SETTINGS}))
    for sweep in done.values():
        save(sweep)
    return done


@pytest.fixture(scope="module", params=SETTINGS)
def sweep(request: pytest.FixtureRequest, sweeps: dict[str, Sweep]) -> Sweep:
    return sweeps[request.param]


def test_no_trace_of_the_key_is_in_anything_that_is_left(sweep: Sweep) -> None:
    assert Search(KEY, STAGING_KEY).tree(sweep.root) == {}


def test_only_the_configured_origin_gets_it_and_always_as_it_is(sweep: Sweep) -> None:
    assert set(sweep.origin) == {f"Bearer {key}" for key in (KEY, STAGING_KEY, DECOY)}
    assert sweep.elsewhere == {"redirect": b"control", "proxy": b"control"}


def test_everything_was_there_to_be_searched(sweep: Sweep) -> None:
    files = {path.name for path in sweep.root.rglob("*") if path.is_file() and path.stat().st_size}
    wanted = {"debug.log", "history.sqlite", "notebook.ipynb", "notebook.html", "p.pickle", "c.pickle", "df.pickle"}
    wanted |= {"df.csv", "df.parquet", "df.json", "journal.jsonl", "watch.jsonl", "result.pickle", "report.pickle"}
    if sys.platform == "linux":
        wanted |= {"sandbox-environ", "sandbox-cmdline", "prober-environ", "prober-cmdline"}
    assert wanted <= files
    state = sweep.notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    assert "ping: running" in json.dumps(state)
    assert sweep.text.count("[redacted]") > 100
    assert not [word for word in options.SPECS if f"%donutwork {word}" not in sweep.text]


def test_every_kind_of_failure_was_met(sweep: Sweep) -> None:
    met = set(json.loads(sweep.printed(r"kinds: (\[.*?\])")))
    # The echo sends no more than one window over HTTP/2.
    unreachable = {"too_large"} if sweep.protocol == "HTTP/2" else set()
    assert {*KINDS, "SettingsError", "UsageError", "Interrupted"} - met == unreachable


def test_a_plain_client_would_have_left_it_in_the_log_and_its_tls_secrets_in_a_file(sweep: Sweep) -> None:
    assert Search(DECOY).file(sweep.root / "debug.log")
    assert sweep.printed(r"TLS secrets before: (\w+)") == "False"
    assert sweep.printed(r"TLS secrets after: (\w+)") == "True"
