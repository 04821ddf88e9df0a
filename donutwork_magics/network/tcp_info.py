"""The kernel's own view of a TCP connection, where it has one that we can read (Linux)."""

from __future__ import annotations

import math
import socket
import struct
import sys
from typing import NamedTuple

# struct tcp_info of <linux/tcp.h>: eight bytes, then 32-bit fields, of which tcpi_total_retrans is the 24th; then four
# of 64 bits, and again 32-bit fields, of which tcpi_min_rtt is the fourth. It only ever grows at its end.
_TOTAL_RETRANS_AND_MIN_RTT = struct.Struct("=8x 92x I 32x 12x I")
_NO_RTT_YET = 0xFFFFFFFF


class TcpInfo(NamedTuple):
    """What the kernel measured, without any of our own time in it."""

    rtt_ms: float
    """The least round-trip time that it saw on this connection within minutes, NaN where it saw none.

    Not the smoothed one (RFC 6298): a server that answers at once acknowledges with its answer, so that its own time is
    in that, and a slow server would look like a slow network.
    """
    total_retransmits: int
    """Segments sent again since the connection was made."""


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """Read TCP_INFO, or return None where the kernel does not offer it."""
    if sys.platform != "linux":
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANS_AND_MIN_RTT.size)
    except OSError:
        return None
    if len(raw) < _TOTAL_RETRANS_AND_MIN_RTT.size:
        return None
    total_retransmits, rtt_us = _TOTAL_RETRANS_AND_MIN_RTT.unpack(raw)
    return TcpInfo(math.nan if rtt_us == _NO_RTT_YET else rtt_us / 1e3, total_retransmits)
