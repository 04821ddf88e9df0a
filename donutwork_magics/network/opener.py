"""From a host name to a connection that is ready for a request, phase by phase."""

from __future__ import annotations

import socket
import ssl
import time
import traceback
from dataclasses import dataclass

from donutwork_magics.network.connector import connect_first
from donutwork_magics.network.deadline import POLL_S, Deadline
from donutwork_magics.network.faults import tls_fault
from donutwork_magics.network.marks import Marks
from donutwork_magics.network.resolver import known_addresses, resolve


@dataclass(frozen=True, slots=True)
class Opener:
    """Where to connect, and how."""

    host: str
    port: int
    family: socket.AddressFamily
    context: ssl.SSLContext | None
    """None for a connection without TLS."""

    def connect(self, deadline: Deadline, marks: Marks) -> tuple[socket.socket, str]:
        """Resolve and connect, write the two durations down, and return the host's address too.

        Raises
        ------
        NetworkFaultError
            ``dns``, ``connect`` or ``timeout``.
        CallCancelledError
            The call was given up.
        """
        began_ns = resolved_ns = marks.start()
        addresses = known_addresses(self.host, self.port, self.family)
        if not addresses:
            addresses = resolve(self.host, self.port, self.family, deadline)
            resolved_ns = time.perf_counter_ns()
        marks.dns_ns = resolved_ns - began_ns
        connected = connect_first(addresses, deadline)
        marks.connect_ns = time.perf_counter_ns() - resolved_ns
        return connected

    def secure(self, sock: socket.socket, deadline: Deadline, marks: Marks) -> socket.socket:
        """Encrypt the connection where it is to be, and write the duration down.

        Raises
        ------
        NetworkFaultError
            ``tls`` or ``timeout``; the connection is closed.
        CallCancelledError
            The call was given up.
        """
        if self.context is None:
            marks.tls_ns = 0
            return sock
        began_ns = time.perf_counter_ns()
        encrypted = _start_tls(sock, self.context, self.host, deadline)
        marks.tls_ns = time.perf_counter_ns() - began_ns
        return encrypted


def _start_tls(sock: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline) -> ssl.SSLSocket:
    failure: OSError | None = None
    try:
        encrypted = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    except OSError as error:
        # It was reset before it could be asked whether it is connected.
        _close_half_made(error)
        failure = error
    if failure is not None:
        sock.close()
        raise tls_fault(failure)
    try:
        while True:
            encrypted.settimeout(min(POLL_S, deadline.remaining_s()))
            try:
                encrypted.do_handshake()
            except TimeoutError:
                continue
            except OSError as error:
                failure = error
            break
    except BaseException:
        encrypted.close()
        raise
    if failure is not None:
        encrypted.close()
        raise tls_fault(failure)
    return encrypted


def _close_half_made(error: OSError) -> None:
    """Close what `wrap_socket` had made of the socket, which before Python 3.13 it leaves open, and to nobody."""
    for frame, _line in traceback.walk_tb(error.__traceback__):
        half_made = frame.f_locals.get("self")
        if isinstance(half_made, ssl.SSLSocket):
            half_made.close()
