"""Where a call goes now: to the sandbox that is on in this process, else where the environment variables say.

This holds for magics, buttons and scripts. While a sandbox is on, a call that names no target goes there only.
"""

from __future__ import annotations

import os
import sys
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from donutwork_magics.errors import SettingsError
from donutwork_magics.interrupts import uninterrupted

if TYPE_CHECKING:
    from donutwork_magics.client.settings import Setup, Target
    from donutwork_magics.sandbox.process import Sandbox
    from donutwork_magics.types import Env


class Switch:
    """Which sandboxes are on in this process: calls go to the last of them.

    It only holds them: `donutwork_magics.sandbox.process` starts and ends them.
    """

    def __init__(self) -> None:
        # First what `sandbox start` started, or None; then those of `with sandbox()` blocks, the innermost last. The
        # tuple is replaced as a whole, so that another thread reads it as it was before a change or after it.
        self._on: tuple[Sandbox | None, ...] = (None,)
        self._change = threading.Lock()
        if hasattr(os, "register_at_fork"):
            # Another thread may hold the lock at the moment of a fork; the child does not have that thread.
            os.register_at_fork(after_in_child=self._renew_lock)

    @property
    def sandbox(self) -> Sandbox | None:
        """The sandbox that calls go to."""
        return self._on[-1]

    def at(self, url: str) -> Sandbox | None:
        """Return the sandbox at a base URL: a call that names its target may go to another one than the last."""
        return next((one for one in self._on if one is not None and one.url == url), None)

    @property
    def started(self) -> Sandbox | None:
        """The sandbox that `sandbox start` started."""
        return self._on[0]

    @property
    def in_block(self) -> bool:
        """Whether that is the sandbox of a block."""
        return len(self._on) > 1

    def put_started(self, sandbox: Sandbox | None) -> Sandbox | None:
        """Put a sandbox, or none, in the place of the one that was started, and return that one."""
        with self._change:
            before, *blocks = self._on
            self._on = (sandbox, *blocks)
        return before

    def enter(self, sandbox: Sandbox) -> None:
        """Begin a block."""
        with self._change:
            self._on = (*self._on, sandbox)

    def leave(self, sandbox: Sandbox) -> None:
        """End a block; blocks of several threads may end in any order."""
        with self._change:
            self._on = tuple(one for one in self._on if one is not sandbox)

    def _renew_lock(self) -> None:
        self._change = threading.Lock()


# Not in this module alone: the sandbox must stay on where the module is loaded again (importlib.reload, or out of
# sys.modules and imported anew).
SWITCH: Final[Switch] = sys.__dict__.setdefault("_donutwork_magics_switch", Switch())


def why_no_calls() -> str:
    """Tell why this Python can make no call at all, in one line; empty where it can."""
    if find_spec("httptools") is not None:
        return ""
    return (
        "No call can be made: httptools is not installed, and in JupyterLite there is none. Install it, or analyse "
        "what was recorded elsewhere: %donutwork load FILE (in Python: load)."
    )


@uninterrupted
def current_setup(env: Env | None = None) -> Setup:
    """Return the settings as they are now, part by part, usable or not.

    Raises
    ------
    SettingsError
        The sandbox is on and has died, or this Python has no httptools.
    """
    if why_not := why_no_calls():
        raise SettingsError(why_not)
    from donutwork_magics.client.settings import read_setup, sandbox_target

    sandbox, in_block = SWITCH.sandbox, SWITCH.in_block
    if sandbox is None:
        return read_setup(os.environ, env)
    if sandbox.alive():
        return sandbox_target(sandbox.url, sandbox.key_for(env), env)
    raise SettingsError(
        "The sandbox has ended unexpectedly, and nothing goes to the real API instead: "
        + (
            "calls go out again when its `with sandbox()` block ends."
            if in_block
            else "%donutwork sandbox start begins a new one, %donutwork sandbox stop leaves it off."
        )
    )


def current_target(env: Env | None = None) -> Target:
    """Return where a call goes now.

    Raises
    ------
    SettingsError
        A variable is missing or not usable, or the sandbox is on and has died.
    """
    return current_setup(env).usable()


def same_target(before: Target) -> Target:
    """Return where a call goes now, with the key that is set now, provided that `before` was the same place.

    Raises
    ------
    SettingsError
        Calls go somewhere else now; or as for `current_target`.
    """
    from donutwork_magics.client.key import Unusable

    setup = current_setup(before.env)
    is_same = setup.sandbox == before.sandbox and setup.base_url == before.base_url
    if is_same or (isinstance(setup.base_url, Unusable) and not before.sandbox):
        return setup.usable()
    place = "a sandbox that is no longer on" if before.sandbox else f"{before.host}, and calls go elsewhere now"
    raise SettingsError(f"This card was made on {place}. Run its cell again.")
