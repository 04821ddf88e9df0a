"""The parent's side of the sandbox: starts the child process, holds its keys, and ends it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn, SupportsIndex

from ..child import Child, NotStartedError
from ..errors import Interrupted, SettingsError
from ..interrupts import interrupts
from .options import DEFAULT_OPTIONS, SandboxOptions

MODULE: Final = "donutwork_magics.sandbox"
_STAGING: Final = "staging"


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
    def start(cls, options: SandboxOptions = DEFAULT_OPTIONS, *, timeout_s: float = 10.0) -> Sandbox:
        """Start a sandbox and wait until it listens.

        Raises
        ------
        SettingsError
            If it cannot start, or does not listen within `timeout_s`.
        Interrupted
            There was an interrupt first.
        """
        # An exception between the two lines would leave a child that nobody ends.
        with interrupts():
            child, ready = launch("--child", options.as_json(), timeout_s=timeout_s)
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
        key = self._key(_STAGING if env is None else env)
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
                ready = _read_ready(child.first_line(deadline_s, came.is_set))
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


def _read_ready(line: bytes) -> Ready | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return Ready(said["url"], said["seed"], said["pid"], dict(said["keys"]).get)
