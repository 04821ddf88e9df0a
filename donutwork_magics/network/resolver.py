"""Name resolution with a deadline, in threads: `getaddrinfo` itself has no timeout."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from typing import Final, NamedTuple

from donutwork_magics.errors import OutOfThreadsError
from donutwork_magics.network.faults import CallCancelledError, NetworkFaultError, os_reason
from donutwork_magics.network.timing import POLL_S, Deadline
from donutwork_magics.threads import start_thread


class Address(NamedTuple):
    """One address to connect to, as `socket.getaddrinfo` gives it."""

    family: socket.AddressFamily
    sockaddr: tuple[str | int | bytes, ...]


_MOST_PARKED: Final = 4
"""How many threads wait for the next lookup."""
_MOST_THREADS: Final = 256
"""Few of them hang: one for each worker that has asked for the same host before the first of them timed out."""
_NO_ANSWER_S: Final = 30.0
"""For this long, further callers wait for a lookup that has timed out. Then they start a new one: the system may never
end the first, although it would answer a second."""
_LOCALHOST: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

_Question = tuple[str, int, socket.AddressFamily]
_Answers = queue.SimpleQueue[list[Address] | Exception]


class _Lookup:
    """A question to the system, and the queues of the callers that wait for its answer."""

    def __init__(self, question: _Question) -> None:
        self.question = question
        self.askers: list[_Answers] = []
        self.began_s = time.monotonic()


class _Resolver:
    """Asks the system in threads; a thread that hangs is left to end by itself."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        self._lock = threading.Lock()
        self.parked: list[queue.SimpleQueue[_Lookup]] = []
        """The inboxes of threads that wait for a lookup."""
        self._threads = 0
        self._hanging: dict[_Question, _Lookup] = {}
        """The latest lookup of each question that has timed out, and has not ended yet."""

    def resolve(self, question: _Question, deadline: Deadline) -> list[Address] | Exception:
        answers: _Answers = queue.SimpleQueue()
        with self._lock:
            lookup = self._lookup(question)
            lookup.askers.append(answers)
        while True:
            try:
                return answers.get(timeout=min(POLL_S, deadline.remaining_s()))
            except queue.Empty:
                continue
            except (NetworkFaultError, CallCancelledError):
                self._give_up(lookup, answers)
                raise

    def park(self) -> None:
        with self._lock:
            if not self.parked:
                self.parked.append(self._start())

    def _lookup(self, question: _Question) -> _Lookup:
        hanging = self._hanging.get(question)
        if hanging is not None and time.monotonic() - hanging.began_s < _NO_ANSWER_S:
            return hanging
        lookup = _Lookup(question)
        (self.parked.pop() if self.parked else self._start()).put(lookup)
        return lookup

    def _start(self) -> queue.SimpleQueue[_Lookup]:
        if self._threads >= _MOST_THREADS:
            raise NetworkFaultError("dns", f"{_MOST_THREADS} lookups are under way, and none ends")
        inbox: queue.SimpleQueue[_Lookup] = queue.SimpleQueue()
        start_thread(threading.Thread(target=self._work, args=(inbox,), name="donutwork-resolver", daemon=True))
        self._threads += 1
        return inbox

    def _give_up(self, lookup: _Lookup, answers: _Answers) -> None:
        with self._lock:
            # It may have ended just now.
            if answers in lookup.askers:
                lookup.askers.remove(answers)
                self._hanging[lookup.question] = lookup

    def _work(self, inbox: queue.SimpleQueue[_Lookup]) -> None:
        is_parked = True
        while is_parked:
            lookup = inbox.get()
            found: list[Address] | Exception
            try:
                found = _getaddrinfo(*lookup.question)
            except (OSError, UnicodeError) as error:
                found = error
            with self._lock:
                if self._hanging.get(lookup.question) is lookup:
                    del self._hanging[lookup.question]
                askers, lookup.askers = lookup.askers, []
                is_parked = len(self.parked) < _MOST_PARKED
                if is_parked:
                    self.parked.append(inbox)
                else:
                    self._threads -= 1
            for answers in askers:
                answers.put(found)


_resolver: Final = _Resolver()

if hasattr(os, "register_at_fork"):
    # A forked child has the inboxes, and none of the threads.
    os.register_at_fork(after_in_child=_resolver.begin_anew)


def resolve(host: str, port: int, family: socket.AddressFamily, deadline: Deadline) -> list[Address]:
    """Resolve a host name in another thread, which is left to end by itself where it hangs.

    A resolver that hangs (for 4 s and more, where a name server is gone) would otherwise outlive the deadline. While a
    lookup hangs that has timed out, the next callers with the same question wait for it instead of starting a thread.

    Returns
    -------
    list of Address
        In the order of preference of the system (RFC 6724), at least one.

    Raises
    ------
    NetworkFaultError
        ``dns`` or ``timeout``.
    CallCancelledError
        The call was cancelled.
    """
    try:
        found = _resolver.resolve((host, port, family), deadline)
    except OutOfThreadsError:
        found = None
    if found is None:
        raise NetworkFaultError("dns", "this process can start no further thread")
    if isinstance(found, Exception):
        # `getaddrinfo` raises UnicodeError where a host cannot be a name (``a..b``).
        raise NetworkFaultError("dns", os_reason(found) if isinstance(found, OSError) else "not a valid host name")
    return found


def park() -> None:
    """Start a thread ahead of the first lookup: starting one takes as long as a lookup, and would be in `dns_ms`.

    Raises
    ------
    OutOfThreadsError
        This process can start no further thread.
    """
    _resolver.park()


def known_addresses(host: str, port: int, family: socket.AddressFamily) -> list[Address]:
    """Return the addresses that need no resolver: a numeric `host`, or localhost (RFC 6761, 6.3); else an empty list.

    IPv4 comes first for localhost, as more local servers listen on it.
    """
    if host == "localhost":
        wanted = [known for known in _LOCALHOST if family in {known, socket.AF_UNSPEC}]
        return [address for known in wanted for address in numeric_address(_LOCALHOST[known], port, known)]
    return numeric_address(host, port, family)


def numeric_address(host: str, port: int, family: socket.AddressFamily) -> list[Address]:
    """Return the address of a numeric `host`, or an empty list where it is a name."""
    try:
        return _getaddrinfo(host, port, family, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []


def _getaddrinfo(host: str, port: int, family: socket.AddressFamily, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    return [Address(family, sockaddr) for family, _type, _proto, _name, sockaddr in found]
