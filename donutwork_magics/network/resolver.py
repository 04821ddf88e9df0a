"""Name resolution that a deadline can end: `getaddrinfo` itself cannot be given one."""

from __future__ import annotations

import os
import queue
import socket
import threading
from typing import Final, NamedTuple

from donutwork_magics.network.deadline import POLL_S, Deadline
from donutwork_magics.network.faults import dns_fault


class Address(NamedTuple):
    """One place to connect to, as `socket.getaddrinfo` gives it."""

    family: socket.AddressFamily
    sockaddr: tuple[str | int | bytes, ...]


_MOST_PARKED: Final = 4
_LOCALHOST: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

_Answer = list[Address] | Exception
_Question = tuple[str, int, socket.AddressFamily, "queue.SimpleQueue[_Answer]"]

_parked: Final[list[queue.SimpleQueue[_Question]]] = []
"""The inboxes of threads that wait for a question; only whole operations of the list are used."""


if hasattr(os, "register_at_fork"):
    # A forked child has the inboxes, and none of the threads.
    os.register_at_fork(after_in_child=_parked.clear)


def resolve(host: str, port: int, family: socket.AddressFamily, deadline: Deadline) -> list[Address]:
    """Resolve a host name in another thread, which is left behind if it hangs.

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
    answer: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    try:
        inbox = _parked.pop()
    except IndexError:
        inbox = _start()
    inbox.put((host, port, family, answer))
    while True:
        try:
            found = answer.get(timeout=min(POLL_S, deadline.remaining_s()))
        except queue.Empty:
            continue
        if isinstance(found, Exception):
            raise dns_fault(found)
        return found


def park() -> None:
    """Have a thread wait for the first question: to start one takes as long as a lookup, and would count as one."""
    if not _parked:
        _parked.append(_start())


def _start() -> queue.SimpleQueue[_Question]:
    inbox: queue.SimpleQueue[_Question] = queue.SimpleQueue()
    threading.Thread(target=_answer, args=(inbox,), name="donutwork-resolver", daemon=True).start()
    return inbox


def _answer(inbox: queue.SimpleQueue[_Question]) -> None:
    is_parked = True
    while is_parked:
        host, port, family, answer = inbox.get()
        found: _Answer
        try:
            found = _getaddrinfo(host, port, family)
        except (OSError, UnicodeError) as error:
            found = error
        is_parked = len(_parked) < _MOST_PARKED
        if is_parked:
            _parked.append(inbox)
        answer.put(found)


def known_addresses(host: str, port: int, family: socket.AddressFamily) -> list[Address]:
    """Return the addresses that need no resolver: one that `host` spells out, or those of localhost (RFC 6761, 6.3).

    IPv4 comes first there, as more of what runs on one's own machine listens on it. Empty for every other name.
    """
    if host == "localhost":
        wanted = [known for known in _LOCALHOST if family in {known, socket.AF_UNSPEC}]
        return [address for known in wanted for address in numeric_address(_LOCALHOST[known], port, known)]
    return numeric_address(host, port, family)


def numeric_address(host: str, port: int, family: socket.AddressFamily) -> list[Address]:
    """Return the address that `host` spells out, or an empty list where it is a name."""
    try:
        return _getaddrinfo(host, port, family, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []


def _getaddrinfo(host: str, port: int, family: socket.AddressFamily, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    return [Address(family, sockaddr) for family, _type, _proto, _name, sockaddr in found]
