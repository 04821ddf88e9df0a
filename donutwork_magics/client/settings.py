"""Where calls go and with which key, read from the environment at each command."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import httpx

from donutwork_magics.client.key import ApiKey, read_key
from donutwork_magics.errors import SettingsError
from donutwork_magics.network.tls import tls_context

Env = Literal["staging", "production"]

DEFAULT_BASE_URL: Final = "https://api.hub.donutwork.com"
CA_BUNDLE_VARIABLE: Final = "DONUTWORK_CA_BUNDLE"
_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class Variables:
    """The pair of environment variables that apply: a key is never combined with another environment's URL."""

    key: str
    base_url: str


@dataclass(frozen=True, slots=True)
class Target:
    """One API to call: its base URL, the key for it, and what its replies must say."""

    base_url: httpx.URL
    key: ApiKey
    variables: Variables | None
    """None for the sandbox, which is configured by no variable."""
    env: Env | None = None
    """The environment that was asked for, and that each reply must name."""
    ca_pem: str | None = field(default=None, repr=False)
    proxy_variables: tuple[str, ...] = ()
    """Proxy variables that are set, and not used."""

    @property
    def sandbox(self) -> bool:
        """Whether this is the sandbox."""
        return self.variables is None

    @property
    def host(self) -> str:
        """Host, and port unless it is the scheme's own."""
        return host_and_port(self.base_url)

    @property
    def is_loopback(self) -> bool:
        """Whether the calls stay on this machine."""
        return is_loopback(self.base_url.host)


def variables_for(environ: Mapping[str, str], env: Env | None) -> Variables:
    """Choose the variables: those of the environment that is asked for where it has a key, else the plain pair."""
    if env is not None:
        own = Variables(f"DONUTWORK_{env.upper()}_API_KEY", f"DONUTWORK_{env.upper()}_BASE_URL")
        if own.key in environ:
            return own
    return Variables("DONUTWORK_API_KEY", "DONUTWORK_BASE_URL")


def read_target(environ: Mapping[str, str], env: Env | None = None) -> Target:
    """Read everything that a call needs from the environment.

    Raises
    ------
    SettingsError
        A variable is missing or not usable.
    """
    variables = variables_for(environ, env)
    return Target(
        base_url=read_base_url(environ, variables.base_url),
        key=read_key(environ, variables.key),
        variables=variables,
        env=env,
        ca_pem=read_ca_bundle(environ),
        proxy_variables=proxies(environ),
    )


def sandbox_target(url: str, key: str, env: Env | None) -> Target:
    """Make the target of a running sandbox."""
    return Target(httpx.URL(url), ApiKey(key, "the sandbox"), variables=None, env=env)


def read_base_url(environ: Mapping[str, str], variable: str) -> httpx.URL:
    """Read and check a base URL.

    Raises
    ------
    SettingsError
        It is no URL, or one that must not get a key: not https (except on this machine), or with user information,
        query or fragment. The message never repeats it, as it may hold a secret.
    """
    text = environ.get(variable, "").strip() or DEFAULT_BASE_URL
    problem = ""
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        problem = "is not a valid URL"
    else:
        if not host or not _is_host(host):
            problem = "has no valid host name"
        elif url.userinfo:
            problem = "has a user name or password in it"
        elif url.query or url.fragment or "?" in text or "#" in text:
            problem = "has a query or a fragment"
        elif url.scheme == "http" and not is_loopback(url.host):
            problem = "is http, which would send the key unencrypted"
        elif url.scheme not in {"http", "https"}:
            problem = "is not https"
    if problem:
        raise SettingsError(f"{variable} {problem}. Set it to an https URL such as {DEFAULT_BASE_URL}")
    return url.copy_with(path=url.path.rstrip("/"))


def host_and_port(url: httpx.URL) -> str:
    """Give a URL's host, and its port unless it is the scheme's own."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return host if url.port is None else f"{host}:{url.port}"


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, without asking a resolver."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in host.rstrip(".").split("."))
    return True


def read_ca_bundle(environ: Mapping[str, str]) -> str | None:
    """Read the further roots, a PEM text, or None where there are none.

    Raises
    ------
    SettingsError
        The file cannot be read, or holds no certificate.
    """
    path = environ.get(CA_BUNDLE_VARIABLE, "").strip()
    if not path:
        return None
    problem = ""
    try:
        pem = Path(path).read_text("ascii", errors="ignore")
        tls_context("auto", pem)
    except ssl.SSLError:
        problem = "holds no certificate"
    except (OSError, ValueError):
        problem = "cannot be read"
    if problem:
        raise SettingsError(f"The file that {CA_BUNDLE_VARIABLE} names {problem}. Set it to a PEM file, or unset it.")
    return pem


def proxies(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Name the proxy variables that are set; none of them is used."""
    names = (name for name in environ if name.upper() in _PROXY_VARIABLES and environ[name])
    return tuple(sorted(names))
