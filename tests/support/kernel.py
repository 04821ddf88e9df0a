"""Real cells in a real kernel, over its own sockets, as a notebook runs them."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop

PATIENCE_S = 60.0
ROOT = Path(__file__).parents[2]

ABOUT = "__import__('donutwork_magics.analysis.counted').analysis.counted.attributes"
"""A function in the kernel: what is known of the runs of a table."""

KILL_SANDBOX = """
import os, time
from donutwork_magics.client.target import SWITCH
os.kill(SWITCH.sandbox.pid, 9)
while SWITCH.sandbox.alive(): time.sleep(0.01)
"""
"""The sandbox dies."""


@dataclass
class Cell:
    """What came of one cell, as a notebook would hold it."""

    status: str = ""
    stdout: str = ""
    stderr: str = ""
    ename: str = ""
    evalue: str = ""
    traceback: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    """The mime bundle of the Out, empty where there is none."""
    displays: list[dict[str, Any]] = field(default_factory=list)
    """The mime bundles that were displayed, with later updates in their place."""
    took_s: float = 0.0
    """From the request to the reply, with everything that waits in a kernel."""

    @property
    def ok(self) -> bool:
        """Whether the cell counts as done, so that Run All goes on."""
        return self.status == "ok"

    @property
    def text(self) -> str:
        """Everything that can be read in the output."""
        bundles = [self.result, *self.displays]
        return "\n".join([self.stdout, self.stderr, self.traceback, *(str(bundle) for bundle in bundles)])


class Kernel:
    """A kernel of its own, with nothing of the developer's settings; a context manager.

    Parameters
    ----------
    home
        A directory for everything that Jupyter and IPython keep.
    environ
        Environment variables beyond the bare ones.
    """

    def __init__(self, home: Path, environ: dict[str, str] | None = None) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DONUTWORK_", "JUPYTER"))}
        self._environ = {**kept, "IPYTHONDIR": str(home / "ipython"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        self._environ |= environ or {}
        self._manager = KernelManager()
        self._manager._kernel_spec = KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="test",
            language="python",
        )
        self._manager.connection_file = str(home / "connection.json")
        if sys.platform == "linux":
            # A port that is free as the kernel is started may be taken by somebody else before the kernel binds it.
            # (Elsewhere the path of a socket may be shorter than those of temporary directories are.)
            self._manager.transport = "ipc"
        self._home = home
        self._shown: dict[str, tuple[Cell, int]] = {}
        self.widgets: dict[str, dict[str, Any]] = {}
        """The state of each widget that the kernel holds, by its model, as far as it was heard of."""

    def __enter__(self) -> Self:
        self._manager.start_kernel(env=self._environ, cwd=str(self._home))
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._wait_until_heard()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.stop_channels()
        if self._manager.has_kernel:
            self._manager.shutdown_kernel(now=exc_type is not None)
        self._manager.cleanup_resources()
        _close_loop()

    def _wait_until_heard(self) -> None:
        """Wait until the kernel answers on both channels; jupyter_client then waits for silence too."""
        end_s = time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < end_s, "the kernel did not start"
            assert self._manager.is_alive(), "the kernel ended"
            self._client.kernel_info()
            with contextlib.suppress(queue.Empty):
                self._client.get_shell_msg(timeout=1)
                self._client.get_iopub_msg(timeout=0.2)
                return

    def run(self, code: str, *, interrupt_after_s: float | None = None, cell_id: str | None = None) -> Cell:
        """Run a cell, and interrupt it as the stop button does where that is asked for.

        Parameters
        ----------
        cell_id
            What a notebook calls the cell; None as from a client that names none.
        """
        began_s = time.monotonic()
        message_id = self._execute(code, {} if cell_id is None else {"cellId": cell_id})
        timer: threading.Timer | None = None
        if interrupt_after_s is not None:
            timer = threading.Timer(interrupt_after_s, self._interrupt)
            timer.start()
        cell = Cell()
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=PATIENCE_S)
            except queue.Empty:
                raise AssertionError(f"the kernel did not answer within {PATIENCE_S:g} s") from None
            self._hear(message, cell)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            content = message["content"]
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                break
            _take(cell, message["msg_type"], content)
        while (reply := self._client.get_shell_msg(timeout=PATIENCE_S))["parent_header"].get("msg_id") != message_id:
            pass
        if timer is not None:
            timer.join()
        cell.took_s = time.monotonic() - began_s
        cell.status = reply["content"]["status"]
        return cell

    def _execute(self, code: str, metadata: dict[str, str]) -> str:
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        # Else an old ipykernel may abort a cell that comes right after one that failed.
        message = self._client.session.msg("execute_request", {**content, "stop_on_error": False}, metadata=metadata)
        self._client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def kill_during(self, code: str, *, when: Callable[[], bool]) -> None:
        """Start a cell, and kill the kernel with no chance to clean up as soon as something is so."""
        self._client.execute(code, allow_stdin=False)
        end_s = time.monotonic() + PATIENCE_S
        while not when():
            assert time.monotonic() < end_s, "the cell did not come so far"
            time.sleep(0.01)
        # What shutdown_kernel sends first is an interrupt, which the cell would still see.
        self._manager.signal_kernel(signal.SIGKILL)
        self._manager.shutdown_kernel(now=True)
        _close_loop()

    def listen(self, seconds: float) -> None:
        """Take in what the kernel says while no cell runs."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                self._hear(self._client.get_iopub_msg(timeout=left_s), Cell())
            except queue.Empty:
                return

    def widget(self, **state: Any) -> dict[str, Any]:
        """Return the one widget that has such a state, with its model under ``id``."""
        [found] = [
            {**widget, "id": model}
            for model, widget in self.widgets.items()
            if state.items() <= {name: value for name, value in widget.items() if isinstance(value, str)}.items()
        ]
        return found

    def click(self, description: str) -> None:
        """Press a button, as a front end does; it need not be waited for."""
        self._tell(self.widget(description=description)["id"], {"method": "custom", "content": {"event": "click"}})

    def choose(self, description: str, option: str) -> None:
        """Choose an option of a drop-down."""
        widget = self.widget(description=description)
        index = widget["_options_labels"].index(option)
        self._tell(widget["id"], {"method": "update", "state": {"index": index}, "buffer_paths": []})

    def load_anew(self) -> None:
        """Ask for all widgets, as a front end does whose page is loaded anew; updates of outputs go on to be heard."""
        content = {"comm_id": "control", "target_name": "jupyter.widget.control", "data": {}}
        message = self._client.session.msg("comm_open", content, metadata={"version": "1.0.0"})
        self._client.shell_channel.send(message)
        self._tell("control", {"method": "request_states"})

    def _tell(self, model: str, data: dict[str, Any]) -> None:
        content = {"comm_id": model, "data": data}
        self._client.shell_channel.send(self._client.session.msg("comm_msg", content))

    def _hear(self, message: dict[str, Any], cell: Cell) -> None:
        """Note what does not belong to one cell: widgets, and displays, which a later cell may update."""
        kind, content = message["msg_type"], message["content"]
        if kind == "comm_open":
            self.widgets[content["comm_id"]] = dict(content["data"].get("state", {}))
        elif kind == "comm_msg" and content["data"].get("method") == "update":
            self.widgets.get(content["comm_id"], {}).update(content["data"]["state"])
        elif kind == "comm_close":
            self.widgets.pop(content["comm_id"], None)
        elif kind == "display_data" and (display_id := content.get("transient", {}).get("display_id")):
            self._shown[display_id] = cell, len(cell.displays)
        elif kind == "update_display_data" and (place := self._shown.get(content["transient"]["display_id"])):
            place[0].displays[place[1]] = content["data"]

    def _interrupt(self) -> None:
        self._manager.interrupt_kernel()
        _close_loop()

    def complete(self, code: str, cursor: int | None = None) -> list[str]:
        """Return what the kernel offers at the cursor, by default the end, in place of `completed`."""
        message_id = self._client.complete(code, len(code) if cursor is None else cursor)
        while (reply := self._client.get_shell_msg(timeout=PATIENCE_S))["parent_header"].get("msg_id") != message_id:
            pass
        content = reply["content"]
        assert content["status"] == "ok"
        self.completed = code[content["cursor_start"] : content["cursor_end"]]
        return list(content["matches"])

    def value(self, expression: str) -> str:
        """Return the repr of an expression in the kernel."""
        cell = self.run(f"print(repr({expression}))")
        assert cell.ok, cell.traceback
        return cell.stdout.strip()


def _close_loop() -> None:
    # jupyter_client makes a loop for its blocking calls, and leaves it open. One that runs is somebody else's.
    loop = ensure_event_loop()
    if not loop.is_running():
        loop.close()


def _take(cell: Cell, kind: str, content: dict[str, Any]) -> None:
    if kind == "stream":
        setattr(cell, content["name"], getattr(cell, content["name"]) + content["text"])
    elif kind == "execute_result":
        cell.result = content["data"]
    elif kind == "error":
        cell.ename, cell.evalue = content["ename"], content["evalue"]
        cell.traceback = "\n".join(content["traceback"])
    elif kind == "display_data":
        cell.displays.append(content["data"])
