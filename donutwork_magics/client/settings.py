"""Where calls go and with which key, read from the environment at each command."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import httpx

from donutwork_magics.client.base_url import is_loopback, parse_base_url
from donutwork_magics.client.key import ApiKey, KeysIn
from donutwork_magics.errors import SettingsError
from donutwork_magics.network.tls import tls_context
from donutwork_magics.types import Env

DEFAULT_BASE_URL: Final = "https://api.hub.donutwork.com"
CA_BUNDLE_VARIABLE: Final = "DONUTWORK_CA_BUNDLE"
_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class Variables:
    """The pair of environment variables that apply: a key is never combined with another environment's URL."""

    key: str
    base_url: str


@dataclass(frozen=True, slots=True)
class Target:
    """One API to call: its base URL, the key for it, and the environment that its replies must name."""

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


def sandbox_target(url: str, key: str, env: Env | None) -> Target:
    """Make the target of a running sandbox."""
    return Target(httpx.URL(url), ApiKey(key, "the sandbox"), variables=None, env=env)


def read_base_url(environ: Mapping[str, str], variable: str) -> httpx.URL:
    """Read and check a base URL.

    Raises
    ------
    SettingsError
        It must not get a key (see `parse_base_url`), or a key is in it, which would make it visible. The message
        never repeats it.
    """
    text = environ.get(variable, "").strip() or DEFAULT_BASE_URL
    problem = _with_key(environ, text)
    try:
        url = parse_base_url(text)
    except ValueError as error:
        problem = problem or str(error)
    if problem:
        raise SettingsError(f"{variable} {problem}. Set it to an https URL such as {DEFAULT_BASE_URL}")
    # The raw path: in the decoded one, an encoded "?" or "#" would be a plain one, which cannot be set as a path.
    return url.copy_with(raw_path=url.raw_path.rstrip(b"/"))


def host_and_port(url: httpx.URL) -> str:
    """Give a URL's host, and its port unless it is the scheme's own."""
    # In ASCII, as the resolver gets it: a name in another script may look like a different one.
    name = url.raw_host.decode("ascii")
    host = f"[{name}]" if ":" in name else name
    return host if url.port is None else f"{host}:{url.port}"


def _with_key(environ: Mapping[str, str], text: str) -> str:
    readable = unquote(text).lower()
    return "contains an API key" if any(key.lower() in readable for key in KeysIn(environ)) else ""


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
