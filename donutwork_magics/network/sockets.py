"""From a host name to a connected socket: name resolution, TCP (with the kernel's view of it), and TLS.

`getaddrinfo` has no timeout, so it runs in threads. TCP takes the first address that answers (Happy Eyeballs, RFC
8305). The contexts of TLS always verify, and read nothing from the environment.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - the first getaddrinfo imports it, for which a fork meanwhile would wait for ever
import errno
import math
import os
import queue
import selectors
import socket
import ssl
import struct
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Final, NamedTuple

import certifi

from donutwork_magics.errors import OutOfFilesError, OutOfThreadsError
from donutwork_magics.interrupts import start_thread
from donutwork_magics.network.exchange import (
    NOT_OFFERED,
    POLL_S,
    CallCancelledError,
    Deadline,
    NetworkFaultError,
    os_reason,
)
from donutwork_magics.types import Http

ALPN: dict[Http, list[str]] = {"auto": ["h2", "http/1.1"], "1.1": ["http/1.1"], "2": ["h2"]}
"""What is offered to the server, by its registered names."""

_MOST_PARKED: Final = 4
"""How many threads wait for the next lookup."""
_MOST_THREADS: Final = 256
"""Few of them hang: one for each worker that has asked for the same host before the first of them timed out."""
_NO_ANSWER_S: Final = 30.0
"""For this long, further callers wait for a lookup that has timed out. Then they start a new one: the system may never
end the first, although it would answer a second."""
_LOCALHOST: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

ATTEMPT_DELAY_S: Final = 0.25
"""How long after one attempt to connect the next begins (RFC 8305, section 8)."""

# epoll and kqueue need four more system calls, whose time would count as connecting.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
_OUT_OF_FILES: Final = {errno.EMFILE, errno.ENFILE}
_PENDING: Final = {0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)}

# struct tcp_info of <linux/tcp.h>: eight bytes; 32-bit fields, of which tcpi_rtt is the 16th and tcpi_total_retrans the
# 24th; four of 64 bits; and again 32-bit fields, of which tcpi_min_rtt is the 4th. It grows at its end only.
_TCP_INFO: Final = struct.Struct("=8x 60x I 28x I 32x 12x I")
_NO_RTT_YET: Final = 0xFFFFFFFF


class Address(NamedTuple):
    """One address to connect to, as `socket.getaddrinfo` gives it."""

    family: socket.AddressFamily
    sockaddr: tuple[str | int | bytes, ...]


_Question = tuple[str, int, socket.AddressFamily]


class _Lookup:
    """A question to the system; who takes the answer puts it back for others who wait for it."""

    def __init__(self, question: _Question) -> None:
        self.question = question
        self.began_s = time.monotonic()
        self.answer: queue.SimpleQueue[list[Address] | Exception] = queue.SimpleQueue()
        self.ended = False


class _Resolver:
    """Asks the system in threads; a thread that hangs is left to end by itself."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[_Lookup] = queue.SimpleQueue()
        self._threads = 0
        self.parked = 0
        """How many of the threads wait for a lookup."""
        self._hanging: dict[_Question, _Lookup] = {}
        """The latest lookup of each question that has timed out, and has not ended yet."""

    def resolve(self, question: _Question, deadline: Deadline) -> list[Address] | Exception:
        with self._lock:
            lookup = self._lookup(question)
        while True:
            try:
                found = lookup.answer.get(timeout=min(POLL_S, deadline.remaining_s()))
            except queue.Empty:
                continue
            except (NetworkFaultError, CallCancelledError):
                with self._lock:
                    if not lookup.ended:
                        self._hanging[question] = lookup
                raise
            lookup.answer.put(found)
            return found

    def park(self) -> None:
        with self._lock:
            if not self.parked:
                self._start()
                self.parked += 1

    def _lookup(self, question: _Question) -> _Lookup:
        hanging = self._hanging.get(question)
        if hanging is not None and time.monotonic() - hanging.began_s < _NO_ANSWER_S:
            return hanging
        if self.parked:
            self.parked -= 1
        else:
            self._start()
        lookup = _Lookup(question)
        self._inbox.put(lookup)
        return lookup

    def _start(self) -> None:
        if self._threads >= _MOST_THREADS:
            raise NetworkFaultError("dns", f"{_MOST_THREADS} lookups are under way, and none ends")
        start_thread(threading.Thread(target=self._work, name="donutwork-resolver", daemon=True))
        self._threads += 1

    def _work(self) -> None:
        stays = True
        while stays:
            lookup = self._inbox.get()
            found: list[Address] | Exception
            try:
                found = _getaddrinfo(*lookup.question)
            except (OSError, UnicodeError) as error:
                found = error
            with self._lock:
                lookup.ended = True
                if self._hanging.get(lookup.question) is lookup:
                    del self._hanging[lookup.question]
                stays = self.parked < _MOST_PARKED
                if stays:
                    self.parked += 1
                else:
                    self._threads -= 1
            lookup.answer.put(found)


