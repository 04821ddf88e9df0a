"""What can go wrong, by name: the outcomes of a ping, and the errors that people meet.

DonutworkError           one line, rendered without a traceback; `kind` is one of KINDS where a call failed
├── SettingsError        a key, a URL or the sandbox is not usable; no request was sent
│   └── OutOfThreadsError    nor is this process: it can start no further thread
├── SeriesError          a series ended early; its rows are kept
└── AnalysisError        a table does not have what an analysis asks for; also a ValueError
Interrupted        a KeyboardInterrupt, also one line; the rows are kept
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

Kind = Literal[
    "timeout",
    "dns",
    "connect",
    "tls",
    "connection_lost",
    "protocol",
    "too_large",
    "invalid_body",
    "schema",
    "redirect",
    "unauthorized",
    "forbidden",
    "not_found",
    "rate_limited",
    "server_error",
    "unexpected_status",
    "env_mismatch",
]
"""The name of an outcome that is not a success; the ``error`` column of the DataFrame holds one of them, or NA."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class _OneLine(BaseException):
    """An exception that IPython shows as one line, in every ``%xmode``."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class DonutworkError(_OneLine, Exception):
    """A call or a command failed; the message is one line: what happened, and what to do next.

    Parameters
    ----------
    message
        That line.
    kind
        One of `KINDS` where a call was made and failed, else None.

    Attributes
    ----------
    kind : str or None
        As given; ``%donutwork help errors`` explains each.

    Examples
    --------
    >>> try:
    ...     client.ping()
    ... except DonutworkError as error:
    ...     if error.kind != "timeout":
    ...         raise
    """

    def __init__(self, message: str, kind: Kind | None = None) -> None:
        super().__init__(message)
        self.kind = kind


class SettingsError(DonutworkError):
    """A setting is missing or not usable; nothing was sent."""


class OutOfThreadsError(SettingsError):
    """No further thread can be started."""

    def __init__(self) -> None:
        super().__init__(
            "This process can start no further thread. End what else runs in it, such as a watch, or restart it."
        )


class SeriesError(DonutworkError):
    """A series ended before its plan did; its completed rows are kept.

    Attributes
    ----------
    df : pandas.DataFrame or None
        The completed rows.
    kind : str or None
        What the ping failed with that ended it; None where something else did.
    """

    df: Any = None


class AnalysisError(DonutworkError, ValueError):
    """A table does not have what an analysis asks for, or what it asks for does not exist."""


class Interrupted(_OneLine, KeyboardInterrupt):
    """A call or a series was interrupted (Ctrl-C, or the kernel's interrupt); a KeyboardInterrupt in one line.

    Attributes
    ----------
    df : pandas.DataFrame or None
        The completed rows of a series.
    """

    df: Any = None
