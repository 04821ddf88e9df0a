"""Where the time went: the phases of a call, and the server's share of the wait, as breakdowns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from donutwork_magics.columns import PHASES
from donutwork_magics.display.card import Breakdown, Segment
from donutwork_magics.units import format_ms

_WAIT_CAPTION: Final = "Wait for the first byte: in the server (RRT in its reply), and outside of it"
_PATH_CAPTION: Final = (
    "Wait for the first byte: on the path (the least round trip that the system saw), in the server (RRT in its "
    "reply), and what neither explains, such as a gateway or a queue"
)


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


def wait(times_ms: Mapping[str, float], value: str) -> Breakdown | None:
    """Break the wait for the first byte down into path, server and the rest, or into server and network.

    Parameters
    ----------
    times_ms
        By column: ``ttfb_ms``, ``rrt_ms`` and ``tcp_rtt_ms``.
    value
        What its values are called.

    Returns
    -------
    Breakdown or None
        In three parts where the system tells the round trip; None where the server's own time is unknown, 0, or longer
        than the wait.
    """
    ttfb_ms, rrt_ms, path_ms = times_ms["ttfb_ms"], times_ms["rrt_ms"], times_ms["tcp_rtt_ms"]
    if not 0 < rrt_ms <= ttfb_ms:
        return None
    if not path_ms + rrt_ms <= ttfb_ms:
        # Unknown; or the least round trip was of a better moment than this one.
        return _breakdown({"server": rrt_ms, "network": ttfb_ms - rrt_ms}, _WAIT_CAPTION, ("part", value))
    parts_ms = {"path": path_ms, "server": rrt_ms, "unexplained": ttfb_ms - rrt_ms - path_ms}
    return _breakdown(parts_ms, _PATH_CAPTION, ("part", value))


def known(*breakdowns: Breakdown | None) -> tuple[Breakdown, ...]:
    """Leave out those that are not known."""
    return tuple(breakdown for breakdown in breakdowns if breakdown is not None)


def _breakdown(times_ms: Mapping[str, float], caption: str, head: tuple[str, str]) -> Breakdown | None:
    # NaN is not above 0 either.
    taken = {name: time_ms for name, time_ms in times_ms.items() if time_ms > 0}
    total_ms = sum(taken.values())
    segments = tuple(Segment(name, format_ms(time_ms), time_ms / total_ms) for name, time_ms in taken.items())
    return Breakdown(caption, head, segments) if segments else None