_resolver: Final = _Resolver()

if hasattr(os, "register_at_fork"):
    # A forked child has none of the threads.
    os.register_at_fork(after_in_child=_resolver.begin_anew)


def resolve(host: str, port: int, family: socket.AddressFamily, deadline: Deadline) -> list[Address]:
    """Resolve a host name in another thread, to addresses in the order of preference of the system (RFC 6724).

    A resolver that hangs (for 4 s and more, where a name server is gone) would otherwise outlive the deadline; the
    thread is left to end by itself. While a lookup hangs that has timed out, the next callers with the same question
    wait for it instead of starting a thread.

    Raises
    ------
    NetworkFaultError, CallCancelledError
        ``dns`` or ``timeout``; the call was cancelled.
    """
    try:
        found = _resolver.resolve((host, port, family), deadline)
    except OutOfThreadsError:
        raise NetworkFaultError("dns", "this process can start no further thread") from None
    if isinstance(found, OSError) and found.errno in _OUT_OF_FILES:
        raise OutOfFilesError
    if isinstance(found, Exception):
        # `getaddrinfo` raises UnicodeError where a host cannot be a name (``a..b``).
        raise NetworkFaultError("dns", os_reason(found) if isinstance(found, OSError) else "not a valid host name")
    return found


def park() -> None:
    """Start a thread ahead of the first lookup: starting one takes as long as a lookup, and would be in `dns_ms`."""
    _resolver.park()


