"""What comes with the package to learn from: the tutorials, which are notebooks, and recorded journals."""

from __future__ import annotations

import bz2
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from donutwork_magics.errors import DonutworkError
from donutwork_magics.grammar.values import did_you_mean
from donutwork_magics.interrupts import uninterrupted
from donutwork_magics.network.exchange import os_reason

if TYPE_CHECKING:
    import pandas as pd

_PACKAGE: Final = Path(__file__).parent
_EXAMPLE: Final = ".jsonl.bz2"


def tutorial(name: str | None) -> str:
    """Carry out ``tutorial``: copy one, or (None) list them all; return what to print.

    Raises
    ------
    DonutworkError
        The package lacks them; or as `copy_tutorial`.
    """
    if name is not None:
        return f"{copy_tutorial(name).name} is in the working directory now: open it in Jupyter's file browser.\n"
    titles = {_without_number(name): title for name, title in tutorials().items()}
    width = max(map(len, titles))
    rows = [f"  {name:<{width}}  {title}" for name, title in titles.items()]
    return "\n".join(["Tutorials: %donutwork tutorial NAME copies one into the working directory.", *rows]) + "\n"


def tutorials() -> dict[str, str]:
    """Return the title of each tutorial by its name, in the order in which they are read.

    Raises
    ------
    DonutworkError
        The package lacks them, or they cannot be read.
    """
    problem = "are missing"
    try:
        sources = {path.stem: json.loads(path.read_bytes())["cells"][0]["source"] for path in _notebooks()}
        # The first heading of each.
        if titles := {name: "".join(lines).splitlines()[0].lstrip("# ") for name, lines in sources.items()}:
            return titles
    except (OSError, ValueError, LookupError):
        problem = "cannot be read"
    raise DonutworkError(f"The tutorials {problem}: install donutwork_magics again.")


@uninterrupted
def copy_tutorial(name: str) -> Path:
    """Copy a tutorial into the working directory, and return the new file.

    Parameters
    ----------
    name
        As `tutorials` has it; its number and the ending ``.ipynb`` may be left out or not.

    Raises
    ------
    DonutworkError
        There is no such tutorial; or the file exists, or cannot be written, and is as it was.
    """
    names = {_without_number(each): each for each in tutorials()}
    wanted = name.removesuffix(".ipynb").lower()
    known = names.get(wanted, wanted)
    if known not in names.values():
        raise DonutworkError(f"There is no such tutorial{did_you_mean(wanted, names)} They are {', '.join(names)}.")
    file = f"{known}.ipynb"
    problem = ""
    try:
        content = next(path for path in _notebooks() if path.name == file).read_bytes()
        # Absolute, since the working directory may change, or no longer exist.
        target = Path.cwd() / file
        _write_new(target, content)
    except FileExistsError:
        problem = f"{file} is here already, and stays as it is. Rename it, or change the directory (%cd)."
    except OSError as error:
        problem = f"{file} cannot be written here ({os_reason(error)}). Change to another directory (%cd)."
    else:
        return target
    raise DonutworkError(problem)


@uninterrupted
def load_example(name: str = "night") -> pd.DataFrame:
    """Read a recorded journal that comes with the package: an analysis without a server and without a key.

    Parameters
    ----------
    name
        ``night``: a real run of an hour on the sandbox, one ping a second, with a slow quarter of an hour and an
        outage.

    Returns
    -------
    pandas.DataFrame
        As `donutwork_magics.load` of the journal.

    Raises
    ------
    DonutworkError
        There is no such example, or it cannot be read.
    """
    from donutwork_magics.frame.table import load

    packed = {path.name.removesuffix(_EXAMPLE): path for path in sorted((_PACKAGE / "examples").glob(f"*{_EXAMPLE}"))}
    if not packed:
        raise DonutworkError("The examples are missing: install donutwork_magics again.")
    if name not in packed:
        raise DonutworkError(f"There is no such example{did_you_mean(name, packed)} There is {', '.join(packed)}.")
    try:
        packed_bytes = packed[name].read_bytes()
        with tempfile.TemporaryDirectory() as directory:
            journal = Path(directory) / "journal.jsonl"
            journal.write_bytes(_unpacked(packed_bytes))
            return load(journal)
    except OSError as error:
        problem = os_reason(error)
    raise DonutworkError(f"The example cannot be unpacked ({problem}). Make room, or install donutwork_magics again.")


def _unpacked(packed: bytes) -> bytes:
    try:
        if unpacked := bz2.decompress(packed):
            return unpacked
    except (OSError, ValueError, EOFError):
        pass
    raise DonutworkError("The example is damaged: install donutwork_magics again.")


def _notebooks() -> list[Path]:
    """Return the notebooks of the installed package, or of a checkout, where they have a folder of their own."""
    installed, checkout = _PACKAGE / "notebooks", _PACKAGE.parent
    is_checkout = not installed.is_dir() and (checkout / "pyproject.toml").is_file()
    return sorted((checkout / "notebooks" if is_checkout else installed).glob("*.ipynb"))


def _without_number(name: str) -> str:
    return name.lstrip("0123456789").lstrip("_")


def _write_new(target: Path, content: bytes) -> None:
    """Write a file that does not exist yet; where that fails, there is none."""
    with target.open("xb") as file:
        try:
            file.write(content)
            file.flush()
        except BaseException:
            file.close()
            target.unlink(missing_ok=True)
            raise
