"""A request without a body, ready to be sent, and a reply that was read to its end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import httpx

from donutwork_magics.network.faults import NetworkFaultError

MAX_BODY_BYTES: Final = 64 * 1024
"""The documented replies have about a hundred bytes: what is much larger is not the API, and is not read to its end."""

TOO_LARGE: Final = f"more than {MAX_BODY_BYTES // 1024} KiB"
INVALID: Final = "not valid HTTP"
CUT_OFF: Final = "closed before the reply was complete"

Header = tuple[bytes, bytes]

_NAME: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NOT_IN_A_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Prepared(NamedTuple):
    """A request, serialised as far as it can be without the key."""

    http1: bytes
    """As HTTP/1.1 writes it, up to where a last header may follow."""
    http2: tuple[Header, ...]
    """The fields of HTTP/2, to which a last one may be added."""


def prepare(request: httpx.Request) -> Prepared:
    """Serialise a request that has no body; once for all the calls that send it.

    Raises
    ------
    ValueError
        The name or the value of a header is not allowed in HTTP.
    """
    headers = tuple((name, value.strip()) for name, value in request.headers.raw)
    method, target = request.method.encode("ascii"), request.url.raw_path
    if not all(_NAME.fullmatch(name) and not _NOT_IN_A_VALUE.search(value) for name, value in headers):
        raise ValueError("a header that cannot be sent")
    lines = [method + b" " + target + b" HTTP/1.1", *(name + b": " + value for name, value in headers)]
    pseudo = (
        (b":method", method),
        (b":authority", next(value for name, value in headers if name.lower() == b"host")),
        (b":scheme", request.url.raw_scheme),
        (b":path", target),
    )
    others = tuple((name.lower(), value) for name, value in headers if name.lower() != b"host")
    return Prepared(b"\r\n".join([*lines, b""]), (*pseudo, *others))


class Reply(NamedTuple):
    """A whole reply."""

    status: int
    headers: Sequence[Header]
    body: bytes
    http_version: str
    """``1.0``, ``1.1`` or ``2``."""

    def header(self, name: bytes) -> str | None:
        """Return the first value of a header by its lower-case name."""
        for present, value in self.headers:
            if present.lower() == name:
                return value.decode("latin-1")
        return None


def checked(reply: Reply, *, delimited: bool) -> Reply:
    """Refuse the body of a success that we cannot trust or read; that of another status is not needed.

    Parameters
    ----------
    delimited
        The end of the body was marked: where it was not, a lost connection looks like a whole reply.

    Raises
    ------
    NetworkFaultError
        ``invalid_body`` or ``protocol``.
    """
    # Decompressing could make any size of it, and we never asked for a compressed one.
    coding = reply.header(b"content-encoding")
    encoded = coding is not None and coding.strip().lower() not in {"", "identity"}
    if reply.status != httpx.codes.OK:
        return reply._replace(body=b"") if encoded else reply
    if encoded:
        raise NetworkFaultError("invalid_body", "encoded in a way that was not asked for")
    if not delimited:
        raise NetworkFaultError("invalid_body", "it may be cut off, as it has no length")
    return reply
