"""What goes on between commands: the watches, series and sandbox of the process, and which cell began what."""

from __future__ import annotations

import os
import sys
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

from donutwork_magics.client.key import KEY_VARIABLES, Unusable, read_key
from donutwork_magics.client.target import SWITCH, why_no_calls
from donutwork_magics.displayed import KeyStatus, Overview, SandboxStatus
from donutwork_magics.errors import SettingsError
from donutwork_magics.grammar.commands import SandboxCommand
from donutwork_magics.interrupts import uninterrupted
from donutwork_magics.units import enumerate_some

if TYPE_CHECKING:
    import httpx

    from donutwork_magics.sampling.series import Series
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
    """What the commands of one shell know of the process."""

    def __init__(self) -> None:
        self._begun_by: weakref.WeakKeyDictionary[Watch, Execution] = weakref.WeakKeyDictionary()

    def close(self) -> None:
        """End what runs in this process: watches, series, and the sandbox."""
        from donutwork_magics import probers
        from donutwork_magics.sandbox import process

        # Also after an interrupt, which ends the waiting only.
        try:
            self.stop_watches()
        finally:
            try:
                probers.end_all()
            finally:
                process.stop()

    def note(self, watch: Watch, begun_by: Execution) -> None:
        """Take note of what began a watch: another run of that cell ends it."""
        self._begun_by[watch] = begun_by

    def watch_status(self) -> str:
        """Say what each watch that is not stopped has seen so far, a line each."""
        return "\n".join(map(repr, _watches())) or "No watch is running."

    def stop_watches(self, *, earlier_than: Execution | None = None) -> int:
        """Stop watches, also those that no variable has any more, and return how many there were.

        With `earlier_than`, only those that an earlier run of that cell began: their panels are gone, and their
        variables taken.
        """
        watches = _watches()
        if earlier_than is not None:
            begun = ((watch, self._begun_by.get(watch)) for watch in watches)
            watches = [watch for watch, by in begun if by is not None and by.is_earlier_than(earlier_than)]
        for watch in watches:
            # All are asked first, so that they end at the same time.
            watch.end()
        for watch in watches:
            watch.wait(_PATIENCE_S)
        return len(watches)

    def goes_on_elsewhere(self, here: str) -> tuple[str, ...]:
        """Say which watches and series go on calling another base URL than `here`, a line each."""
        if "donutwork_magics.probers" not in sys.modules:
            return ()
        from donutwork_magics import probers

        watches = [watch.series for watch in _watches() if watch.running]
        # Of a button or a thread, which no interrupt reaches.
        series = [run.lines[0] for _prober, run in probers.runs() if not run.lines[0].plan.endless]
        ends = "wait for the end, or %unload_ext donutwork_magics ends every series"
        return (
            *_elsewhere(here, watches, "A watch goes", "watches go", "%donutwork watch stop ends every watch"),
            *_elsewhere(here, series, "A series goes", "series go", ends),
        )

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
        watches = len(_watches())
        if (sandbox := SWITCH.sandbox) is not None:
            alive = sandbox.alive()
            destination = sandbox.url if alive else "the sandbox has ended: %donutwork sandbox start, or stop"
            elsewhere = self.goes_on_elsewhere(sandbox.url)
            return Overview(destination, alive, True, None, (), commands, watches, elsewhere)
        variable, base_url, statuses = _settings()
        usable = not isinstance(base_url, Unusable)
        destination = base_url.why if isinstance(base_url, Unusable) else str(base_url).rstrip("/")
        elsewhere = self.goes_on_elsewhere(destination)
        if why_not := why_no_calls():
            destination, usable = why_not, False
        return Overview(destination, usable, False, variable, statuses, commands, watches, elsewhere)


def _elsewhere(here: str, what: list[Series], one: str, many: str, advice: str) -> list[str]:
    targets = [series.target for series in what if str(series.target.base_url) != here]
    if not targets:
        return []
    who = one if len(targets) == 1 else f"{len(targets)} {many}"
    places = dict.fromkeys(f"{target.host}{' (sandbox)' if target.sandbox else ''}" for target in targets)
    return [f"{who} on calling {enumerate_some(list(places))}: {advice}."]


def _watches() -> list[Watch]:
    if "donutwork_magics.watch" not in sys.modules:
        # Nobody has made one, and the import takes its time.
        return []
    from donutwork_magics.watch import not_stopped

    return not_stopped()


@uninterrupted
def _settings() -> tuple[str, httpx.URL | Unusable, tuple[KeyStatus, ...]]:
    from donutwork_magics.client.settings import read_base_url, variables_for

    plain, *others = KEY_VARIABLES
    statuses = tuple(_key_status(name) for name in (plain, *others) if name == plain or name in os.environ)
    variable = variables_for(os.environ, None).base_url
    return variable, read_base_url(os.environ, variable), statuses


def _key_status(variable: str) -> KeyStatus:
    key = read_key(os.environ, variable)
    if isinstance(key, Unusable):
        return KeyStatus(variable, "unusable" if variable in os.environ else "missing", key.why)
    return KeyStatus(variable, "set", "")
