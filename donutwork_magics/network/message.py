"""A request without a body, a reply that was read to its end, and what each version of HTTP makes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import httpx

from donutwork_magics.network.faults import NetworkFaultError

MAX_BODY_BYTES: Final = 64 * 1024
"""The documented replies have about a hundred bytes. A much larger one is not the API's, and is not read to its end."""

TOO_LARGE: Final = f"more than {MAX_BODY_BYTES // 1024} KiB"
INVALID: Final = "not valid HTTP"
CUT_OFF: Final = "closed before the reply was complete"

Header = tuple[bytes, bytes]

_NAME: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NOT_IN_A_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Prepared(NamedTuple):
    """A request, serialised up to where the key goes."""

    http1: bytes
    """As HTTP/1.1 writes it; another header may follow."""
    http2: tuple[Header, ...]
    """The fields of HTTP/2; another one may follow."""


def prepare(request: httpx.Request) -> Prepared:
    """Serialise a request without a body, once for all calls that send it.

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


class Driver(Protocol):
    """Speaks one version of HTTP on one connection, one request at a time, and does no I/O (sans-io.readthedocs.io).

    The connection reads all that has arrived before it lets the driver parse: no phase of a call contains parsing. So
    each piece that arrives is only kept (`receive`), and is parsed (`parse`) once no further one is to be waited for.
    """

    @property
    def lull_s(self) -> float:
        """How long a further piece is waited for before those that were received are parsed."""

    @property
    def first_byte_ns(self) -> int:
        """When the first byte of the current reply was received; 0 before."""

    def request(self, prepared: Prepared, authorization: bytes | None) -> bytes:
        """Begin a call, and return what is to be sent.

        Raises
        ------
        NetworkFaultError
            ``connection_lost``: the server takes no more requests on this connection.
        """

    def receive(self, data: bytes, now_ns: int) -> bool:
        """Keep a piece that has arrived, and tell whether a further one is to be waited for."""

    def parse(self, *, ended: bool) -> Reply | None:
        """Parse what was received, and return the reply once it is whole.

        Parameters
        ----------
        ended
            The server has closed the connection in good order.

        Raises
        ------
        NetworkFaultError
            There will be no valid reply.
        """

    def to_send(self) -> bytes:
        """Return what the protocol itself has to send after `parse`, such as acknowledgements."""

    def is_reusable(self, idle: bytes) -> bool:
        """Tell whether a further request may be sent, given what has arrived since the last reply."""


def checked(reply: Reply, *, delimited: bool) -> Reply:
    """Refuse the body of a 200 that may be cut off or is compressed; the body of another status is not needed.

    Parameters
    ----------
    delimited
        The end of the body was marked. Where it was not, a lost connection looks like a whole reply.

    Raises
    ------
    NetworkFaultError
        ``invalid_body``.
    """
    # A compressed body was not asked for, and could decompress to any size.
    coding = reply.header(b"content-encoding")
    encoded = coding is not None and coding.strip().lower() not in {"", "identity"}
    if reply.status != httpx.codes.OK:
        return reply._replace(body=b"") if encoded else reply
    if encoded:
        raise NetworkFaultError("invalid_body", "encoded in a way that was not asked for")
    if not delimited:
        raise NetworkFaultError("invalid_body", "it may be cut off, as it has no length")
    return reply
