"""Times in which a run was held back, as by rests that the server asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

MOST_PAUSES: Final = 20
"""A watch may have many in a week: the first ones are kept, and all are counted."""


@dataclass(slots=True)
class Pauses:
    """Pauses of one kind, in seconds since the run began."""

    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0
    first: list[tuple[float, float]] = field(default_factory=list)
    """When each of the first ones began, and how long it was."""
    _latest: tuple[float, float] = (0.0, 0.0)

    def add(self, from_s: float, until_s: float) -> None:
        """Count one more, or extend the latest where they overlap: several threads may report the same pause."""
        latest_s, length_s = self._latest
        if self.count and from_s < latest_s + length_s:
            from_s = min(from_s, latest_s)
            self.count -= 1
            self.total_s -= length_s
            if self.first[-1] == self._latest:
                self.first.pop()
        self._latest = from_s, until_s - from_s
        self.count += 1
        self.total_s += until_s - from_s
        self.longest_s = max(self.longest_s, until_s - from_s)
        if len(self.first) < MOST_PAUSES:
            self.first.append(self._latest)

    def as_attrs(self) -> dict[str, Any]:
        """Return them as a small dict of plain values."""
        return {
            "count": self.count,
            "total_s": self.total_s,
            "longest_s": self.longest_s,
            "first": [list(pause) for pause in self.first],
        }
