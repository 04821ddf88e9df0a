"""When a series must end: being a good guest at somebody else's API."""

from __future__ import annotations

from typing import Final

from donutwork_magics.client.sample import Sample
from donutwork_magics.errors import Kind

LONGEST_PAUSE_S: Final = 120.0
"""A server that asks for more is not waited for."""
HOPELESS_IN_A_ROW: Final = 5

_REFUSED: Final[frozenset[Kind]] = frozenset({"unauthorized", "forbidden", "env_mismatch"})
_UNREACHABLE: Final[frozenset[Kind]] = frozenset({"dns", "connect", "tls"})


class Guard:
    """Looks at each completed ping, and decides whether the series ends.

    It is asked by one thread at a time.
    """

    def __init__(self) -> None:
        self._unreachable_in_a_row = 0

    def must_end(self, sample: Sample) -> bool:
        """Tell whether going on is pointless: the key is refused, the host is gone, or the rest would be too long."""
        self._unreachable_in_a_row = self._unreachable_in_a_row + 1 if sample.error in _UNREACHABLE else 0
        return (
            sample.error in _REFUSED
            or self._unreachable_in_a_row >= HOPELESS_IN_A_ROW
            or (is_throttled(sample) and (sample.retry_after_s or 0.0) > LONGEST_PAUSE_S)
        )


def is_throttled(sample: Sample) -> bool:
    """Tell whether the server asks for fewer calls."""
    return sample.status_code in {429, 503}
