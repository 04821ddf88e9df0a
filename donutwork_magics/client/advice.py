"""The one line that a failed call says: what happened, and what to do next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from donutwork_magics.client.endpoints import Endpoint
from donutwork_magics.client.sample import Sample
from donutwork_magics.client.settings import CA_BUNDLE_VARIABLE, Variables
from donutwork_magics.errors import Kind
from donutwork_magics.types import Env

_PHASES = (
    ("dns_ms", "while resolving the name"),
    ("connect_ms", "while connecting"),
    ("tls_ms", "in the TLS handshake"),
    ("send_ms", "while sending"),
    ("ttfb_ms", "waiting for the first byte"),
    ("receive_ms", "in the middle of the reply"),
)


class Place(Protocol):
    """Where a call goes, as far as it is spoken of: a `Target`, or a `Setup` that could not become one."""

    @property
    def sandbox(self) -> bool:
        """Whether it is the sandbox."""

    @property
    def host(self) -> str:
        """Host and port."""

    @property
    def env(self) -> Env | None:
        """The environment that was asked for."""

    @property
    def variables(self) -> Variables | None:
        """The variables that it was read from; None for the sandbox."""

    @property
    def proxy_variables(self) -> tuple[str, ...]:
        """The proxy variables that are set, and not used."""


def advice(sample: Sample, target: Place, endpoint: Endpoint) -> str:
    """Say in one line what became of a failed call, and what to do next.

    Nothing that the server sent is in it, and never the key.
    """
    assert sample.error is not None
    line = _LINES[sample.error](_Facts(sample, target, endpoint))
    if target.proxy_variables and sample.error in {"dns", "connect", "tls", "timeout"}:
        line += f" Connections are direct: {', '.join(target.proxy_variables)} is not used."
    return line


class _Facts:
    """The words that the lines share."""

    def __init__(self, sample: Sample, target: Place, endpoint: Endpoint) -> None:
        self.host = "the sandbox" if target.sandbox else target.host
        self.endpoint = endpoint
        self.reason = f" ({sample.reason})" if sample.reason else ""
        self.status = f" ({sample.status_code})" if sample.status_code else ""
        self.asked_env = target.env
        self.answered_env = sample.env if sample.env in {"staging", "production"} else "another environment"
        self.duration_s = sample.exchange.duration_ms / 1e3
        self.stuck = next(
            (words for name, words in _PHASES if not getattr(sample.exchange.phases, name) >= 0), "at its end"
        )
        self.wait = f" Wait {sample.retry_after_s:g} s" if sample.retry_after_s else " Wait a little"
        if target.variables is None:
            self.key = "the sandbox's own key"
            self.check_url = "Start it anew: %donutwork sandbox start"
            self.check_key = "Start it without this fault: %donutwork sandbox start"
        else:
            self.key = f"the key in {target.variables.key}"
            self.check_url = f"Check {target.variables.base_url}: it must be the API's base URL."
            self.check_key = (
                f"Check that {target.variables.key} is complete, not revoked, and made for this environment."
            )


_LINES: Final[dict[Kind, Callable[[_Facts], str]]] = {
    "timeout": lambda f: (
        f"No complete reply from {f.host} after {f.duration_s:.3g} s, stuck {f.stuck}. "
        "Try again, or allow more time (--timeout; in Python: timeout_s)."
    ),
    "dns": lambda f: f"The name {f.host} cannot be resolved{f.reason}. Check your network. {f.check_url}",
    "connect": lambda f: f"No connection to {f.host}{f.reason}. Check your network and firewall. {f.check_url}",
    "tls": lambda f: (
        f"No secure connection to {f.host}{f.reason}. Behind a private certificate authority, name its PEM file in "
        f"{CA_BUNDLE_VARIABLE}. {f.check_url}"
    ),
    "connection_lost": lambda f: (
        f"The connection to {f.host} was lost before the reply was complete{f.reason}. Try again."
    ),
    "protocol": lambda f: f"{f.host} did not answer in the protocol that was asked for{f.reason}. {f.check_url}",
    "too_large": lambda f: f"The reply of {f.host} is too large to be the API's{f.reason}. {f.check_url}",
    "invalid_body": lambda f: f"The reply of {f.host} cannot be read{f.reason}. {f.check_url}",
    "schema": lambda f: f"The reply of {f.host} is not as documented{f.reason}. {f.check_url}",
    "redirect": lambda f: (
        f"{f.host} answered with a redirect{f.status}, which is not followed: the key goes to one origin only. "
        f"{f.check_url}"
    ),
    "unauthorized": lambda f: f"Invalid token: {f.host} refused {f.key}{f.status}. {f.check_key}",
    "forbidden": lambda f: (
        f"{f.host} does not allow it{f.status}: {f.key} needs the permission {f.endpoint.permission} "
        f"({f.endpoint.permission_constant}). Ask for it in the Donutwork dashboard."
    ),
    "not_found": lambda f: f"{f.host} has no {f.endpoint.path}{f.status}. {f.check_url}",
    "rate_limited": lambda f: f"{f.host} asks for fewer requests{f.status}.{f.wait}, then ask less often.",
    "server_error": lambda f: f"{f.host} failed on its side{f.status}.{f.wait} and try again.",
    "unexpected_status": lambda f: f"{f.host} answered with a status that is not documented{f.status}. {f.check_url}",
    "env_mismatch": lambda f: (
        f"{f.answered_env} answered where {f.asked_env} was asked for. Check that {f.key} and its base URL are those "
        f"of {f.asked_env}."
    ),
}
