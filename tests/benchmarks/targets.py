"""What the benchmarks talk to: nginx with a static reply where it is installed, else the sandbox; and slow servers."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import trustme

from donutwork_magics.client.key import ApiKey
from donutwork_magics.client.settings import Target, Variables, sandbox_target
from donutwork_magics.sandbox.process import Sandbox, SandboxOptions
from tests.servers import BODY

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
def nginx(*, tls: bool = False) -> Iterator[Served]:
    """Run an nginx of our own."""
    if shutil.which("nginx") is None:
        raise SystemExit("This benchmark needs nginx: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        port = _free_port()
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        certificate.private_key_pem.write_to_path(home / "key.pem")
        for number, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(home / "cert.pem", append=number > 0)
        authority.cert_pem.write_to_path(home / "ca.pem")
        (home / "nginx.conf").write_text(_configuration(home, port, tls=tls))
        process = subprocess.Popen(["nginx", "-p", name, "-c", f"{name}/nginx.conf"], stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            if tls:
                ca_pem = (home / "ca.pem").read_text()
                variables = Variables("DONUTWORK_API_KEY", "DONUTWORK_BASE_URL")
                url = httpx.URL(f"https://localhost:{port}")
                target = Target(url, ApiKey(KEY, variables.key), variables, ca_pem=ca_pem)
                yield Served(target, "nginx over TLS", home / "ca.pem")
            else:
                yield Served(sandbox_target(f"http://127.0.0.1:{port}", KEY, None), "nginx")
        finally:
            process.terminate()
            process.wait()


def _configuration(home: Path, port: int, *, tls: bool) -> str:
    certificate = f"ssl_certificate {home}/cert.pem; ssl_certificate_key {home}/key.pem;" if tls else ""
    return textwrap.dedent(
        f"""
        daemon off; master_process off; worker_processes 1; pid {home}/nginx.pid; error_log stderr crit;
        events {{ worker_connections 512; }}
        http {{
            access_log off; keepalive_requests 100000000; keepalive_timeout 1h; server_tokens off;
            client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c;
            uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
            server {{
                listen 127.0.0.1:{port} {"ssl" if tls else ""}; server_name localhost; {certificate}
                location / {{ default_type application/json; return 200 '{BODY.decode()}'; }}
            }}
        }}
        """
    )


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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise SystemExit("nginx did not start")
