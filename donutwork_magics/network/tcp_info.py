"""The kernel's own view of a TCP connection, where it has one that we can read (Linux)."""

from __future__ import annotations

import math
import socket
import struct
import sys
from typing import NamedTuple

# struct tcp_info of <linux/tcp.h>: eight bytes; 32-bit fields, of which tcpi_rtt is the 16th and tcpi_total_retrans the
# 24th; four of 64 bits; and again 32-bit fields, of which tcpi_min_rtt is the 4th. It only grows at its end.
_FIELDS = struct.Struct("=8x 60x I 28x I 32x 12x I")
_NO_RTT_YET = 0xFFFFFFFF


class TcpInfo(NamedTuple):
    """What the kernel measured, without any of our own time in it."""

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
    """Read TCP_INFO, or return None where the kernel does not offer it."""
    if sys.platform != "linux":
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)
    except OSError:
        return None
    if len(raw) < _FIELDS.size:
        return None
    smoothed_us, total_retransmits, least_us = _FIELDS.unpack(raw)
    return TcpInfo(math.nan if least_us == _NO_RTT_YET else least_us / 1e3, smoothed_us / 1e3, total_retransmits)
