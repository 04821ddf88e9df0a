"""The time that the sandbox reports lies within the time that a client waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kernel import Kernel

HALF_OF_THE_LAST_DIGIT_MS = 0.005


@pytest.mark.kernel
def test_no_ping_waits_less_than_the_server_took(tmp_path: Path) -> None:
    """Beside a busy core the server often answers before the client's call to send returns."""
    with Kernel(tmp_path) as kernel:
        assert kernel.run("%load_ext donutwork_magics\n%donutwork sandbox start --seed 1;").ok
        busy = "while True: pass"
        kernel.run(f"import subprocess, sys\nbusy = subprocess.Popen([sys.executable, '-c', {busy!r}])")
        try:
            assert kernel.run("df = %donutwork ping -n 600 -r max -q").ok
        finally:
            kernel.run("busy.kill(); busy.wait()")
        assert kernel.value("int(df.error.notna().sum())") == "0"
        least_ms = float(kernel.value("float(df.network_ms.min())"))
        assert least_ms >= -HALF_OF_THE_LAST_DIGIT_MS
