"""Loading and unloading: what is put into a shell, and taken out of it again."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, Final, cast

from IPython.core.extensions import ExtensionManager
from IPython.core.interactiveshell import InteractiveShell

from donutwork_magics.shell.completer import Matcher, add_matcher, remove_matcher
from donutwork_magics.shell.invocation import LAST
from donutwork_magics.shell.magics import DonutworkMagics

_NAME: Final = "donutwork"


class _Extension:
    """The extension in one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self.magics = DonutworkMagics(shell)
        self._matcher: Matcher | None = None

    def load(self) -> None:
        self._shell.register_magics(self.magics)
        self._matcher = add_matcher(self._shell)
        self._shell.events.register("pre_run_cell", self._register_accessor)
        self._shell.events.register("post_run_cell", self._register_accessor)

    def unload(self) -> None:
        try:
            if not _loaded:
                # What runs is the whole process's: other shells may still use it.
                self.magics.session.close()
        finally:
            # An interrupt ends the waiting for what was told to end, and leaves nothing half loaded.
            self._take_out()

    def _take_out(self) -> None:
        shell = self._shell
        remove_matcher(shell, self._matcher)
        shell.events.unregister("pre_run_cell", self._register_accessor)
        shell.events.unregister("post_run_cell", self._register_accessor)
        manager = shell.magics_manager
        for kind in ("line", "cell"):
            manager.magics[kind].pop(_NAME, None)
        manager.registry.pop(type(self.magics).__name__, None)
        configurables = cast("list[object]", shell.configurables)
        if self.magics in configurables:
            configurables.remove(self.magics)
        if self.magics.keeps(shell.user_ns.get(LAST)):
            shell.drop_by_id({LAST: shell.user_ns[LAST]})

    @staticmethod
    def _register_accessor(*_event: Any) -> None:
        # pandas has no entry point for accessors, and it is not ours to import: once somebody has, we join.
        if "pandas" in sys.modules and "donutwork_magics.frame.accessor" not in sys.modules:
            import donutwork_magics.frame.accessor  # noqa: F401


_loaded: dict[int, _Extension] = {}


def load(shell: InteractiveShell) -> None:
    """Put the magics into a shell."""
    if id(shell) not in _loaded:
        extension = _loaded[id(shell)] = _Extension(shell)
        extension.load()


def unload(shell: InteractiveShell) -> None:
    """Take the magics and everything that they keep out of a shell; with the last of them ends what runs.

    ``%reload_ext`` takes nothing out: the sandbox and the watches go on.
    """
    if _is_reload(shell):
        return
    extension = _loaded.pop(id(shell), None)
    if extension is not None:
        extension.unload()


def _is_reload(shell: InteractiveShell) -> bool:
    """Tell whether ``%reload_ext`` unloads, to load again at once.

    IPython does not tell. To end the sandbox and to start one again at the load would not do: in between, other threads
    would call the real API. So this looks for `reload_extension` among the callers, by its code object, not its name.
    """
    code = type(cast(ExtensionManager, shell.extension_manager)).reload_extension.__code__
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None
