"""Web servers that others wrote, run as programs of our own on 127.0.0.1: nginx and Caddy."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.servers import BODY

_MANY = 100_000_000


@dataclass(frozen=True)
class Program:
    """A server that runs."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    """A line for each request, where it writes one."""
    ca_file: Path | None = None
    """The root that its certificate needs."""

    def requests(self) -> int:
        """Return how many requests it has answered."""
        return len(self.log.read_text().splitlines())

    def end(self) -> None:
        """Tell it to end; Caddy answers the requests that it has before."""
        self.process.send_signal(signal.SIGTERM)


def need(name: str) -> None:
    """Skip the test where a program is not installed, but never where all tests must run."""
    if shutil.which(name) is None:
        message = f"{name} is not installed (.ci/run installs it)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@contextlib.contextmanager
def nginx(*, tls: bool = False, http2: bool = False, keepalive_requests: int = _MANY) -> Iterator[Program]:
    """Run an nginx that answers the documented ping reply; it writes a log where connections end soon."""
    port = _free_port()
    with _home(tls) as home:
        certificate = f"ssl_certificate {home}/cert.pem; ssl_certificate_key {home}/key.pem;" if tls else ""
        listen = f"127.0.0.1:{port}{' ssl' if tls else ''}{' http2' if http2 else ''}"
        log = "off" if keepalive_requests == _MANY else home / "requests.log"
        configuration = f"""
            daemon off; master_process off; worker_processes 1; pid {home}/nginx.pid; error_log stderr crit;
            events {{ worker_connections 512; }}
            http {{
                access_log {log}; keepalive_requests {keepalive_requests}; keepalive_timeout 1h; server_tokens off;
                client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c;
                uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
                server {{
                    listen {listen}; server_name localhost; {certificate}
                    location / {{ default_type application/json; return 200 '{BODY.decode()}'; }}
                }}
            }}
        """
        (home / "nginx.conf").write_text(textwrap.dedent(configuration))
        with _running(["nginx", "-p", str(home), "-c", f"{home}/nginx.conf"], home, port, tls=tls) as program:
            yield program


@contextlib.contextmanager
def caddy(upstream: str) -> Iterator[Program]:
    """Run a Caddy that passes each request on to another server, over TLS on its own side."""
    port = _free_port()
    with _home(tls=True) as home:
        configuration = f"""
            {{
                admin off
                auto_https off
                grace_period 10s
            }}
            https://localhost:{port} {{
                bind 127.0.0.1
                tls {home}/cert.pem {home}/key.pem
                reverse_proxy {upstream}
            }}
        """
        (home / "Caddyfile").write_text(textwrap.dedent(configuration))
        command = ["caddy", "run", "--config", f"{home}/Caddyfile", "--adapter", "caddyfile"]
        with _running(command, home, port, tls=True) as program:
            yield program


@contextlib.contextmanager
def _home(tls: bool) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        if tls:
            authority = trustme.CA()
            certificate = authority.issue_cert("localhost")
            certificate.private_key_pem.write_to_path(home / "key.pem")
            for number, blob in enumerate(certificate.cert_chain_pems):
                blob.write_to_path(home / "cert.pem", append=number > 0)
            authority.cert_pem.write_to_path(home / "ca.pem")
        yield home


@contextlib.contextmanager
def _running(command: list[str], home: Path, port: int, *, tls: bool) -> Iterator[Program]:
    environ = os.environ | {"HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    with (home / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, env=environ)
    try:
        _wait_for(port, process, home / "stderr")
        url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
        yield Program(url, process, home / "requests.log", home / "ca.pem" if tls else None)
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes], stderr: Path) -> None:
    end_s = time.monotonic() + 20
    while time.monotonic() < end_s and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{stderr.parent} did not start: {stderr.read_text()}")
