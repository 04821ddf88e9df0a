"""Where calls go and with which key, read from the environment at each command, part by part, usable or not.

A base URL may get the key where it is https to a plain host name or address, or http to this machine.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import httpx

from donutwork_magics.client.key import ApiKey, Unusable, keys_in, read_key
from donutwork_magics.errors import SettingsError
from donutwork_magics.network.sockets import tls_context
from donutwork_magics.types import Env

DEFAULT_BASE_URL: Final = "https://api.hub.donutwork.com"
CA_BUNDLE_VARIABLE: Final = "DONUTWORK_CA_BUNDLE"
_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")

_LONGEST: Final = 2048
_NEVER_IN_A_URL: Final = re.compile(r"[\x00-\x20\x7f\\]")
_PARTS: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(.*)", re.ASCII | re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?")
_PATH: Final = re.compile(r"[A-Za-z0-9._~/-]*")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Resolvers read such a last label as part of an IPv4 address: 127.1 and 0x7f.1 are this machine to them.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Variables:
    """The pair of environment variables that apply: a key is never combined with another environment's URL."""

    key: str
    base_url: str


@dataclass(frozen=True, slots=True)
class Setup:
    """One API to call: its base URL, the key for it, and what else was read; each part may be unusable."""

    base_url: httpx.URL | Unusable
    key: ApiKey | Unusable
    variables: Variables | None
    """None for the sandbox, which is configured by no variable."""
    env: Env | None = None
    """The environment that was asked for, and that each reply must name."""
    ca_pem: str | Unusable | None = field(default=None, repr=False)
    proxy_variables: tuple[str, ...] = ()
    """Proxy variables that are set, and not used."""
    default_url: bool = False
    """Whether the base URL is the built-in one."""

    @property
    def sandbox(self) -> bool:
        """Whether this is the sandbox."""
        return self.variables is None

    @property
    def host(self) -> str:
        """Host, and port unless it is the scheme's own; empty where there is no usable base URL."""
        if isinstance(self.base_url, Unusable):
            return ""
        # In ASCII, as the resolver gets it: a name in another script may look like a different one.
        name = self.base_url.raw_host.decode("ascii")
        host = f"[{name}]" if ":" in name else name
        return host if self.base_url.port is None else f"{host}:{self.base_url.port}"

    @property
    def target(self) -> Target | None:
        """Where calls go, whatever environment answers; None where a part is unusable."""
        base_url, key, ca_pem = self.base_url, self.key, self.ca_pem
        if isinstance(base_url, Unusable) or isinstance(key, Unusable) or isinstance(ca_pem, Unusable):
            return None
        return Target(base_url, key, self.variables, ca_pem=ca_pem, proxy_variables=self.proxy_variables)

    def usable(self) -> Target:
        """Return where calls go.

        Raises
        ------
        SettingsError
            A part is unusable; the first one is named.
        """
        for part in (self.base_url, self.key, self.ca_pem):
            if isinstance(part, Unusable):
                raise SettingsError(part.why)
        target = self.target
        assert target is not None
        return replace(target, env=self.env)


@dataclass(frozen=True, slots=True)
class Target(Setup):
    """A `Setup` that can be used."""

    base_url: httpx.URL
    key: ApiKey
    ca_pem: str | None = field(default=None, repr=False)

    @property
    def is_loopback(self) -> bool:
        """Whether the calls stay on this machine."""
        return _is_loopback(self.base_url.host)


def sandbox_target(url: str, key: str, env: Env | None) -> Target:
    """Make the target of a running sandbox."""
    return Target(httpx.URL(url), ApiKey(key, "the sandbox"), variables=None, env=env)


def variables_for(environ: Mapping[str, str], env: Env | None) -> Variables:
    """Choose the variables: those of the environment that is asked for where it has a key, else the plain pair."""
    if env is not None:
        own = Variables(f"DONUTWORK_{env.upper()}_API_KEY", f"DONUTWORK_{env.upper()}_BASE_URL")
        if own.key in environ:
            return own
    return Variables("DONUTWORK_API_KEY", "DONUTWORK_BASE_URL")


def read_setup(environ: Mapping[str, str], env: Env | None = None) -> Setup:
    """Read each setting from the environment."""
    variables = variables_for(environ, env)
    return Setup(
        base_url=read_base_url(environ, variables.base_url),
        key=read_key(environ, variables.key),
        variables=variables,
        env=env,
        ca_pem=_read_ca_bundle(environ),
        proxy_variables=proxies(environ),
        default_url=not environ.get(variables.base_url, "").strip(),
    )


