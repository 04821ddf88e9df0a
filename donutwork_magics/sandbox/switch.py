"""The sandbox goes on and off for the whole process: ``sandbox start``, ``sandbox stop`` and ``with sandbox()``.

Interrupts are held back meanwhile: a change happens whole, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from ..client.target import SWITCH
from ..errors import Interrupted
from ..interrupts import interrupts
from .options import SandboxOptions
from .process import Sandbox


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

    It is no bare `contextmanager`: that would end its block when it is collected, and as the decorator of a coroutine
    before the coroutine runs. The next calls would go to the real API.
    """

    def __init__(self, options: SandboxOptions) -> None:
        self._block = _switched_on(options)

    def __enter__(self) -> Sandbox:
        sandbox = self._block.__enter__()
        _entered.add(self._block)
        return sandbox

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        _entered.discard(self._block)
        return self._block.__exit__(exc_type, exc, traceback)

    def __repr__(self) -> str:
        return f"<sandbox {'on' if self._block in _entered else 'off: it is on within `with sandbox():`'}>"


_entered: Final[set[AbstractContextManager[Sandbox]]] = set()
"""What is kept here cannot be collected while it is on."""


@contextmanager
def _switched_on(options: SandboxOptions) -> Iterator[Sandbox]:
    sandbox = None
    try:
        with interrupts() as came:
            sandbox = Sandbox.start(options)
            SWITCH.enter(sandbox)
            if came.is_set():
                raise Interrupted("the sandbox was stopped again.")
        yield sandbox
    finally:
        if sandbox is not None:
            with interrupts() as came:
                SWITCH.leave(sandbox)
                sandbox.stop()
                if came.is_set():
                    raise Interrupted("the sandbox was stopped all the same.")
