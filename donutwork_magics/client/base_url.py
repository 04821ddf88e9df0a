"""Which base URLs may get the key: https to a plain host name or address, or http to this machine."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import httpx

_LONGEST: Final = 2048
_NEVER_IN_A_URL: Final = re.compile(r"[\x00-\x20\x7f\\]")
_PARTS: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(.*)", re.ASCII | re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?")
_PATH: Final = re.compile(r"[A-Za-z0-9._~/-]*")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Resolvers read such a last label as part of an IPv4 address: 127.1 and 0x7f.1 are this machine to them.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def parse_base_url(text: str) -> httpx.URL:
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
    if scheme.lower() == "http" and not is_loopback(host):
        raise ValueError("is http, which would send the key unencrypted")
    if not _PATH.fullmatch(path):
        raise ValueError("has a path with other characters than letters, digits and . _ ~ - /")
    return httpx.URL(text)


def is_loopback(host: str) -> bool:
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
