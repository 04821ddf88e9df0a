"""The versions that a report of a fault needs."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from donutwork_magics._version import __version__

_PACKAGES: Final = ("ipython", "ipykernel", "ipywidgets", "pandas", "httpx", "httptools", "h2")


def versions() -> str:
    """Give the versions of this extension and of what it runs on, as one line."""
    installed = [f"{package} {found}" for package in _PACKAGES if (found := _version(package))]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return ", ".join([f"donutwork_magics {__version__}", python, *installed, platform.platform()])


def _version(package: str) -> str:
    # Looked up, not imported: pandas alone takes a third of a second.
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
