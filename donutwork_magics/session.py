"""What one shell keeps between commands: its watches. It also starts and ends the sandbox of the process."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

from donutwork_magics.client.key import KEY_VARIABLES, KeysIn, Unusable, read_key
from donutwork_magics.client.target import SWITCH
from donutwork_magics.displayed import KeyStatus, Overview, SandboxStatus
from donutwork_magics.errors import SettingsError
from donutwork_magics.grammar.commands import SandboxCommand

if TYPE_CHECKING:
    from donutwork_magics.watch import Watch

_PATIENCE_S: Final = 5.0


class Execution(NamedTuple):
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
                from donutwork_magics import probers
                from donutwork_magics.sandbox import process

                process.stop()
                probers.end_idle()

    def add_watch(self, watch: Watch, begun_by: Execution | None = None) -> None:
        """Look after a watch, which ends with the session; None where it is not known what began it."""
        self._watches[watch] = begun_by

    def watch_status(self) -> str:
        """Say what each watch that is not stopped has seen so far, a line each."""
        return "\n".join(map(repr, self._running_watches())) or "No watch is running."

    def stop_watches(self, *, earlier_than: Execution | None = None) -> int:
        """Stop watches, also those that no variable has any more, and return how many there were.

        With `earlier_than`, only those that an earlier run of that cell began: their panels are gone, and their
        variables taken.
        """
        watches = self._running_watches()
        if earlier_than is not None:
            begun = ((watch, self._watches[watch]) for watch in watches)
            watches = [watch for watch, by in begun if by is not None and by.is_earlier_than(earlier_than)]
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
            from donutwork_magics.sandbox import process

            process.stop()
        sandbox = SWITCH.sandbox
        if sandbox is None:
            return SandboxStatus("stopped")
        behaviour = tuple(sandbox.options.behaviour().items())
        return SandboxStatus(
            "running" if sandbox.alive() else "died", sandbox.url, sandbox.seed, behaviour, SWITCH.in_block
        )

    def overview(self, commands: tuple[tuple[str, str], ...]) -> Overview:
        """Tell where calls go and which key variable is set, without a request."""
        watches = len(self._running_watches())
        if (sandbox := SWITCH.sandbox) is not None:
            alive = sandbox.alive()
            destination = sandbox.url if alive else "the sandbox has ended: %donutwork sandbox start, or stop"
            return Overview(destination, alive, True, None, (), commands, watches)
        from donutwork_magics.client.settings import read_base_url, variables_for

        variable = variables_for(os.environ, None).base_url
        base_url = read_base_url(os.environ, variable)
        usable = not isinstance(base_url, Unusable)
        destination = base_url.why if isinstance(base_url, Unusable) else str(base_url).rstrip("/")
        plain, *others = KEY_VARIABLES
        statuses = tuple(_key_status(name) for name in (plain, *others) if name == plain or name in os.environ)
        return Overview(destination, usable, False, variable, statuses, commands, watches)


def _key_status(variable: str) -> KeyStatus:
    key = read_key(os.environ, variable)
    if isinstance(key, Unusable):
        return KeyStatus(variable, "unusable" if variable in os.environ else "missing", key.why)
    return KeyStatus(variable, "set", "")
