"""The settings, part by part, usable or not: a call refuses the first unusable one, a check shows them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import httpx

from donutwork_magics.client.key import ApiKey, read_key
from donutwork_magics.client.settings import (
    Target,
    Variables,
    host_and_port,
    proxies,
    read_base_url,
    read_ca_bundle,
    variables_for,
)
from donutwork_magics.errors import SettingsError
from donutwork_magics.types import Env

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unusable:
    """A setting that cannot be used."""

    why: str
    """The line that a call would end with."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The parts of a `Target`, each of which may be unusable."""

    base_url: httpx.URL | Unusable
    key: ApiKey | Unusable
    variables: Variables | None
    """None for the sandbox."""
    env: Env | None = None
    ca_pem: str | Unusable | None = field(default=None, repr=False)
    proxy_variables: tuple[str, ...] = ()
    default_url: bool = False
    """Whether the base URL is the built-in one."""

    @property
    def sandbox(self) -> bool:
        """Whether this is the sandbox."""
        return self.variables is None

    @property
    def host(self) -> str:
        """Host, and port unless it is the scheme's own; empty where there is no usable base URL."""
        return "" if isinstance(self.base_url, Unusable) else host_and_port(self.base_url)

    @property
    def target(self) -> Target | None:
        """Where calls go, whatever environment answers; None where a part is unusable."""
        base_url, key, ca_pem = self.base_url, self.key, self.ca_pem
        if isinstance(base_url, Unusable) or isinstance(key, Unusable) or isinstance(ca_pem, Unusable):
            return None
        return Target(base_url, key, self.variables, ca_pem=ca_pem, proxy_variables=self.proxy_variables)

    def usable(self) -> Target:
        """Return where calls go.

        Raises
        ------
        SettingsError
            A part is unusable; the first one is named.
        """
        for part in (self.base_url, self.key, self.ca_pem):
            if isinstance(part, Unusable):
                raise SettingsError(part.why)
        target = self.target
        assert target is not None
        return replace(target, env=self.env)


def read_setup(environ: Mapping[str, str], env: Env | None = None) -> Setup:
    """Read each setting from the environment; an unusable one raises nothing."""
    variables = variables_for(environ, env)
    return Setup(
        base_url=_usable(lambda: read_base_url(environ, variables.base_url)),
        key=_usable(lambda: read_key(environ, variables.key)),
        variables=variables,
        env=env,
        ca_pem=_usable(lambda: read_ca_bundle(environ)),
        proxy_variables=proxies(environ),
        default_url=not environ.get(variables.base_url, "").strip(),
    )


def setup_of(target: Target) -> Setup:
    """Take a target apart."""
    return Setup(target.base_url, target.key, target.variables, target.env, target.ca_pem, target.proxy_variables)


def _usable(read: Callable[[], T]) -> T | Unusable:
    # Only the text is kept: the exception holds frames in which the key could be read.
    try:
        return read()
    except SettingsError as error:
        return Unusable(str(error))
