"""TCP: a connection to the first address that answers (Happy Eyeballs, RFC 8305), and the kernel's view of it."""

from __future__ import annotations

import errno
import math
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Final, NamedTuple

from donutwork_magics.network.faults import NetworkFaultError, os_reason
from donutwork_magics.network.resolver import Address
from donutwork_magics.network.timing import POLL_S, Deadline

ATTEMPT_DELAY_S: Final = 0.25
"""How long after one attempt the next begins (RFC 8305, section 8)."""

# epoll and kqueue need four more system calls, whose time would count as connecting.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
_PENDING: Final = {0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)}

# struct tcp_info of <linux/tcp.h>: eight bytes; 32-bit fields, of which tcpi_rtt is the 16th and tcpi_total_retrans the
# 24th; four of 64 bits; and again 32-bit fields, of which tcpi_min_rtt is the 4th. It grows at its end only.
_TCP_INFO: Final = struct.Struct("=8x 60x I 28x I 32x 12x I")
_NO_RTT_YET: Final = 0xFFFFFFFF


def connect_first(addresses: Sequence[Address], deadline: Deadline) -> tuple[socket.socket, str]:
    """Connect to the addresses, families in turn, each a little after the one before, and keep the first that answers.

    One after the other, a host with a dead IPv6 route would use up the deadline before IPv4 is tried.

    Returns
    -------
    socket.socket, str
        Connected, with TCP_NODELAY, and the host's address. To ask the socket for it (`getpeername`) would take some
        10 us, as the system may be busy with the new connection, and they would be in no phase.

    Raises
    ------
    NetworkFaultError
        ``connect``: every address refused; ``timeout``: none answered in time.
    CallCancelledError
        The call was cancelled.
    """
    waiting = _families_in_turn(addresses)
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


def _families_in_turn(addresses: Sequence[Address]) -> list[Address]:
    first = [address for address in addresses if address.family == addresses[0].family]
    other = [address for address in addresses if address.family != addresses[0].family]
    return [address for address in chain.from_iterable(zip_longest(first, other)) if address is not None]


class TcpInfo(NamedTuple):
    """What the kernel measured, without any time of this process in it."""

    rtt_ms: float
    """The least round-trip time that it saw on this connection within minutes, NaN where it saw none.

    Not the smoothed one (RFC 6298): a server that answers at once acknowledges with its answer, so that its own time is
    in that, and a slow server would look like a slow network.
    """
    smoothed_rtt_ms: float
    """The smoothed one."""
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
