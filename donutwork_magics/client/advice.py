"""The one line for a failed call: what happened, and what to do next."""

from __future__ import annotations

from typing import Protocol

from donutwork_magics.client.endpoints import Endpoint
from donutwork_magics.client.sample import Sample
from donutwork_magics.client.settings import Variables
from donutwork_magics.outcomes import OUTCOMES
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
    """What the line says about where a call goes: of a `Target`, or of a `Setup` with an unusable part."""

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
    """Say in one line why a call failed, and what to do next.

    It holds neither the key nor any text of the server.
    """
    assert sample.error is not None
    line = OUTCOMES[sample.error].line(_facts(sample, target, endpoint))
    if target.proxy_variables and sample.error in {"dns", "connect", "tls", "timeout"}:
        line += f" Connections are direct: {', '.join(target.proxy_variables)} is not used."
    return line


def _facts(sample: Sample, target: Place, endpoint: Endpoint) -> dict[str, str]:
    phases = sample.exchange.phases
    return {
        "host": "the sandbox" if target.sandbox else target.host,
        "reason": f" ({sample.reason})" if sample.reason else "",
        "status": f" ({sample.status_code})" if sample.status_code else "",
        "duration": f"{sample.exchange.duration_ms / 1e3:.3g} s",
        "stuck": next((words for name, words in _PHASES if not getattr(phases, name) >= 0), "at its end"),
        "wait": f"Wait {sample.retry_after_s:g} s" if sample.retry_after_s else "Wait a little",
        "permission": f"{endpoint.permission} ({endpoint.permission_constant})",
        "path": endpoint.path,
        "asked_env": target.env or "no environment",
        "answered_env": sample.env if sample.env in {"staging", "production"} else "another environment",
        **_advice_on_settings(target.variables),
    }


def _advice_on_settings(variables: Variables | None) -> dict[str, str]:
    if variables is None:
        return {
            "key": "the sandbox's own key",
            "check_url": "Start it again: %donutwork sandbox start",
            "check_key": "Start it without this fault: %donutwork sandbox start",
        }
    return {
        "key": f"the key in {variables.key}",
        "check_url": f"Check {variables.base_url}: it must be the API's base URL.",
        "check_key": f"Check that {variables.key} is complete, not revoked, and made for this environment.",
    }
