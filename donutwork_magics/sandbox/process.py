"""The parent's side of the sandbox: starts the child process, holds its keys, ends it, and has calls go to it or not.

Which sandbox is on is a matter of the whole process. Interrupts are held back while that changes: a change happens
whole, or not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Final, NoReturn, SupportsIndex
from urllib.parse import urlsplit

from ..child import Child, NotStartedError
from ..client.target import SWITCH, why_no_calls
from ..errors import Interrupted, SettingsError
from ..grammar.commands import SandboxOptions
from ..interrupts import interrupts

MODULE: Final = "donutwork_magics.sandbox"
_DEFAULT: Final = SandboxOptions()


class Sandbox:
    """A running sandbox; it ends with `stop`, when this object is collected, and when this process ends in any way.

    Attributes
    ----------
    url : str
        Its base URL.
    options : SandboxOptions
        As it was started.
    seed : int
        The one in use, also where the options left it open.
    pid : int
        Of the child process.
    """

    __slots__ = ("__weakref__", "_child", "_key", "options", "pid", "seed", "url")

    def __init__(self, options: SandboxOptions, child: Child, ready: Ready) -> None:
        self.options = options
        self.url = ready.url
        self.seed = ready.seed
        self.pid = ready.pid
        self._key = ready.key
        self._child = child

    @classmethod
    def start(cls, options: SandboxOptions = _DEFAULT, *, timeout_s: float = 10.0) -> Sandbox:
        """Start a sandbox and wait until it listens.

        Raises
        ------
        SettingsError
            If it cannot start, or does not listen within `timeout_s`; or no call could go to it.
        Interrupted
            There was an interrupt first.
        """
        if why_not := why_no_calls():
            raise SettingsError(why_not)
        # An exception between the two lines would leave a child that nobody ends.
        with interrupts():
            child, ready = launch("--child", json.dumps(asdict(options)), timeout_s=timeout_s)
            return cls(options, child, ready)

    def key_for(self, env: str | None = None) -> str:
        """Return the key of an environment; the staging key where none is asked for.

        Parameters
        ----------
        env
            ``staging`` or ``production``; also ``ping_only`` and ``connection_only``, the staging keys that lack the
            permission for the other endpoint.

        Raises
        ------
        SettingsError
            If there is no such key.
        """
        key = self._key("staging" if env is None else env)
        if key is None:
            raise SettingsError("The sandbox has no key for this environment; choose staging or production")
        return key

    def alive(self) -> bool:
        """Return whether the child process runs."""
        return self._child.alive()

    def stop(self) -> None:
        """End the child process; does nothing where it has ended already."""
        self._child.end()

    def __repr__(self) -> str:
        return f"<Sandbox {self.url} {'running' if self.alive() else 'ended'}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Sandbox is a running process that holds keys: it is not copied or pickled")


@dataclass(frozen=True, slots=True)
class Ready:
    """What the child says once it listens; the keys are in the closure `key`, which no display looks into."""

    url: str
    seed: int
    pid: int
    key: Callable[[str], str | None] = field(repr=False)


def launch(*arguments: str, timeout_s: float = 10.0) -> tuple[Child, Ready]:
    """Start the process with some arguments of its command line, and wait until it listens.

    Raises
    ------
    SettingsError, Interrupted
        As `Sandbox.start`; the process has ended.
    """
    deadline_s = time.monotonic() + timeout_s
    with interrupts() as came:
        try:
            child = Child(MODULE, *arguments)
        except NotStartedError as error:
            reason = str(error)
        else:
            try:
                ready = _read_ready(lambda: child.first_line(deadline_s, came.is_set))
                if came.is_set():
                    raise Interrupted("the sandbox was not started.")
                if ready is not None:
                    # From here on the child has nobody to talk to, so it cannot block on a full pipe.
                    child.stdout.close()
                    child.stderr.close()
                    return child, ready
                in_time = time.monotonic() < deadline_s
                reason = child.reason() if in_time else f"it did not listen within {timeout_s:g} s; try again"
            except BaseException:
                child.end()
                raise
            child.end()
    raise SettingsError(f"The sandbox did not start: {reason}")


def _read_ready(next_line: Callable[[], bytes]) -> Ready | None:
    # A .pth file of the environment may print too, before the sandbox does.
    while line := next_line():
        try:
            said = json.loads(line)
            return Ready(said["url"], said["seed"], said["pid"], dict(said["keys"]).get)
        except (ValueError, LookupError, TypeError):
            continue
    return None


def start(options: SandboxOptions) -> None:
    """Start a sandbox that stays on until `stop`, in the place of one that is on; a failure leaves that one on.

    Raises
    ------
    SettingsError
        It cannot start.
    Interrupted
        There was an interrupt meanwhile; the text says whether the sandbox started.
    """
    with interrupts() as came:
        before = SWITCH.started
        if before is not None and options.port and options.port == urlsplit(before.url).port:
            # Only one process can listen on a port, so here the old one ends first. It stays the one that is on until
            # the new one listens: calls are refused meanwhile, and after a failure until the next start or stop, and
            # none goes to the real API. It is not brought back: with other keys and its seed begun again it would not
            # be the sandbox that was on.
            before.stop()
        sandbox = Sandbox.start(options)
        before = SWITCH.put_started(sandbox)
        if before is not None:
            before.stop()
        if came.is_set():
            raise Interrupted("the sandbox was started all the same, and calls go to it.")


def stop() -> None:
    """End the sandbox that was started; does nothing where there is none.

    Raises
    ------
    Interrupted
        There was an interrupt meanwhile; the sandbox has ended all the same.
    """
    with interrupts() as came:
        sandbox = SWITCH.put_started(None)
        if sandbox is not None:
            sandbox.stop()
        if came.is_set():
            raise Interrupted("the sandbox was stopped all the same.")


class Block(AbstractContextManager[Sandbox]):
    """Have a sandbox on in a ``with`` block; see `donutwork_magics.sandbox`.

    It is no `contextlib.contextmanager`: that would end its block when it is collected, and as the decorator of a
    coroutine before the coroutine runs. The next calls would go to the real API.
    """

    def __init__(self, options: SandboxOptions) -> None:
        self._options = options
        self._sandbox: Sandbox | None = None

    def __enter__(self) -> Sandbox:
        if self._sandbox is not None:
            raise RuntimeError("This block is running: make a sandbox() of its own for another.")
        try:
            with interrupts() as came:
                self._sandbox = Sandbox.start(self._options)
                SWITCH.enter(self._sandbox)
                if came.is_set():
                    raise Interrupted("the sandbox was stopped again.")
                return self._sandbox
        except BaseException:
            self._leave()
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with interrupts() as came:
            self._leave()
            if came.is_set():
                raise Interrupted("the sandbox was stopped all the same.")

    def _leave(self) -> None:
        if self._sandbox is not None:
            SWITCH.leave(self._sandbox)
            self._sandbox.stop()
            self._sandbox = None

    def __repr__(self) -> str:
        return f"<sandbox {'off: it is on within `with sandbox():`' if self._sandbox is None else 'on'}>"
