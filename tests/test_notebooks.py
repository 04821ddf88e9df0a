"""The notebooks run from the command line, and are saved as a reader should find them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support.notebooks import NOTEBOOKS, Runs, run_notebook

EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
# As they are before any test runs.
BEFORE = {path: path.read_bytes() for path in NOTEBOOKS}
KEY_LIKE = re.compile(r"sandbox_[\w-]{20}|Bearer\s+\S{8}", re.IGNORECASE)
PATH_OF_A_MACHINE = re.compile(r"(?<![\w./])/(home|root|Users|tmp|usr|opt|var|work)/|\b[A-Za-z]:\\")


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def write(path: Path, *sources: str) -> str:
    cells = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return str(path)


def test_the_tutorials_are_there() -> None:
    names = ["01_first_ping", "02_latency", "03_watch_and_check", "04_did_it_help", "05_a_night"]
    assert [path.stem for path in NOTEBOOKS] == names


@EACH
def test_each_notebook_runs_as_text_and_is_not_changed_by_it(path: Path, notebook_runs: Runs) -> None:
    run = notebook_runs(path)

    assert (run.returncode, run.stderr) == (0, "")
    assert re.findall(r"^In \[(\d+)\]", run.stdout, re.MULTILINE) == [
        str(number) for number in range(1, len(code_cells(path)) + 1)
    ]
    assert re.search(rf" -m jupyterlab (--allow-root )?\S*{path.name}\n\Z", run.stdout)
    assert path.read_bytes() == BEFORE[path]


@EACH
def test_saved_outputs_are_those_of_one_run_from_top_to_bottom(path: Path) -> None:
    cells = code_cells(path)

    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2
    assert "error" not in {output.output_type for cell in cells for output in cell.outputs}


@EACH
def test_a_saved_notebook_needs_no_kernel_to_be_looked_at(path: Path) -> None:
    bundles = [output.data for cell in code_cells(path) for output in cell.outputs if "data" in output]

    assert {kind for bundle in bundles for kind in bundle} == {"text/plain", "text/html"}
    assert "widgets" not in nbformat.read(path, as_version=4).metadata


@EACH
def test_nothing_of_the_machine_or_a_key_is_saved(path: Path) -> None:
    text = path.read_text("utf-8")

    assert not KEY_LIKE.search(text)
    assert not PATH_OF_A_MACHINE.search(text)
    assert all("execution" not in cell.metadata for cell in code_cells(path))


@pytest.mark.kernel
def test_a_cell_that_fails_ends_the_run_with_one_line(tmp_path: Path) -> None:
    run = run_notebook(write(tmp_path / "failing.ipynb", "1 / 0", "print('not reached')"))

    assert run.returncode == 1
    assert run.stdout.endswith("failing.ipynb stopped: ZeroDivisionError: division by zero\n")
    assert "reached" not in run.stdout
    assert run.stderr == ""


@pytest.mark.kernel
def test_a_usage_error_ends_the_run_too(tmp_path: Path) -> None:
    run = run_notebook(write(tmp_path / "wrong.ipynb", "%load_ext donutwork_magics\n%donutwork pong", "'not reached'"))

    assert run.returncode == 1
    assert "stopped: UsageError: Unknown command; did you mean ping?" in run.stdout
    assert "reached" not in run.stdout


@pytest.mark.kernel
def test_a_kernel_that_dies_ends_the_run(tmp_path: Path) -> None:
    run = run_notebook(write(tmp_path / "dying.ipynb", "import os; os._exit(1)"))

    assert run.returncode == 1
    assert run.stdout.endswith("dying.ipynb stopped: the kernel ended.\n")


@pytest.mark.kernel
def test_a_missing_notebook_is_one_line() -> None:
    run = run_notebook("notebooks/none.ipynb")

    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].endswith(f"error: there is no notebook {Path('notebooks/none.ipynb')}")


@pytest.mark.kernel
def test_the_readers_own_key_never_reaches_a_notebook(tmp_path: Path) -> None:
    path = write(tmp_path / "key.ipynb", "import os\nprint([name for name in os.environ if 'DONUTWORK' in name])")
    run = run_notebook(path, DONUTWORK_API_KEY="dw_live_Kx81mZq0vTnR57yE")

    assert "[]" in run.stdout.splitlines()


@pytest.mark.kernel
def test_a_display_is_printed_in_its_final_state_and_a_stream_as_one(tmp_path: Path) -> None:
    run = run_notebook(
        write(
            tmp_path / "live.ipynb",
            "from IPython.display import display\nhandle = display('running', display_id=True)\nhandle.update('done')",
            "for part in 'abc':\n    print(part, end='', flush=True)",
        )
    )

    assert "'done'" in run.stdout.splitlines()
    assert "abc" in run.stdout.splitlines()
    assert "'running'" not in run.stdout.splitlines()


@pytest.mark.kernel
def test_saving_is_repeatable(tmp_path: Path) -> None:
    path = tmp_path / "saved.ipynb"
    write(path, "print('a')", "6 * 7")
    run_notebook("--save", str(path))
    once = path.read_bytes()
    run_notebook("--save", str(path))

    assert path.read_bytes() == once
    assert [cell.outputs[0].output_type for cell in code_cells(path)] == ["stream", "execute_result"]
