"""What every card is made of: values without a look, which `html` and `text` render alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Tone = Literal["ok", "warn", "bad", "off", "running"]

ICONS: Final[dict[Tone, str]] = {"ok": "✓", "warn": "⚠", "bad": "✗", "off": "○", "running": "▸"}
"""A state is always icon and word, so that it does not depend on colour."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is read first."""

    value: str
    name: str
    interval: str = ""
    """Of the value; empty where there is none."""

    @property
    def caption(self) -> str:
        """What stands beside the value."""
        return f"{self.name} ({self.interval})" if self.interval else self.name


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a whole."""

    name: str
    value: str
    share: float
    """Of the whole, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Parts of a whole: a stacked bar, and the same as a table."""

    caption: str
    head: tuple[str, str]
    """What the parts and their values are called."""
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with a header each; pairs of name and value where there is no `head`, else a column of names and numbers."""

    caption: str
    rows: tuple[tuple[str, ...], ...]
    head: tuple[str, ...] = ()
    code: bool = False
    """Whether the names are something to type."""


@dataclass(frozen=True, slots=True)
class Row:
    """One step of several: its state, what was found, what to do, and how long it took; empty where there is none."""

    tone: Tone
    state: str
    name: str
    time: str
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps with a state each, in their order."""

    caption: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart: an image with a text in its place, and lines of blocks in a terminal."""

    caption: str
    alt: str
    """What there is to see; the numbers themselves stand in a table."""
    svg: str
    blocks: tuple[tuple[str, str], ...] = ()
    """Pairs of a name, which may be empty, and a line of blocks or of what its axis says, to be left as it is."""
    live: bool = False
    """Drawn into the page, in the colours of its theme: only where nothing is saved or cleaned."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Charts side by side, or one below the other where the page is narrow."""

    pictures: tuple[Picture, ...]


Section: TypeAlias = Breakdown | Table | Steps | Pictures


@dataclass(frozen=True, slots=True)
class Details:
    """What is folded until somebody asks."""

    summary: str
    content: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """A picture of a value; all texts are plain, and are made safe by the renderers."""

    title: str
    tone: Tone
    state: str
    """The state in words; the renderers put the icon before it."""
    name: str = ""
    """Of what the state is, in somebody's own words: they may be of a script that runs from right to left."""
    badges: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    progress: float | None = None
    """0 to 1 while something runs."""
    notes: tuple[str, ...] = ()
    """What to know before believing the numbers, or to do next; one line each."""
    sections: tuple[Section, ...] = ()
    details: tuple[Details, ...] = ()
