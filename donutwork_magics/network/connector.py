"""A TCP connection to the first address that answers, in the manner of Happy Eyeballs (RFC 8305)."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Sequence
from itertools import chain, zip_longest

from donutwork_magics.network.deadline import POLL_S, Deadline
from donutwork_magics.network.faults import NetworkFaultError, os_reason
from donutwork_magics.network.resolver import Address

ATTEMPT_DELAY_S = 0.25
"""How long one attempt has the field to itself: RFC 8305, section 8."""

# epoll and kqueue would cost four system calls more, which would count as connecting.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
_PENDING = {0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)}


def connect_first(addresses: Sequence[Address], deadline: Deadline) -> tuple[socket.socket, str]:
    """Connect to the addresses, families in turn, each a little after the one before, and keep the first that answers.

    Without it, a host with a dead IPv6 route would cost the whole deadline before IPv4 is tried.

    Returns
    -------
    socket.socket, str
        Connected, with TCP_NODELAY, and the host's address. To ask the socket for it (`getpeername`) would take some
        10 us, as the system may be busy with the new connection, and they would be in no phase.

    Raises
    ------
    NetworkFaultError
        ``connect``: every address refused; ``timeout``: none answered in time.
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
                    # One that was reset had been made: the call that is about to be written is what was lost.
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
