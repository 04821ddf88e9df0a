"""A kernel for a whole module: its tests leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kernel import Kernel

KEY = "dw_test_Kx81mZq0vTnR57yE"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel without a key, with the extension loaded."""
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        assert kernel.run("%load_ext donutwork_magics").ok
        yield kernel


@pytest.fixture(scope="module")
def sandboxed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel whose calls go to a sandbox."""
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        assert kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;").ok
        yield kernel
