"""Signals and threads: what signal handlers raise is held back until the work in hand has stopped in good order.

Python runs signal handlers in the main thread, and what they raise appears between any two instructions: within a ping,
while the table is made, while the journal is closed. There it would cost rows, or pass for a fault of the network: an
`OSError` of a handler looks like a lost connection. Ctrl-C is such a signal, whose handler raises `KeyboardInterrupt`.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any, ClassVar, Final, ParamSpec, Protocol, Self, TypeVar

from donutwork_magics.errors import OutOfThreadsError

_Handler = Callable[[int, Any], Any]
_P = ParamSpec("_P")
_R = TypeVar("_R")

_SIGNALS: Final = tuple(signal.valid_signals())


class Stop(Protocol):
    """Whether something is to end; `threading.Event` is one."""

    def is_set(self) -> bool:
        """Tell whether it is."""


class Interruption:
    """A block of code in which nothing that a signal handler raises appears.

    The first that is raised is kept, and is raised when the block ends, in place of any other exception. It is the very
    same object, with the traceback of the handler. Two things differ for Ctrl-C: what another handler raises takes its
    place, and it gives way to a `KeyboardInterrupt` of the block, which can say what became of the work.
    """

    current: ClassVar[Interruption | None] = None
    """That of the block which the main thread is in."""

    def __init__(self) -> None:
        self.cause: BaseException | None = None
        """What a handler has raised."""
        self._is_ctrl_c = False
        self._replaced: dict[int, tuple[_Handler, _Handler]] = {}
        """What is set for each signal in this block, and what it stands for."""

    def is_set(self) -> bool:
        """Tell whether a handler has raised; from any thread."""
        return self.cause is not None

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Let handlers raise at once: for what cannot be told to stop."""
        if Interruption.current is not self:
            yield
            return
        Interruption.current = None
        try:
            yield
        finally:
            Interruption.current = self

    def __enter__(self) -> Self:
        Interruption.current = self
        try:
            self._replace()
        except BaseException:
            # A handler has raised before it was replaced.
            self._restore()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
        cause = self.cause
        if cause is None or (self._is_ctrl_c and isinstance(exc, KeyboardInterrupt)):
            return
        context = cause.__context__
        try:
            raise cause
        finally:
            # Not what the block has raised because it had to stop.
            _set_context(cause, context)
            del cause, exc

    def _replace(self) -> None:
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            holding_back, _ = self._replaced.get(number, (None, None))
            if callable(handler) and handler is not holding_back:
                holding_back = self._holding_back(handler)
                self._replaced[number] = holding_back, handler
                signal.signal(number, holding_back)

    def _holding_back(self, handler: _Handler) -> _Handler:
        def call(number: int, frame: object) -> None:
            if Interruption.current is not self:
                # Lifted; or the block has ended, and another exception has kept the handler from being restored.
                handler(number, frame)
                return
            handled = sys.exc_info()[1]
            try:
                try:
                    handler(number, frame)
                finally:
                    # It may have set itself again, or another one: "press Ctrl-C twice to stop".
                    self._replace()
            except BaseException as error:
                if self.cause is None or self._is_ctrl_c:
                    self._is_ctrl_c = handler is signal.default_int_handler
                    self.cause = _without(error, handled)

        return call

    def _restore(self) -> None:
        Interruption.current = None
        for number, (holding_back, handler) in self._replaced.items():
            # Unless the block itself has set another.
            if signal.getsignal(number) is holding_back:
                signal.signal(number, handler)
        self._replaced.clear()


def _without(error: BaseException, handled: BaseException | None) -> BaseException:
    """Take from an exception what leads to our frames: its first frame, and the exception that we were handling."""
    last: BaseException = error
    while last.__context__ is not None and last.__context__ is not handled:
        last = last.__context__
    _set_context(last, None)
    return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)


def _set_context(error: BaseException, context: BaseException | None) -> None:
    # Not by its own __setattr__, which may be of the user's class.
    object.__setattr__(error, "__context__", context)


_NEVER: Final = Interruption()


def _end_in_child() -> None:
    # Whoever was in the block is in the parent.
    if Interruption.current is not None:
        Interruption.current._restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_in_child)


def interrupts() -> AbstractContextManager[Interruption]:
    """Hold back what signal handlers raise, until the end of the block; a block within another belongs to the outer.

    Whatever takes long in the block is to look at the `Interruption`, and to stop. In another thread than the main one
    no handler runs, and nothing is held back.
    """
    if threading.current_thread() is not threading.main_thread():
        return nullcontext(_NEVER)
    return Interruption() if Interruption.current is None else nullcontext(Interruption.current)


def interruption() -> Interruption:
    """Return the `Interruption` of the block that this thread is in; outside of one, it never comes."""
    is_main = threading.current_thread() is threading.main_thread()
    return Interruption.current if Interruption.current is not None and is_main else _NEVER


def uninterrupted(work: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make the whole function such a block, and have what it raises lead to no frame beneath it.

    Whatever reads the environment, or has the key in hand, has it in some of its frames, and any call may raise: a
    `RecursionError`, what another thread or an audit hook raises.
    """

    @functools.wraps(work)
    def whole(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with interrupts():
            try:
                return work(*args, **kwargs)
            except BaseException as error:
                # Nothing is called before the frames are gone: a call may raise anew.
                error.__traceback__ = error.__context__ = None
                raise error from None

    return whole


def start_thread(thread: threading.Thread) -> None:
    """Start a thread.

    Raises
    ------
    OutOfThreadsError
        The system gives this process no further one.
    """
    try:
        thread.start()
    except RuntimeError:
        raise OutOfThreadsError from None
