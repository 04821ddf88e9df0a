"""The findings about a run as the notes of its card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from donutwork_magics.analysis.diagnose import Finding
from donutwork_magics.units import enumerate_some, short_name

_MOST_WHOLE: Final = 2
_MOST_NAMED: Final = 4


def notes_of(findings: Sequence[Finding]) -> Iterator[str]:
    """Write findings as notes: of two labels all that there is to know, and of more which of them have what.

    A card is not to grow with its labels.
    """
    labels = {finding.label for finding in findings if finding.label is not None}
    told: set[str] = set()
    for finding in findings:
        if finding.label is None:
            yield str(finding)
        elif len(labels) <= _MOST_WHOLE:
            yield f"{short_name(finding.label)}: {finding.text if finding.name in told else finding}"
            told.add(finding.name)
        elif finding.name not in told:
            told.add(finding.name)
            having = [each.label for each in findings if each.name == finding.name and each.label is not None]
            names = enumerate_some([short_name(label) for label in dict.fromkeys(having)], _MOST_NAMED)
            yield f"{finding.name[0].upper()}{finding.name[1:]}: {names}"
