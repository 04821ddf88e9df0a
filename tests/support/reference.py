"""The README's reference, made of the tables that ``%donutwork help`` shows.

``python -m tests.support.reference`` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from donutwork_magics.grammar.help import SUBJECTS, Subject, Table
from tests.support.notebooks import ROOT

README = ROOT / "README.md"
TITLES = {
    "columns": "The columns of the DataFrame, and its attrs",
    "errors": "Errors: what happened, and what to do",
    "settings": "Settings: environment variables and defaults",
    "card": "How to read the card of a run",
}
_NAMES = {"column", "error", "variable", "name"}
"""The heads of first columns that hold names of the language."""
_BLOCK = re.compile(r"(?<=<!-- reference -->\n).*(?=<!-- end of reference -->)", re.DOTALL)


def reference() -> str:
    """Return the reference as Markdown, each subject folded."""
    return "\n".join(line for name, title in TITLES.items() for line in _subject(title, SUBJECTS[name])) + "\n"


def written() -> str:
    """Return what the README has of it."""
    found = _BLOCK.search(README.read_text("utf-8"))
    assert found is not None, "the README has no place for the reference"
    return found[0]


def _subject(title: str, subject: Subject) -> Iterator[str]:
    yield from ("<details>", f"<summary>{title}</summary>", "", _text(subject.about), "")
    for table in subject.tables:
        if len(subject.tables) > 1:
            yield from (f"{_text(table.title)}:", "")
        yield from (*_table(table), "")
    for text in subject.more:
        yield from (_text(text), "")
    yield from ("</details>", "")


def _table(table: Table) -> Iterator[str]:
    yield _row(table.head)
    yield _row("---" for _ in table.head)
    for first, *others in table.rows:
        yield _row([f"`{first}`" if table.head[0] in _NAMES else first, *map(_text, others)])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Return a text with names and options as code, so that Markdown sees no sign of its own in them."""
    return re.sub(r"(?<![\w`-])(--?[a-z][a-z-]*|\w*_\w+|df\.[\w.]+(?:\[\S+\]|\(\))?)", r"`\1`", text)


if __name__ == "__main__":
    text = README.read_text("utf-8")
    README.write_text(_BLOCK.sub(lambda _: reference(), text), "utf-8")
