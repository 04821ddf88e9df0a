"""A sandbox as shell variables, for ``eval`` in a terminal or in CI; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

_ENVIRONMENTS: Final = {
    "DONUTWORK_": "staging",
    "DONUTWORK_STAGING_": "staging",
    "DONUTWORK_PRODUCTION_": "production",
}
"""Which environment of the sandbox the variables stand for that begin so."""


def exports(url: str, key_for: Callable[[str], str | None], pid: int, *, powershell: bool) -> str:
    """Return one line a variable: the address and the key of each environment, and the process to end.

    All are set, since a variable of before may hold a real key, or the address of the real API. No value needs quotes:
    they are a URL with an address of digits, keys in the alphabet of URLs, and a number.

    Parameters
    ----------
    powershell
        Write for PowerShell, not for a POSIX shell.
    """
    variables = {"DONUTWORK_SANDBOX_PID": str(pid)}
    for prefix, env in _ENVIRONMENTS.items():
        variables |= {f"{prefix}BASE_URL": url, f"{prefix}API_KEY": key_for(env) or ""}
    form = '$env:{} = "{}"\n' if powershell else "export {}={}\n"
    return "".join(form.format(*variable) for variable in variables.items())


def failed(*, powershell: bool) -> str:
    """Return a line that fails: after an ``eval`` of nothing, a script would go on and call the real API."""
    return 'throw "The sandbox did not start."\n' if powershell else "false\n"


def is_powershell(platform: str, environ: Mapping[str, str]) -> bool:
    """Tell whether the shell is PowerShell: it is on Windows, except in shells such as Git's bash, which set SHELL."""
    return platform == "win32" and "SHELL" not in environ
