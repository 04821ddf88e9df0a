"""When a series must end: being a good guest at somebody else's API."""

from __future__ import annotations

from typing import Final

from donutwork_magics.client.results import Sample
from donutwork_magics.errors import Kind

LONGEST_PAUSE_S: Final = 120.0
"""A server that asks for more is not waited for."""
HOPELESS_IN_A_ROW: Final = 5

_REFUSED: Final[frozenset[Kind]] = frozenset({"unauthorized", "forbidden", "env_mismatch"})
_UNREACHABLE: Final[frozenset[Kind]] = frozenset({"dns", "connect", "tls"})


class StopRules:
    """Looks at each completed ping, and decides whether the series ends.

    It is asked by one thread at a time.

    Parameters
    ----------
    reached
        Whether the address is known to be right, as for a watch that was paused and goes on.

    Attributes
    ----------
    reached : bool
        Whether a request was ever sent, over TLS where the address asks for it, or a reply came. A TCP connection alone
        shows nothing: where TLS fails on it, the address may be that of something else.
    """

    def __init__(self, *, reached: bool = False) -> None:
        self.reached = reached
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
