"""What the sandbox injects: latency, server time and faults, each drawn from its own seeded stream.

The ``parse_*`` functions read option values for the command line and for the magics alike. They raise
`ValueError` with one line that never repeats what was typed, because that may be a key.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ..errors import Kind

FAULTS: Final[tuple[Kind, ...]] = (
    "unauthorized",
    "forbidden",
    "rate_limited",
    "server_error",
    "invalid_body",
    "schema",
    "not_found",
    "redirect",
    "connection_lost",
    "timeout",
)
"""The outcomes that can be injected, by the names under which the ``error`` column reports them."""

MAX_DELAY_S: Final = 60.0
MAX_RETRY_AFTER_S: Final = 86_400

_UNIT_S: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_TIME: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ns|us|ms|s)")
_SHARE: Final = re.compile(r"[0-9](?:\.[0-9]{1,9})?|\.[0-9]{1,9}")
_Z95: Final = 1.6448536269514722
"""The 95th percentile of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Delay:
    """A constant delay, or a lognormal one where the 95th percentile is above the median."""

    median_s: float = 0.0
    p95_s: float = 0.0

    def draw(self, stream: random.Random) -> float:
        """Return one delay in seconds."""
        if self.p95_s == self.median_s:
            return self.median_s
        sigma = math.log(self.p95_s / self.median_s) / _Z95
        return stream.lognormvariate(math.log(self.median_s), sigma)


@dataclass(frozen=True, slots=True)
class Draw:
    """What happens to one request."""

    latency_s: float
    server_time_s: float
    fault: Kind | None


class Behaviour:
    """The seeded sequence of draws: equal arguments give equal sequences.

    Latency, server time and faults come from streams of their own, so that adding one leaves the others as they were.

    Parameters
    ----------
    latency, server_time
        The delay outside and inside the time that the server reports.
    faults
        Share of the requests by kind of fault; the shares add up to 1 at most.
    seed
        Not negative.
    """

    def __init__(self, latency: Delay, server_time: Delay, faults: Mapping[Kind, float], seed: int) -> None:
        self._latency = latency
        self._server_time = server_time
        self._faults = tuple(faults.items())
        self._latencies = random.Random(f"{seed} latency")
        self._server_times = random.Random(f"{seed} server time")
        self._chances = random.Random(f"{seed} fault")

    def draw(self) -> Draw:
        """Return what happens to the next request, in order of arrival."""
        return Draw(
            self._latency.draw(self._latencies),
            self._server_time.draw(self._server_times),
            self._draw_fault(),
        )

    def _draw_fault(self) -> Kind | None:
        chance = self._chances.random()
        for kind, share in self._faults:
            if chance < share:
                return kind
            chance -= share
        return None


def parse_delay(text: str) -> Delay:
    """Read ``20ms``, or ``20ms/60ms`` for a median and a 95th percentile.

    Raises
    ------
    ValueError
        If it is neither, longer than a minute, or a 95th percentile below its median.
    """
    median_text, slash, p95_text = text.partition("/")
    median_s = _seconds(median_text)
    p95_s = _seconds(p95_text) if slash else median_s
    if max(median_s, p95_s) > MAX_DELAY_S:
        raise ValueError(f"a delay is {MAX_DELAY_S:.0f}s at most")
    if slash and not 0 < median_s <= p95_s:
        raise ValueError("of MEDIAN/P95 the median is above 0 and the 95th percentile not below it, as in 20ms/60ms")
    return Delay(median_s, p95_s)


def parse_faults(texts: Iterable[str]) -> dict[Kind, float]:
    """Read ``KIND:SHARE`` values, such as ``rate_limited:0.1``.

    Raises
    ------
    ValueError
        If a kind is unknown or comes twice, a share is not in (0, 1], or the shares add up to more than 1.
    """
    faults: dict[Kind, float] = {}
    for text in texts:
        name, _, share_text = text.partition(":")
        if name not in FAULTS:
            raise ValueError(f"a fault is KIND:SHARE with a KIND of {', '.join(FAULTS)}")
        if name in faults:
            raise ValueError(f"the fault {name} is given twice; give it once, with the whole share")
        if not _SHARE.fullmatch(share_text) or not 0 < float(share_text) <= 1:
            raise ValueError(f"the share of {name} is a number above 0 and 1 at most, as in {name}:0.1")
        faults[name] = float(share_text)
    # Shares such as 0.1 are not exact in binary: a sum meant to be 1 may come out a little above it.
    if math.fsum(faults.values()) > 1 + 1e-9:
        raise ValueError("the shares of all faults add up to more than 1")
    return faults


def parse_retry_after(text: str) -> int:
    """Read ``1s``: whole seconds, as the Retry-After header can say them.

    Raises
    ------
    ValueError
        If it is not whole seconds, or longer than a day.
    """
    if not re.fullmatch(r"[0-9]{1,5}s", text):
        raise ValueError("a retry-after is whole seconds, as in 1s")
    return check_retry_after(int(text[:-1]))


def parse_port(text: str) -> int:
    """Read a TCP port, 0 for a free one.

    Raises
    ------
    ValueError
        If it is not a whole number from 0 to 65535.
    """
    return check_port(int(text) if re.fullmatch(r"[0-9]{1,5}", text) else -1)


def parse_seed(text: str) -> int:
    """Read a seed.

    Raises
    ------
    ValueError
        If it is not a whole number from 0 to 2**63 - 1.
    """
    return check_seed(int(text) if re.fullmatch(r"[0-9]{1,19}", text) else -1)


def check_retry_after(seconds: int) -> int:
    """Return `seconds`, or raise ValueError if no Retry-After of the sandbox can be that."""
    if not 0 <= seconds <= MAX_RETRY_AFTER_S:
        raise ValueError(f"a retry-after is {MAX_RETRY_AFTER_S}s at most")
    return seconds


def check_port(port: int) -> int:
    """Return `port`, or raise ValueError if it is none."""
    if not 0 <= port <= 65535:
        raise ValueError("a port is a whole number from 0 to 65535, 0 for a free one")
    return port


def check_seed(seed: int) -> int:
    """Return `seed`, or raise ValueError if it is out of range."""
    if not 0 <= seed < 2**63:
        raise ValueError("a seed is a whole number from 0 to 2**63 - 1")
    return seed


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("a delay is a time as in 20ms, or MEDIAN/P95 as in 20ms/60ms; units are ns, us, ms, s")
    return float(match[1]) * _UNIT_S[match[2]]
