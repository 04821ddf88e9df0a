"""What one shell keeps between commands: its watches. It also starts and ends the sandbox of the process."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from donutwork_magics.client.key import KEY_VARIABLES, KeysIn
from donutwork_magics.client.target import SWITCH
from donutwork_magics.errors import SettingsError
from donutwork_magics.grammar.commands import SandboxCommand
from donutwork_magics.status import KeyStatus, Overview, SandboxStatus

if TYPE_CHECKING:
    from donutwork_magics.watch import Watch

_PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a cell, as a front end tells them apart."""

    cell_id: str
    message_id: str

    def is_earlier_than(self, other: Execution) -> bool:
        """Tell whether it is another run of the same cell."""
        return self.cell_id == other.cell_id and self.message_id != other.message_id


class Session:
    """The state of one shell; `close` ends what it started, and the sandbox."""

    def __init__(self) -> None:
        # One that runs is kept alive by its thread; one that has stopped belongs to whoever may start it again.
        self._watches: weakref.WeakKeyDictionary[Watch, Execution | None] = weakref.WeakKeyDictionary()

    def close(self, *, stop_sandbox: bool = True) -> None:
        """End what runs: the watches, and the sandbox unless another shell has the extension too."""
        try:
            self.stop_watches()
        finally:
            # Also after an interrupt, which ends the waiting only.
            self._watches.clear()
            if stop_sandbox:
                self._stop_sandbox()
                _end_probers()

    def add_watch(self, watch: Watch, begun_by: Execution | None = None) -> None:
        """Look after a watch, which ends with the session.

        Parameters
        ----------
        begun_by
            What began it; None where that is not known.
        """
        self._watches[watch] = begun_by

    def watch_status(self) -> str:
        """Say what each watch that is not stopped has seen so far, a line each."""
        return "\n".join(map(repr, self._running_watches())) or "No watch is running."

    def stop_watches(self) -> int:
        """Stop all watches, also those that no variable has any more, and return how many there were."""
        return self._stop(lambda _begun_by: True)

    def stop_watches_of_earlier(self, execution: Execution) -> int:
        """Stop what was begun when the same cell was run before: its panel is gone, and its variable taken."""
        return self._stop(lambda begun_by: begun_by is not None and begun_by.is_earlier_than(execution))

    def _stop(self, concerns: Callable[[Execution | None], bool]) -> int:
        watches = [watch for watch in self._running_watches() if concerns(self._watches[watch])]
        for watch in watches:
            # All are asked first, so that they end at the same time.
            watch.end()
        for watch in watches:
            watch.wait(_PATIENCE_S)
        return len(watches)

    def watches_of_the_api(self) -> int:
        """Count the watches that run, and go on calling what the variables named when they began."""
        return sum(not watch.series.target.sandbox for watch in self._running_watches())

    def _running_watches(self) -> list[Watch]:
        return [watch for watch in list(self._watches) if watch.state != "stopped"]

    @staticmethod
    def _stop_sandbox() -> None:
        from donutwork_magics.sandbox import process

        process.stop()

    def key_values(self) -> KeysIn:
        """Return the keys that are set, for one purpose: to refuse a line that contains one."""
        return KeysIn(os.environ)

    def sandbox(self, command: SandboxCommand) -> SandboxStatus:
        """Start, stop or look at the sandbox.

        A start replaces the one that runs, so that a notebook that is run again begins with the same seed.

        Raises
        ------
        SettingsError
            It did not start, or a ``with sandbox()`` block has one on.
        """
        starts = command.action == "start" or (command.action is None and SWITCH.sandbox is None)
        if SWITCH.in_block and (starts or command.action == "stop"):
            raise SettingsError("A `with sandbox()` block is running, and its sandbox is on until the block ends.")
        if starts:
            from donutwork_magics.sandbox import process

            process.start(command.options)
        elif command.action == "stop":
            self._stop_sandbox()
        return _sandbox_status()

    def overview(self, commands: tuple[tuple[str, str], ...]) -> Overview:
        """Tell where calls go and which key variable is set, without a request."""
        if (sandbox := SWITCH.sandbox) is not None:
            alive = sandbox.alive()
            destination = sandbox.url if alive else "the sandbox has ended: %donutwork sandbox start, or stop"
            return Overview(destination, alive, True, None, (), commands, len(self._running_watches()))
        from donutwork_magics.client.settings import read_base_url, variables_for

        variable = variables_for(os.environ, None).base_url
        try:
            destination, usable = str(read_base_url(os.environ, variable)).rstrip("/"), True
        except SettingsError as error:
            destination, usable = str(error), False
        plain, *others = KEY_VARIABLES
        keys = (plain, *(name for name in others if name in os.environ))
        statuses = tuple(map(_key_status, keys))
        return Overview(destination, usable, False, variable, statuses, commands, len(self._running_watches()))


def _end_probers() -> None:
    from donutwork_magics import probers

    probers.end_idle()


def _key_status(variable: str) -> KeyStatus:
    from donutwork_magics.client.key import read_key

    try:
        read_key(os.environ, variable)
    except SettingsError as error:
        return KeyStatus(variable, "unusable" if variable in os.environ else "missing", str(error))
    return KeyStatus(variable, "set", "")


def _sandbox_status() -> SandboxStatus:
    sandbox = SWITCH.sandbox
    if sandbox is None:
        return SandboxStatus("stopped")
    state: Literal["running", "died"] = "running" if sandbox.alive() else "died"
    return SandboxStatus(state, sandbox.url, sandbox.seed, tuple(sandbox.options.behaviour().items()), SWITCH.in_block)
