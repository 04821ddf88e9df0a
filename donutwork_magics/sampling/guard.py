"""When a series must rest, and when it must end: being a good guest at somebody else's API."""

from __future__ import annotations

import random
from typing import Final

from donutwork_magics.client.sample import Sample
from donutwork_magics.errors import Kind

LONGEST_PAUSE_S: Final = 120.0
"""A server that asks for more is not waited for."""
HOPELESS_IN_A_ROW: Final = 5

_REFUSED: Final[frozenset[Kind]] = frozenset({"unauthorized", "forbidden", "env_mismatch"})
_UNREACHABLE: Final[frozenset[Kind]] = frozenset({"dns", "connect", "tls"})
_BACKOFF_BASE_S: Final = 0.5
_BACKOFF_CAP_S: Final = 30.0


class Guard:
    """Looks at each completed ping, and decides whether the series rests or ends.

    It is asked by one thread at a time.
    """

    def __init__(self) -> None:
        self._unreachable_in_a_row = 0
        self._throttled_in_a_row = 0
        self._random = random.Random()

    def must_end(self, sample: Sample) -> bool:
        """Tell whether going on is pointless: the key is refused, the host is gone, or the rest would be too long."""
        self._unreachable_in_a_row = self._unreachable_in_a_row + 1 if sample.error in _UNREACHABLE else 0
        return (
            sample.error in _REFUSED
            or self._unreachable_in_a_row >= HOPELESS_IN_A_ROW
            or (_is_throttled(sample) and (sample.retry_after_s or 0.0) > LONGEST_PAUSE_S)
        )

    def pause_s(self, sample: Sample) -> float:
        """Return how long to rest after this ping, in seconds; 0 for not at all.

        The server's Retry-After is the least; beyond it "full jitter" keeps many clients from coming back together
        (M. Brooker, "Exponential Backoff And Jitter", 2015).
        """
        if not _is_throttled(sample):
            self._throttled_in_a_row = 0
            return 0.0
        # Doubled no further than the cap: after a thousand in a row the number would have no end.
        longest_s = min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2.0 ** min(self._throttled_in_a_row, 16))
        self._throttled_in_a_row += 1
        return max(sample.retry_after_s or 0.0, self._random.uniform(0.0, longest_s))


def _is_throttled(sample: Sample) -> bool:
    return sample.status_code in {429, 503}
