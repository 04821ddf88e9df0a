"""What failures in a row mean: an outage of the service, which is data, or that to go on is pointless.

A service is down for a ping that gets no HTTP reply, or one that reports a failure of the server (5xx). Any other reply
shows that it is up, also one with another error: 404, 429 or a body that cannot be read. Three such pings in a row,
warm-up or not, are an outage. "In a row" is by their starts: with several in flight, a ping that was answered may
complete before an earlier one has timed out.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
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
    place: str
    """Which service was asked, as `places_of` names it."""
    timestamp_ns: int
    started_ms: float
    duration_ms: float
    error: str | None


def places_of(plan: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Name the service that each label of a run asks, from its ``attrs``; by an empty text where all ask the same.

    A cell may ask several: each line has an environment, and each environment may have a host and a key of its own.
    """
    names: dict[object, str] = {}
    places = {}
    for line in plan:
        place = line.get("host"), line.get("key")
        places[str(line.get("label"))] = names.setdefault(place, str(line.get("env") or line.get("host")))
    return places if len(names) > 1 else dict.fromkeys(places, "")


def pinged(row: Any, place: str) -> Pinged:
    """Take from a row what counts."""
    # A server that does not offer the version of HTTP that was asked for is up.
    error = None if row.error == "protocol" and math.isnan(row.send_ms) else row.error
    return Pinged(row.seq, place, row.timestamp_ns, row.started_ms, row.duration_ms, error)


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
    place: str = ""
    """What was down, as `places_of` names it."""


@dataclass(slots=True)
class _Service:
    """What the pings of one place have shown so far."""

    down: Outage | None = None
    end_s: float = -math.inf
    """Of its last ping."""
    waited_s: float = 0.0
    """Between its last two; infinite where there was one only."""


class Outages:
    """Finds the outages in the pings of one run, of each place by itself; written by one thread at a time.

    Lines of a cell take turns: an outage of one place goes on while others are asked, if no ping of that place was
    answered in between. Of many, those that began first are kept, and all are counted. It keeps no rows, so that it
    also knows what a watch has dropped; and it depends on nothing but the pings, so that a journal without an end tells
    the same.

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
        self._before = before
        """What is still described in the time of the run before."""
        self._services: dict[str, _Service] = {}
        self._end_s = math.inf
        self._idle_s = 0.0
        self._next_seq = 0
        self._waiting: dict[int, Pinged] = {}

    @property
    def current(self) -> Outage | None:
        """The outage that goes on now, as long as it is until now; of several, the one that began first."""
        with self._lock:
            return self._before or next(iter(_earliest(self._going_on())), None)

    def _going_on(self) -> list[Outage]:
        downs = [service.down for service in self._services.values()]
        return [down for down in downs if down is not None and down.pings >= FEWEST]

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
            going_on = self._going_on()
            return {
                "count": self._count + len(going_on),
                "total_s": self._total_s + sum(outage.length_s for outage in going_on),
                "first": [
                    {**asdict(outage), "kinds": list(outage.kinds)} for outage in _earliest([*self._first, *going_on])
                ],
            }

    def _take(self, ping: Pinged) -> None:
        self._next_seq = ping.seq + 1
        service = self._services.setdefault(ping.place, _Service())
        start_s = ping.started_ms / 1e3
        end_s = start_s + ping.duration_ms / 1e3
        if self._before is not None:
            service.down, self._before = _taken_over(self._before, ping.timestamp_ns / 1e9 - start_s, start_s), None
        idle_s = start_s - self._end_s
        # No ping was made for so long that nobody knows how the services were: a watch was paused, or the machine
        # slept. A slow plan has such waits all the time.
        if idle_s > max(_LONGEST_REST_S, _USUAL * max(self._idle_s, service.waited_s)):
            for each in self._services.values():
                self._close(each)
        service.waited_s, service.end_s = start_s - service.end_s, end_s
        self._idle_s, self._end_s = idle_s, end_s
        down = service.down
        if ping.error is None or ping.error not in DOWN:
            if down is not None:
                service.down = replace(down, length_s=start_s - down.at_s, over=True)
                self._close(service)
        elif down is None:
            began_s, kinds = ping.timestamp_ns / 1e9, (ping.error,)
            service.down = Outage(began_s, start_s, end_s - start_s, False, kinds, 1, ping.place)
        else:
            length_s = max(down.length_s, end_s - down.at_s)
            in_order = tuple(dict.fromkeys((*down.kinds, ping.error)))
            service.down = replace(down, length_s=length_s, kinds=in_order, pings=down.pings + 1)

    def _close(self, service: _Service) -> None:
        outage, service.down = service.down, None
        if outage is not None and outage.pings >= FEWEST:
            self._count += 1
            self._total_s += outage.length_s
            self._first = _earliest([*self._first, outage])


def _earliest(outages: list[Outage]) -> list[Outage]:
    return sorted(outages, key=lambda outage: outage.at_s)[:MOST_OUTAGES]


def _taken_over(before: Outage, zero_s: float, start_s: float) -> Outage | None:
    """Describe the outage of the run before in the time of this one; None where nobody knows how it was meanwhile."""
    down = replace(before, at_s=before.began_s - zero_s)
    return None if start_s - down.at_s - down.length_s > _LONGEST_REST_S else down


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
        # Where nothing was sent, the server does not offer the version of HTTP that was asked for.
        hopeless = sample.error in _UNREACHABLE or (sample.error == "protocol" and not self.reached)
        self._unreachable_in_a_row = self._unreachable_in_a_row + 1 if hopeless else 0
        return (
            sample.error in _REFUSED
            or (not self.reached and self._unreachable_in_a_row >= HOPELESS_IN_A_ROW)
            or (is_throttled(sample) and (sample.retry_after_s or 0.0) > LONGEST_PAUSE_S)
        )


def is_throttled(sample: Sample) -> bool:
    """Tell whether the server asks for fewer calls; a 503 that does not say for how long only tells that it is down."""
    return sample.status_code == 429 or (sample.status_code == 503 and sample.retry_after_s is not None)
