"""What failures in a row mean: an outage of the service, which is data, or that to go on is pointless.

A service is down for a ping that gets no HTTP reply, or one that reports a failure of the server (5xx). Any other reply
shows that it is up, also one with another error: 404, 429 or a body that cannot be read. Three such pings in a row,
warm-up or not, are an outage. "In a row" is by their starts: with several in flight, a ping that was answered may
complete before an earlier one has timed out.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

from donutwork_magics.client.results import Sample
from donutwork_magics.errors import Kind

DOWN: Final[frozenset[str]] = frozenset(
    {"dns", "connect", "tls", "timeout", "connection_lost", "protocol", "server_error"}
)
FEWEST: Final = 3
"""Fewer pings in a row are errors like any others."""
MOST_OUTAGES: Final = 20
"""So many are described; of more, the count and the time."""
_LONGEST_REST_S: Final = 150.0
"""What a server may ask for, with the jitter beyond it."""
_USUAL: Final = 2.0
_MOST_WAITING: Final = 50_000

LONGEST_PAUSE_S: Final = 120.0
"""A server that asks for more is not waited for."""
HOPELESS_IN_A_ROW: Final = 5
_REFUSED: Final[frozenset[Kind]] = frozenset({"unauthorized", "forbidden", "env_mismatch"})
_UNREACHABLE: Final[frozenset[Kind]] = frozenset({"dns", "connect", "tls"})


class Pinged(NamedTuple):
    """What counts of a completed ping."""

    seq: int
    place: object
    """Which service was asked: an outage is of one only."""
    timestamp_ns: int
    started_ms: float
    duration_ms: float
    error: str | None


def pinged(row: Any, place: object) -> Pinged:
    """Take from a row what counts."""
    return Pinged(row.seq, place, row.timestamp_ns, row.started_ms, row.duration_ms, row.error)


@dataclass(frozen=True, slots=True)
class Outage:
    """Pings in a row for which the service was down."""

    began_s: float
    """The start of the first of them, in seconds since 1970."""
    at_s: float
    """The same, since the run began; below 0 where it goes on from the run before."""
    length_s: float
    """To the start of the first ping that was answered; where there was none, to the end of the last that failed."""
    over: bool
    """Whether a ping was answered after it."""
    kinds: tuple[str, ...]
    """The errors of its pings, each once, in the order in which they came."""
    pings: int


class Outages:
    """Finds the outages in the pings of one run; written by one thread at a time.

    Of many, the first few are kept and all are counted. It keeps no rows, so that it also knows what a watch has
    dropped; and it depends on nothing but the pings, so that a journal without an end tells the same.

    Parameters
    ----------
    before
        The outage that went on as the run before this one ended, which asked the same service.
    """

    def __init__(self, before: Outage | None = None) -> None:
        # The card of a watch is made by another thread.
        self._lock = threading.Lock()
        self._count = 0
        self._total_s = 0.0
        self._first: list[Outage] = []
        self._down = before
        self._is_of_before = before is not None
        """Whether what goes on is still described in the time of the run before."""
        self._place: object = None
        self._end_s: float | None = None
        self._idle_s: float | None = None
        self._next_seq = 0
        self._waiting: dict[int, Pinged] = {}

    @property
    def current(self) -> Outage | None:
        """The outage that goes on now, as long as it is until now."""
        down = self._down
        return down if down is not None and down.pings >= FEWEST else None

    def add(self, ping: Pinged) -> None:
        """Take in a completed ping; it waits until all that started before it have completed."""
        with self._lock:
            self._waiting[ping.seq] = ping
            if len(self._waiting) > _MOST_WAITING:
                # The one before has been given up, or its line is not in the journal.
                self._next_seq = min(self._waiting)
            while (first := self._waiting.pop(self._next_seq, None)) is not None:
                self._take(first)

    def finish(self) -> None:
        """Wait no longer for pings that were given up."""
        with self._lock:
            for seq in sorted(self._waiting):
                self._take(self._waiting.pop(seq))

    def as_attrs(self) -> dict[str, Any]:
        """Return them as a small dict of plain values, with the one that goes on."""
        with self._lock:
            going_on = [] if self.current is None or self._is_of_before else [self.current]
            first = [*self._first, *going_on][:MOST_OUTAGES]
            return {
                "count": self._count + len(going_on),
                "total_s": self._total_s + sum(outage.length_s for outage in going_on),
                "first": [{**asdict(outage), "kinds": list(outage.kinds)} for outage in first],
            }

    def _take(self, ping: Pinged) -> None:
        self._next_seq = ping.seq + 1
        start_s = ping.started_ms / 1e3
        end_s = start_s + ping.duration_ms / 1e3
        if self._is_of_before:
            self._take_over(ping, start_s)
        if ping.place != self._place or self._is_apart(start_s):
            self._close(self._down)
        self._place, self._end_s = ping.place, end_s
        down = self._down
        if ping.error is None or ping.error not in DOWN:
            if down is not None:
                self._close(replace(down, length_s=start_s - down.at_s, over=True))
        elif down is None:
            self._down = Outage(ping.timestamp_ns / 1e9, start_s, end_s - start_s, False, (ping.error,), 1)
        else:
            kinds = tuple(dict.fromkeys((*down.kinds, ping.error)))
            length_s = max(down.length_s, end_s - down.at_s)
            self._down = replace(down, length_s=length_s, kinds=kinds, pings=down.pings + 1)

    def _take_over(self, ping: Pinged, start_s: float) -> None:
        """Go on with the outage of the run before, unless nobody knows how the service was meanwhile."""
        down, self._is_of_before = self._down, False
        if down is not None:
            down = replace(down, at_s=down.began_s - (ping.timestamp_ns / 1e9 - start_s))
            is_apart = start_s - down.at_s - down.length_s > _LONGEST_REST_S
            self._down, self._place = None if is_apart else down, ping.place

    def _is_apart(self, start_s: float) -> bool:
        """Tell whether no ping was made for so long that nobody knows how the service was meanwhile.

        So it is where a watch was paused, or the machine slept. A slow plan has such waits all the time.
        """
        if self._end_s is None:
            return False
        before_s, self._idle_s = self._idle_s, start_s - self._end_s
        return before_s is not None and self._idle_s > max(_LONGEST_REST_S, _USUAL * before_s)

    def _close(self, outage: Outage | None) -> None:
        self._down = None
        if outage is not None and outage.pings >= FEWEST:
            self._count += 1
            self._total_s += outage.length_s
            if len(self._first) < MOST_OUTAGES:
                self._first.append(outage)


class StopRules:
    """Looks at each completed ping, and decides whether the series ends; asked by one thread at a time.

    Parameters
    ----------
    reached
        Whether the address is known to be right, as for a watch that was paused and goes on.
    """

    def __init__(self, *, reached: bool = False) -> None:
        self.reached = reached
        """Whether a request was ever sent, over TLS where the address asks for it, or a reply came. A TCP connection
        alone shows nothing: where TLS fails on it, the address may be that of something else."""
        self._unreachable_in_a_row = 0

    def must_end(self, sample: Sample) -> bool:
        """Tell whether to go on is pointless: the key is refused, the address is wrong, or the rest is too long.

        Once something was reached, a host that cannot be reached is down, and the address is not wrong.
        """
        self.reached = self.reached or sample.status_code is not None or sample.exchange.phases.send_ms >= 0
        self._unreachable_in_a_row = self._unreachable_in_a_row + 1 if sample.error in _UNREACHABLE else 0
        return (
            sample.error in _REFUSED
            or (not self.reached and self._unreachable_in_a_row >= HOPELESS_IN_A_ROW)
            or (is_throttled(sample) and (sample.retry_after_s or 0.0) > LONGEST_PAUSE_S)
        )


def is_throttled(sample: Sample) -> bool:
    """Tell whether the server asks for fewer calls."""
    return sample.status_code in {429, 503}
