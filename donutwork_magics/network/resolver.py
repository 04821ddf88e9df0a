"""Name resolution that a deadline can end: `getaddrinfo` itself cannot be given one."""

from __future__ import annotations

import queue
import socket
import threading
from typing import NamedTuple

from donutwork_magics.network.deadline import POLL_S, Deadline
from donutwork_magics.network.faults import dns_fault


class Address(NamedTuple):
    """One place to connect to, as `socket.getaddrinfo` gives it."""

    family: socket.AddressFamily
    sockaddr: tuple[str | int | bytes, ...]


def resolve(host: str, port: int, family: socket.AddressFamily, deadline: Deadline) -> list[Address]:
    """Resolve a host name in a thread of its own, which is left behind if it hangs.

    A resolver that hangs (4 s and more is usual when a name server is gone) would otherwise outlive the deadline.

    Returns
    -------
    list of Address
        In the order of preference of the system (RFC 6724), at least one.

    Raises
    ------
    NetworkFaultError
        ``dns`` or ``timeout``.
    """
    answer: queue.SimpleQueue[list[Address] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(_getaddrinfo(host, port, family))
        except (OSError, UnicodeError) as error:
            answer.put(error)

    threading.Thread(target=ask, name="donutwork-resolver", daemon=True).start()
    while True:
        try:
            found = answer.get(timeout=min(POLL_S, deadline.remaining_s()))
        except queue.Empty:
            continue
        if isinstance(found, Exception):
            raise dns_fault(found)
        return found


def numeric_address(host: str, port: int, family: socket.AddressFamily) -> list[Address]:
    """Return the address that `host` spells out, or an empty list where it is a name."""
    try:
        return _getaddrinfo(host, port, family, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []


def _getaddrinfo(host: str, port: int, family: socket.AddressFamily, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    return [Address(family, sockaddr) for family, _type, _proto, _name, sockaddr in found]
