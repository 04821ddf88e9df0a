"""What one kernel keeps between commands: watches, and the sandbox, and with it where the next call goes."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from donutwork_magics.client.key import KEY_VARIABLES, KeysIn
from donutwork_magics.errors import SettingsError
from donutwork_magics.grammar import Env, SandboxCommand
from donutwork_magics.status import KeyStatus, Overview, SandboxStatus

if TYPE_CHECKING:
    from donutwork_magics.client.settings import Target
    from donutwork_magics.client.setup import Setup
    from donutwork_magics.sandbox.process import Sandbox
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
    """The state of one kernel; `close` ends what it started.

    Parameters
    ----------
    environ
        Where settings are read, at each command anew.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._sandbox: Sandbox | None = None
        # One that runs is kept alive by its thread; one that has stopped belongs to whoever may start it again.
        self._watches: weakref.WeakKeyDictionary[Watch, Execution | None] = weakref.WeakKeyDictionary()

    def close(self) -> None:
        """End what runs: the watches, and the sandbox."""
        try:
            self.stop_watches()
        finally:
            # Also after an interrupt, which ends the waiting only.
            self._watches.clear()
            self._end_sandbox()

    def add_watch(self, watch: Watch, begun_by: Execution | None = None) -> None:
        """Look after a watch, which ends with the session.

        Parameters
        ----------
        begun_by
            What began it; None where that is not known.
        """
        self._watches[watch] = begun_by

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

    def _running_watches(self) -> list[Watch]:
        return [watch for watch in list(self._watches) if watch.state != "stopped"]

    def _end_sandbox(self) -> None:
        if self._sandbox is not None:
            self._sandbox.stop()
            self._sandbox = None

    def key_values(self) -> KeysIn:
        """Return the keys that are set, for one purpose: to refuse a line that contains one."""
        return KeysIn(self._environ)

    def target(self, env: Env | None) -> Target:
        """Return where a call goes now.

        Raises
        ------
        SettingsError
            A variable is missing or not usable, or the sandbox is on and has died.
        """
        from donutwork_magics.client.settings import read_target

        return self._sandbox_target(env) or read_target(self._environ, env)

    def setup(self, env: Env | None) -> Setup:
        """Return what of the settings is usable now, part by part: what a check begins with.

        Raises
        ------
        SettingsError
            The sandbox is on and has died.
        """
        from donutwork_magics.client.setup import read_setup, setup_of

        target = self._sandbox_target(env)
        return read_setup(self._environ, env) if target is None else setup_of(target)

    def _sandbox_target(self, env: Env | None) -> Target | None:
        from donutwork_magics.client.settings import sandbox_target

        if self._sandbox is None:
            return None
        if not self._sandbox.alive():
            raise SettingsError(
                "The sandbox has ended unexpectedly, and nothing goes to the real API instead: "
                "%donutwork sandbox start begins a new one, %donutwork sandbox stop leaves it off."
            )
        return sandbox_target(self._sandbox.url, self._sandbox.key_for(env), env)

    def sandbox(self, command: SandboxCommand) -> SandboxStatus:
        """Start, stop or look at the sandbox.

        A start ends the one that runs, so that a notebook that is run again begins with the same seed.

        Raises
        ------
        SettingsError
            It did not start.
        """
        if command.action == "stop":
            self._end_sandbox()
        elif command.action == "start" or (command.action is None and self._sandbox is None):
            self._start(command)
        return self._sandbox_status()

    def overview(self, commands: tuple[tuple[str, str], ...]) -> Overview:
        """Tell where calls go and which key variable is set, without a request."""
        if self._sandbox is not None:
            alive = self._sandbox.alive()
            destination = self._sandbox.url if alive else "the sandbox has ended: %donutwork sandbox start, or stop"
            return Overview(destination, alive, True, None, (), commands, len(self._running_watches()))
        from donutwork_magics.client.settings import read_base_url, variables_for

        variable = variables_for(self._environ, None).base_url
        try:
            destination, usable = str(read_base_url(self._environ, variable)).rstrip("/"), True
        except SettingsError as error:
            destination, usable = str(error), False
        plain, *others = KEY_VARIABLES
        keys = (plain, *(name for name in others if name in self._environ))
        statuses = tuple(map(self._key_status, keys))
        return Overview(destination, usable, False, variable, statuses, commands, len(self._running_watches()))

    def _key_status(self, variable: str) -> KeyStatus:
        from donutwork_magics.client.key import read_key

        try:
            read_key(self._environ, variable)
        except SettingsError as error:
            return KeyStatus(variable, "unusable" if variable in self._environ else "missing", str(error))
        return KeyStatus(variable, "set", "")

    def _start(self, command: SandboxCommand) -> None:
        from donutwork_magics.sandbox.process import Sandbox, SandboxOptions

        problem = ""
        try:
            options = SandboxOptions(
                latency=command.latency,
                server_time=command.server_time,
                faults=command.faults,
                retry_after_s=command.retry_after_s,
                seed=command.seed,
                port=command.port,
            )
        except ValueError as error:
            problem = str(error)
        if problem:
            raise SettingsError(problem)
        self._end_sandbox()
        self._sandbox = Sandbox.start(options)

    def _sandbox_status(self) -> SandboxStatus:
        sandbox = self._sandbox
        if sandbox is None:
            return SandboxStatus("stopped")
        options = sandbox.options
        given = {
            "latency": options.latency or "",
            "server time": options.server_time or "",
            "faults": ", ".join(options.faults),
        }
        behaviour = tuple((name, text) for name, text in given.items() if text)
        return SandboxStatus("running" if sandbox.alive() else "died", sandbox.url, sandbox.seed, behaviour)
