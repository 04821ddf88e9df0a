"""The packaged sanitiser: saved outputs of the magics hold under nbval, and what really differs is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.support.notebooks import run_notebook

pytestmark = pytest.mark.kernel

CELLS = (
    "%load_ext donutwork_magics\n%donutwork sandbox start --latency 5ms/30ms --server-time 1ms/4ms --seed 1",
    "%donutwork",
    "%donutwork ping",
    "%donutwork connection",
    "%donutwork check",
    "df = %donutwork ping -n 60 -r 60 -c 2 -q\ndf.donutwork.summary()",
    'df[["seq", "timestamp", "duration_ms", "rrt_ms", "rrt", "env", "reused"]].head()',
    "print(df.timestamp.iloc[0], df.peer.iloc[0], df.duration_ms.max())",
    "%donutwork sandbox stop",
)


def nbval(path: Path) -> str:
    """Run nbval as the sanitiser's own text says, and return what it printed."""
    module = [sys.executable, "-m", "donutwork_magics.sandbox", "--print-nbval-sanitizer"]
    sanitizer = subprocess.run(module, capture_output=True, text=True, check=True).stdout.strip()
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    return subprocess.run(
        [sys.executable, *command, f"--nbval-sanitize-with={sanitizer}", path.name],
        cwd=path.parent,
        env=os.environ | {"PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    ).stdout


def test_outputs_hold_from_run_to_run_and_one_that_says_something_else_fails(tmp_path: Path) -> None:
    path = tmp_path / "course.ipynb"
    cells = [nbformat.v4.new_code_cell(source, id=f"c{number}") for number, source in enumerate(CELLS)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert run_notebook("--save", str(path)).returncode == 0

    # As of a course that was written against other replies, another version of the API, and another table.
    *cells, stop = nbformat.read(path, as_version=4).cells
    for said, instead in (
        ("Environment   staging", "Environment   production"),
        ("2026-02-01, as documented", "2026-01-01, as documented"),
        ("jitter_ms", "jitters_ms"),
    ):
        [text] = [text for text in map(json.dumps, cells[: len(CELLS) - 1]) if said in text]
        cells.append(nbformat.from_dict(json.loads(text.replace(said, instead)) | {"id": f"other-{len(cells)}"}))
    nbformat.write(nbformat.v4.new_notebook(cells=[*cells, stop]), path)

    assert f"3 failed, {len(CELLS)} passed" in nbval(path)
