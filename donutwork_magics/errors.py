"""What can go wrong, by name: the outcomes of a ping, and the errors that people meet.

DonutworkError           one line, rendered without a traceback; `kind` is one of KINDS where a call failed
├── SettingsError        a key, a URL or the sandbox is not usable; no request was sent
│   ├── OutOfThreadsError    this process can start no further thread
│   └── OutOfFilesError      this process can open no further connection
├── SeriesError          a series ended early; its rows are kept
└── AnalysisError        a table does not have what an analysis asks for; also a ValueError
Interrupted        a KeyboardInterrupt, also one line; the rows are kept

The table `OUTCOMES` says of each what happened, and what to do: for the line of an error, for help and for the README.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from donutwork_magics.units import printable

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
        # IPython prints it to stdout. Where that fails, `ipython x.ipy` ends as if nothing had.
        return [printable(f"{type(self).__name__}: {self}", sys.stdout)]


class DonutworkError(_OneLine, Exception):
    """A call or a command failed; the message is one line: what happened, and what to do next.

    Attributes
    ----------
    kind : str or None
        One of `KINDS` where a call was made and failed, else None; ``%donutwork help errors`` explains each.

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


class OutOfFilesError(SettingsError):
    """No further socket can be opened: the fault is this machine's, and says nothing of the API."""

    def __init__(self) -> None:
        super().__init__(
            "This process has reached its limit of open files. Ask for fewer pings at a time (-c), close what else it "
            "has open, or raise the limit (ulimit -n)."
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """A failure of a ping, by the name that the ``error`` column has for it.

    `happened` and `advice` are sentences with the facts of a call in braces, as `line` takes them. `status` is the HTTP
    status that usually comes with it; empty where that says nothing.
    """

    kind: Kind
    happened: str
    advice: str
    status: str = ""

    def line(self, **facts: str) -> str:
        """Say in one line what became of a call, and what to do next."""
        return f"{self.happened} {self.advice}".format_map(facts)

    def in_general(self) -> tuple[str, str]:
        """Say what it means and what to do, of no call in particular."""
        facts = _ANY_CALL | {"status": f" ({self.status})" if self.status else ""}
        happened, advice = (text.format_map(facts) for text in (self.happened, self.advice))
        return happened[0].upper() + happened[1:], advice[0].upper() + advice[1:]


_ANY_CALL: Final = {
    "host": "the host",
    "reason": "",
    "duration": "its deadline",
    "stuck": "in the phase whose time is missing",
    "wait": "Wait a little",
    "key": "the key",
    "permission": "ping:read (for connection: connection:read)",
    "path": "such address",
    "asked_env": "the environment of --env",
    "answered_env": "another environment",
    "check_url": "Check the base URL: it must be the API's.",
    "check_key": "Check that the key is complete, not revoked, and made for this environment.",
}

OUTCOMES: Final[dict[Kind, Outcome]] = {
    outcome.kind: outcome
    for outcome in (
        Outcome(
            "timeout",
            "No complete reply from {host} after {duration}, stuck {stuck}.",
            "Try again, or allow more time (--timeout; in Python: timeout_s).",
        ),
        Outcome("dns", "The name of {host} cannot be resolved{reason}.", "Check your network. {check_url}"),
        Outcome("connect", "No connection to {host}{reason}.", "Check your network and firewall. {check_url}"),
        Outcome(
            "tls",
            "No secure connection to {host}{reason}.",
            "Behind a private certificate authority, name its PEM file in DONUTWORK_CA_BUNDLE. {check_url}",
        ),
        Outcome(
            "connection_lost",
            "The connection to {host} was lost before the reply was complete{reason}.",
            "Try again.",
        ),
        Outcome("protocol", "{host} did not answer in the protocol that was asked for{reason}.", "{check_url}"),
        Outcome("too_large", "The reply of {host} is too large to be the API's{reason}.", "{check_url}"),
        Outcome("invalid_body", "The reply of {host} cannot be read{reason}.", "{check_url}"),
        Outcome("schema", "The reply of {host} is not as documented{reason}.", "{check_url}"),
        Outcome(
            "redirect",
            "{host} answered with a redirect{status}, which is not followed: the key goes to one origin only.",
            "{check_url}",
            status="3xx",
        ),
        Outcome("unauthorized", "Invalid token: {host} refused {key}{status}.", "{check_key}", status="401"),
        Outcome(
            "forbidden",
            "{host} does not allow it{status}: {key} needs the permission {permission}.",
            "Ask for it in the Donutwork dashboard.",
            status="403",
        ),
        Outcome("not_found", "{host} has no {path}{status}.", "{check_url}", status="404"),
        Outcome(
            "rate_limited", "{host} asks for fewer requests{status}.", "{wait}, then ask less often.", status="429"
        ),
        Outcome("server_error", "{host} failed on its side{status}.", "{wait} and try again.", status="5xx"),
        Outcome(
            "unexpected_status",
            "{host} answered with a status that is not documented{status}.",
            "{check_url}",
            status="such as 204",
        ),
        Outcome(
            "env_mismatch",
            "{answered_env} answered where {asked_env} was asked for.",
            "Check that {key} and its base URL are those of {asked_env}.",
        ),
    )
}
"""By kind, in the order of `donutwork_magics.errors.KINDS`."""