def known_addresses(host: str, port: int, family: socket.AddressFamily) -> list[Address]:
    """Return the addresses that need no resolver: a numeric `host`, or localhost (RFC 6761, 6.3); else an empty list.

    IPv4 comes first for localhost, as more local servers listen on it.
    """
    if host == "localhost":
        wanted = [known for known in _LOCALHOST if family in {known, socket.AF_UNSPEC}]
        return [address for known in wanted for address in known_addresses(_LOCALHOST[known], port, known)]
    try:
        return _getaddrinfo(host, port, family, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []


def _getaddrinfo(host: str, port: int, family: socket.AddressFamily, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    return [Address(family, sockaddr) for family, _type, _proto, _name, sockaddr in found]


def connect_first(addresses: Sequence[Address], deadline: Deadline) -> tuple[socket.socket, str]:
    """Connect to the addresses, families in turn, each a little after the one before, and keep the first that answers.

    One after the other, a host with a dead IPv6 route would use up the deadline before IPv4 is tried.

    The host's address comes with it: to ask the socket for that (`getpeername`) would take some 10 us, in no phase, as
    the system may be busy with the new connection.

    Raises
    ------
    NetworkFaultError, CallCancelledError
        ``connect``: every address refused; ``timeout``: none answered in time; the call was cancelled.
    OutOfFilesError
        This process may open no further socket.
    """
    first = [address for address in addresses if address.family == addresses[0].family]
    others = [address for address in addresses if address.family != addresses[0].family]
    waiting = [address for pair in zip_longest(first, others) for address in pair if address is not None]
    last_error: OSError = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    next_attempt_s = 0.0
    with _Selector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting and (not selector.get_map() or time.monotonic() >= next_attempt_s):
                    next_attempt_s = time.monotonic() + ATTEMPT_DELAY_S
                    try:
                        address = waiting.pop(0)
                        selector.register(_start(address), selectors.EVENT_WRITE, address.sockaddr[0])
                    except OSError as error:
                        if error.errno in _OUT_OF_FILES:
                            raise OutOfFilesError from None
                        last_error = error
                        continue
                for key, _events in selector.select(min(POLL_S, deadline.remaining_s())):
                    attempt = key.fileobj
                    assert isinstance(attempt, socket.socket)
                    selector.unregister(attempt)
                    code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    # ECONNRESET: it was connected and then reset. So the fault is a lost connection, found by sending.
                    if code in {0, errno.ECONNRESET}:
                        return attempt, key.data
                    attempt.close()
                    last_error = OSError(code, os.strerror(code))
        finally:
            for key in list((selector.get_map() or {}).values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
    raise NetworkFaultError("connect", os_reason(last_error))


def _start(address: Address) -> socket.socket:
    attempt = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        attempt.setblocking(False)
        attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = attempt.connect_ex(address.sockaddr)
        if code not in _PENDING:
            raise OSError(code, os.strerror(code))
    except OSError:
        attempt.close()
        raise
    return attempt


class TcpInfo(NamedTuple):
    """What the kernel measured, without any time of this process in it."""

    rtt_ms: float
    """The least round-trip time that it saw on this connection within minutes, NaN where it saw none.

    Not the smoothed one (RFC 6298): a server that answers at once acknowledges with its answer, so that its own time is
    in that, and a slow server would look like a slow network.
    """
    smoothed_rtt_ms: float
    total_retransmits: int
    """Segments sent again since the connection was made."""


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """Read TCP_INFO, or return None where the kernel does not offer it (only Linux does)."""
    if sys.platform != "linux":
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return None
    if len(raw) < _TCP_INFO.size:
        return None
    smoothed_us, total_retransmits, least_us = _TCP_INFO.unpack(raw)
    return TcpInfo(math.nan if least_us == _NO_RTT_YET else least_us / 1e3, smoothed_us / 1e3, total_retransmits)


@lru_cache(maxsize=16)
def tls_context(http: Http, ca_pem: str | None) -> ssl.SSLContext:
    """Make the context of a client, once for each pair of arguments, as loading the roots takes tens of milliseconds.

    `ssl.create_default_context` is not used: it writes the session's secrets to SSLKEYLOGFILE.

    `ca_pem` is the text of a PEM file of further roots, or None; one without a certificate is an `ssl.SSLError`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    if ca_pem is not None:
        context.load_verify_locations(cadata=ca_pem)
    # A host name in the subject alone does not count (RFC 9525, section 2).
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(ALPN[http])
    return context


def start_tls(sock: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline) -> ssl.SSLSocket:
    """Make the handshake; a failure is a ``tls`` or ``timeout``, or the call was cancelled, and closes the socket."""
    try:
        encrypted = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    except OSError as error:
        # `wrap_socket` asks whether the socket is connected, and it was reset by then.
        _close_half_made(error)
        sock.close()
        raise _tls_fault(error) from None
    try:
        while True:
            encrypted.settimeout(min(POLL_S, deadline.remaining_s()))
            try:
                encrypted.do_handshake()
            except TimeoutError:
                continue
            return encrypted
    except BaseException as error:
        encrypted.close()
        if isinstance(error, OSError):
            raise _tls_fault(error) from None
        raise


def _close_half_made(error: OSError) -> None:
    """Close the socket that a failed `wrap_socket` has made: before Python 3.13 it stays open, and is not returned."""
    for frame, _line in traceback.walk_tb(error.__traceback__):
        half_made = frame.f_locals.get("self")
        if isinstance(half_made, ssl.SSLSocket):
            half_made.close()


def _tls_fault(error: OSError) -> NetworkFaultError:
    """Name a failed handshake: a certificate that is refused, no version of HTTP in common, or a peer without TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NetworkFaultError("tls", error.verify_message or "certificate refused")
    if isinstance(error, (ssl.SSLEOFError, ConnectionError)):
        return NetworkFaultError("tls", "the server closed the connection during the handshake")
    if "no application protocol" in str(error).replace("_", " ").lower():
        # Some servers refuse the handshake (RFC 7301, section 3.2); others go on with what was not asked for.
        return NetworkFaultError("protocol", NOT_OFFERED)
    return NetworkFaultError("tls", os_reason(error))