def proxies(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Name the proxy variables that are set; none of them is used."""
    return tuple(sorted(name for name in environ if name.upper() in _PROXY_VARIABLES and environ[name]))


def _read_ca_bundle(environ: Mapping[str, str]) -> str | Unusable | None:
    """Read the further roots, a PEM text, or None where there are none."""
    path = environ.get(CA_BUNDLE_VARIABLE, "").strip()
    if not path:
        return None
    file, problem = Path(path), "is no regular file"
    try:
        # To open a pipe would wait for a writer, and no interrupt would end that.
        if file.is_file() or not file.exists():
            pem = file.read_text("ascii", errors="ignore")
            tls_context("auto", pem)
            return pem
    except ssl.SSLError:
        problem = "holds no certificate"
    except (OSError, ValueError):
        problem = "cannot be read"
    return Unusable(f"The file that {CA_BUNDLE_VARIABLE} names {problem}. Set it to a PEM file, or unset it.")


def read_base_url(environ: Mapping[str, str], variable: str) -> httpx.URL | Unusable:
    """Read a base URL, which must not hold a key, as that would make it visible."""
    text = environ.get(variable, "").strip() or DEFAULT_BASE_URL
    readable = unquote(text).lower()
    try:
        if any(key.lower() in readable for key in keys_in(environ)):
            raise ValueError("contains an API key")
        url = _parse_base_url(text)
    except ValueError as error:
        return Unusable(f"{variable} {error}. Set it to an https URL such as {DEFAULT_BASE_URL}")
    # The raw path: in the decoded one, an encoded "?" or "#" would be a plain one, which cannot be set as a path.
    return url.copy_with(raw_path=url.raw_path.rstrip(b"/"))


def _parse_base_url(text: str) -> httpx.URL:
    """Read a base URL, by stricter rules than any library's, so that no two libraries read it differently.

    Raises
    ------
    ValueError
        Its text says what is wrong, as in "it <text>", and does not repeat the URL.
    """
    if len(text) > _LONGEST:
        raise ValueError("is too long")
    parts = None if _NEVER_IN_A_URL.search(text) else _PARTS.fullmatch(text)
    if parts is None:
        raise ValueError("is not a valid URL")
    scheme, authority, path, rest = parts.groups()
    if "@" in authority:
        raise ValueError("has a user name or password in it")
    if rest:
        raise ValueError("has a query or a fragment")
    if scheme.lower() not in {"http", "https"}:
        raise ValueError("is not https")
    host = _read_host(authority)
    if scheme.lower() == "http" and not _is_loopback(host):
        raise ValueError("is http, which would send the key unencrypted")
    if not _PATH.fullmatch(path):
        raise ValueError("has a path with other characters than letters, digits and . _ ~ - /")
    return httpx.URL(text)


def _is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, without asking a resolver."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    # Since Python 3.13, `is_loopback` looks at the mapped address itself.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _read_host(authority: str) -> str:
    """Return the host, in ASCII and lower case."""
    match = _AUTHORITY.fullmatch(authority)
    host = _ascii(match[1]) if match else ""
    if match is None or not _is_host(host, bracketed=match[1].startswith("[")):
        raise ValueError("has no valid host name")
    if match[2] and not (re.fullmatch(r"[0-9]{1,5}", match[2], re.ASCII) and 0 < int(match[2]) < 2**16):
        raise ValueError("has no valid port")
    return host


def _ascii(host: str) -> str:
    """Return a host name as it goes to the resolver, or nothing where it cannot."""
    try:
        return httpx.URL(f"https://{host}").raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        return ""


def _is_host(host: str, *, bracketed: bool) -> bool:
    try:
        # A zone (::1%eth0) is refused: it has a meaning on one machine only.
        return "%" not in host and bracketed == (ipaddress.ip_address(host).version == 6)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        return (
            not bracketed and len(host) <= 253 and all(map(_is_label, labels)) and _NUMBER.fullmatch(labels[-1]) is None
        )


def _is_label(label: str) -> bool:
    if _LABEL.fullmatch(label) is None:
        return False
    try:
        # httpx decodes an internationalised label when it is shown, and raises where that is not possible.
        return bool(httpx.URL(f"https://{label}").host)
    except ValueError:
        return False
