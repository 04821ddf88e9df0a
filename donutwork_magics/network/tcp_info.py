"""The kernel's own view of a TCP connection, where it has one that we can read (Linux)."""

from __future__ import annotations

import socket
import struct
import sys
from typing import NamedTuple

# struct tcp_info of <linux/tcp.h>: eight bytes, then 32-bit fields, of which tcpi_rtt is the 16th and
# tcpi_total_retrans the 24th. It only ever grows at its end.
_RTT_AND_TOTAL_RETRANS = struct.Struct("=8x 60x I 28x I")


class TcpInfo(NamedTuple):
    """What the kernel measured, without any of our own time in it."""

    rtt_ms: float
    """Smoothed round-trip time (RFC 6298)."""
    total_retransmits: int
    """Segments sent again since the connection was made."""


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """Read TCP_INFO, or return None where the kernel does not offer it."""
    if sys.platform != "linux":
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_AND_TOTAL_RETRANS.size)
    except OSError:
        return None
    if len(raw) < _RTT_AND_TOTAL_RETRANS.size:
        return None
    rtt_us, total_retransmits = _RTT_AND_TOTAL_RETRANS.unpack(raw)
    return TcpInfo(rtt_us / 1e3, total_retransmits)
