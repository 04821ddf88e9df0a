"""What is released: the wheel, and what it does in an environment that knows nothing of this checkout."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import uv

import donutwork_magics
from tests.support.notebooks import NOTEBOOKS, ROOT

pytestmark = pytest.mark.packaging

IN_SCRIPT = """
import json, sys
import donutwork_magics
loaded = sorted(sys.modules)
print(json.dumps({"version": donutwork_magics.__version__, "home": donutwork_magics.__file__, "loaded": loaded}))
"""
IN_IPYTHON = """
%load_ext donutwork_magics
import sys
assert not {"httpx", "pandas", "ipywidgets"} & set(sys.modules)
%donutwork tutorial first_ping
%donutwork load --example night -o night
assert len(night) == 3600
%donutwork sandbox start;
df = %donutwork ping -n 3 -r 100
assert list(df["status_code"]) == [200, 200, 200]
print("measured")
"""


def call(directory: Path, *command: str | Path) -> str:
    """Run a command in a directory, without anything that leads back to the checkout."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    run = subprocess.run(
        [str(word) for word in command],
        cwd=directory,
        env=environ | {"PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and the wheel that was built from it."""
    directory = tmp_path_factory.mktemp("dist")
    call(ROOT, uv.find_uv_bin(), "build", "-q", "-p", sys.executable, "-o", directory)
    return directory


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel and what it depends on, and nothing else."""
    home = tmp_path_factory.mktemp("installed")
    python = home / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    call(home, uv.find_uv_bin(), "venv", "-q", "-p", sys.executable, "venv")
    call(home, uv.find_uv_bin(), "pip", "install", "-q", "-p", python, "-c", ROOT / "constraints.txt", wheel)
    return python


def test_the_wheel_holds_the_package_its_types_and_its_licence_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    info = f"donutwork_magics-{donutwork_magics.__version__}.dist-info"
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "donutwork_magics").rglob("*.py")}

    assert {name.partition("/")[0] for name in names} == {"donutwork_magics", info}
    assert {name for name in names if name.endswith(".py")} == sources
    assert {"donutwork_magics/py.typed", f"{info}/licenses/LICENSE"} <= set(names)
    # The notebooks alone: without their scripts and pictures.
    tutorials = {f"donutwork_magics/notebooks/{path.name}" for path in NOTEBOOKS}
    assert {name for name in names if name.startswith("donutwork_magics/notebooks/")} == tutorials
    assert {"donutwork_magics/examples/night.jsonl.bz2", "donutwork_magics/sandbox/nbval_sanitize.cfg"} <= set(names)


def test_the_metadata_says_what_a_package_index_shows(wheel: Path) -> None:
    info = f"donutwork_magics-{donutwork_magics.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))

    assert metadata["Version"] == donutwork_magics.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "Framework :: IPython" in metadata.get_all("Classifier", [])
    assert str(metadata.get_payload()).startswith("# donutwork_magics")


def test_the_sdist_brings_notebooks_and_tests(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    notebooks = {f"notebooks/{name}" for name in ("01_first_ping.ipynb", "night.py", "run.py")}
    assert {"LICENSE", "tests/test_packaging.py", *notebooks} <= names


def test_importing_the_installed_package_imports_nothing_heavy(python: Path, tmp_path: Path) -> None:
    said = json.loads(call(tmp_path, python, "-c", IN_SCRIPT))

    assert said["version"] == donutwork_magics.__version__
    assert not Path(said["home"]).is_relative_to(ROOT)
    assert not {"httpx", "pandas", "ipywidgets", "IPython"} & set(said["loaded"])


def test_the_installed_magics_measure_the_sandbox_in_a_plain_ipython(python: Path, tmp_path: Path) -> None:
    printed = call(tmp_path, python, "-m", "IPython", "--no-banner", "--colors=nocolor", "-c", IN_IPYTHON)

    assert printed.endswith("measured\n"), printed
    assert (tmp_path / NOTEBOOKS[0].name).read_bytes() == NOTEBOOKS[0].read_bytes()


def test_the_installed_sandbox_names_a_sanitizer_that_is_there(python: Path, tmp_path: Path) -> None:
    printed = call(tmp_path, python, "-m", "donutwork_magics.sandbox", "--print-nbval-sanitizer")

    assert Path(printed.rstrip("\n")).is_file()
    assert not Path(printed).is_relative_to(ROOT)
