"""What one kernel keeps between commands: watches, and the sandbox, and with it where the next call goes."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
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
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()

    def close(self) -> None:
        """End what runs: the watches, and the sandbox."""
        watches = [watch for watch in self._watches if watch.state != "stopped"]
        try:
            for watch in watches:
                # All are asked first, so that they end at the same time.
                watch.end()
            for watch in watches:
                watch.wait(_PATIENCE_S)
        finally:
            # Also after an interrupt, which ends the waiting only.
            self._watches.clear()
            self._end_sandbox()

    def add_watch(self, watch: Watch) -> None:
        """Look after a watch, which ends with the session."""
        self._watches.add(watch)

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
            return Overview(destination, alive, True, None, (), commands)
        from donutwork_magics.client.settings import read_base_url, variables_for

        variable = variables_for(self._environ, None).base_url
        try:
            destination, usable = str(read_base_url(self._environ, variable)).rstrip("/"), True
        except SettingsError as error:
            destination, usable = str(error), False
        plain, *others = KEY_VARIABLES
        keys = (plain, *(name for name in others if name in self._environ))
        return Overview(destination, usable, False, variable, tuple(map(self._key_status, keys)), commands)

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
