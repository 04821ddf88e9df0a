"""A prober in a thread of the test's own process, for tests that change what it does."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence

import pytest

from donutwork_magics import probers
from donutwork_magics.child import OwnFile
from donutwork_magics.sampling.__main__ import Output, Prober
from donutwork_magics.sampling.schedule import SharedMemory


class ThreadedChild:
    """Stands in for `donutwork_magics.child.Child`: the same pipes, and a thread at their other ends."""

    def __init__(self, module: str, handle: str, *, inherited: Sequence[int] = (), complains: bool = False) -> None:
        assert module == "donutwork_magics.sampling"
        commands, stdin = os.pipe()
        self._output, self._lines = os.pipe()
        self.stdin = OwnFile(stdin)
        self.stdout = os.fdopen(self._output, "rb", buffering=0)
        self.pid = os.getpid()
        self._thread = threading.Thread(target=self._serve, args=(commands, handle), daemon=True)
        self._thread.start()

    def _serve(self, commands: int, handle: str) -> None:
        prober = Prober(Output(self._lines), SharedMemory(handle))
        with os.fdopen(commands, "rb") as lines:
            prober.serve(lines)
        # The parent sees the end. The output's thread goes on, as no process ends here: its number for a file must not
        # become that of a server's connection.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._lines)
        os.close(nowhere)

    def alive(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        self.stdin.close()
        self._thread.join()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have series of this test carried out in this process."""
    probers.end_idle()
    monkeypatch.setattr(probers, "Child", ThreadedChild)
    yield
    probers.end_idle()
