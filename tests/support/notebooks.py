"""The project's notebooks, and `notebooks/run.py` as the README has it run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

Runs = Callable[[Path], subprocess.CompletedProcess[str]]
"""What `notebooks/run.py` printed for a notebook."""


def run_notebook(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``notebooks/run.py`` from the project's root, with more environment variables."""
    return subprocess.run(
        [sys.executable, "notebooks/run.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONUTF8": "1"} | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
