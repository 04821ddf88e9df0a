"""What the benchmarks talk to: nginx with a static reply where it is installed, else the sandbox; and slow servers."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from donutwork_magics.client.key import ApiKey
from donutwork_magics.client.settings import Target, Variables, sandbox_target
from donutwork_magics.grammar.commands import SandboxOptions
from donutwork_magics.sandbox.process import Sandbox
from tests.servers import programs

KEY = "dw_test_Kx81mZq0vTnR57yE"


@dataclass(frozen=True, slots=True)
class Served:
    """A target, and the file of the root that its certificate needs."""

    target: Target
    name: str
    ca_file: Path | None = None

    @property
    def url(self) -> str:
        """The whole URL of ping.json."""
        return f"{str(self.target.base_url).rstrip('/')}/2026-02-01/ping.json"


@contextlib.contextmanager
def static() -> Iterator[Served]:
    """Serve a reply that costs nearly nothing."""
    if shutil.which("nginx"):
        with nginx() as served:
            yield served
        return
    sandbox = Sandbox.start(SandboxOptions())
    try:
        yield Served(sandbox_target(sandbox.url, sandbox.key_for(None), None), "the sandbox")
    finally:
        sandbox.stop()


@contextlib.contextmanager
def nginx(*, tls: bool = False, http2: bool = False) -> Iterator[Served]:
    """Run an nginx of our own."""
    if shutil.which("nginx") is None:
        raise SystemExit("This benchmark needs nginx: apt-get install nginx-light")
    with programs.nginx(tls=tls, http2=http2) as program:
        if program.ca_file is None:
            yield Served(sandbox_target(program.url, KEY, None), "nginx")
        else:
            variables = Variables("DONUTWORK_API_KEY", "DONUTWORK_BASE_URL")
            key = ApiKey(KEY, variables.key)
            target = Target(httpx.URL(program.url), key, variables, ca_pem=program.ca_file.read_text())
            yield Served(target, "nginx over TLS", program.ca_file)


@contextlib.contextmanager
def slow(service_ms: float, stall: str = "") -> Iterator[Served]:
    """Run a server, in a process of its own, that takes a while for each reply.

    Parameters
    ----------
    stall
        ``AT:FOR`` in seconds: one moment, counted from the first request, at which it does nothing for a while.
    """
    script = [sys.executable, "-m", "tests.benchmarks.slow_server", str(service_ms), *filter(None, [stall])]
    process = subprocess.Popen(script, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Served(sandbox_target(f"http://127.0.0.1:{port}", KEY, None), f"a server that takes {service_ms:g} ms")
    finally:
        process.kill()
        process.communicate()
