"""A share of experiments beside what was promised of it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """In how many of the experiments something happened."""

    what: str
    case: str
    hits: int
    of: int
    at_least: float = 0.0
    at_most: float = 1.0

    @property
    def value(self) -> float:
        """The share, from 0 to 1; NaN where there was no experiment."""
        return self.hits / self.of if self.of else math.nan

    @property
    def holds(self) -> bool:
        """Whether it is within what was promised, but for the chance of so many experiments (3 standard errors)."""
        if not self.of:
            return True
        low, high = (3 * math.sqrt(promised * (1 - promised) / self.of) for promised in (self.at_least, self.at_most))
        return self.at_least - low <= self.value <= self.at_most + high

    def line(self) -> str:
        """Write it in one line."""
        promised = [f">= {self.at_least:.1%}"] * (self.at_least > 0) + [f"<= {self.at_most:.1%}"] * (self.at_most < 1)
        mark = ("holds" if self.holds else "MISSED") + f" ({' and '.join(promised)})" if promised else ""
        return f"{self.what:<58} {self.case:<24} {self.value:6.1%} of {self.of:<5} {mark}".rstrip()
