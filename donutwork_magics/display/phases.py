"""Where the time went: the phases of a call, and the server's share of the wait, as breakdowns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from donutwork_magics.display.card import Breakdown, Segment
from donutwork_magics.units import format_ms

PHASES: Final[dict[str, str]] = {
    "dns_ms": "DNS",
    "connect_ms": "connect",
    "tls_ms": "TLS",
    "send_ms": "send",
    "ttfb_ms": "first byte",
    "receive_ms": "receive",
}
"""Column and name; the first byte is that of the reply, waited for since the last byte of the request."""

_SERVER_CAPTION: Final = "Wait for the first byte: in the server (RRT in its reply), and outside of it"


def phases(times_ms: Mapping[str, float], caption: str, value: str) -> Breakdown | None:
    """Break a call down into its phases; those that did not happen are left out.

    Parameters
    ----------
    times_ms
        By column, with those of `PHASES` among them.
    caption, value
        What the breakdown and its values are called.

    Returns
    -------
    Breakdown or None
        None where no phase is known.
    """
    return _breakdown({name: times_ms[column] for column, name in PHASES.items()}, caption, ("phase", value))


def server_share(rrt_ms: float, ttfb_ms: float, value: str) -> Breakdown | None:
    """Break the wait for the first byte down into what the server reports as its own, and the rest.

    Parameters
    ----------
    value
        What its values are called.

    Returns
    -------
    Breakdown or None
        None where the server's own time is unknown, 0, or longer than the wait.
    """
    if not 0 < rrt_ms <= ttfb_ms:
        return None
    return _breakdown({"server": rrt_ms, "network": ttfb_ms - rrt_ms}, _SERVER_CAPTION, ("part", value))


def known(*breakdowns: Breakdown | None) -> tuple[Breakdown, ...]:
    """Leave out those that are not known."""
    return tuple(breakdown for breakdown in breakdowns if breakdown is not None)


def _breakdown(times_ms: Mapping[str, float], caption: str, head: tuple[str, str]) -> Breakdown | None:
    # NaN is not above 0 either.
    taken = {name: time_ms for name, time_ms in times_ms.items() if time_ms > 0}
    total_ms = sum(taken.values())
    segments = tuple(Segment(name, format_ms(time_ms), time_ms / total_ms) for name, time_ms in taken.items())
    return Breakdown(caption, head, segments) if segments else None
