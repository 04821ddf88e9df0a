"""IPython magics for the Donutwork API: check a key in one line, and measure latency that can be trusted.

``%load_ext donutwork_magics``, then ``%donutwork``. In a script: ``from donutwork_magics import collect, load``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from donutwork_magics._version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from donutwork_magics.analysis.compare import compare as compare
    from donutwork_magics.analysis.diagnose import diagnose as diagnose
    from donutwork_magics.analysis.expectations import judge as judge
    from donutwork_magics.analysis.summary import percentiles as percentiles
    from donutwork_magics.analysis.summary import summary as summary
    from donutwork_magics.client.client import Client as Client
    from donutwork_magics.client.results import Connection as Connection
    from donutwork_magics.client.results import Ping as Ping
    from donutwork_magics.client.timed_transport import TimedTransport as TimedTransport
    from donutwork_magics.display.report import report as report
    from donutwork_magics.displayed import CheckReport as CheckReport
    from donutwork_magics.errors import DonutworkError as DonutworkError
    from donutwork_magics.errors import Interrupted as Interrupted
    from donutwork_magics.errors import SeriesError as SeriesError
    from donutwork_magics.errors import SettingsError as SettingsError
    from donutwork_magics.frame.table import load as load
    from donutwork_magics.measure import collect as collect
    from donutwork_magics.packaged import load_example as load_example
    from donutwork_magics.preflight import check as check
    from donutwork_magics.sandbox import SandboxModule

    sandbox: SandboxModule

# Imported when first used: a notebook that loads the extension does not wait for httpx and pandas.
_HOME: Final = {
    "CheckReport": "displayed",
    "Client": "client.client",
    "Connection": "client.results",
    "DonutworkError": "errors",
    "Interrupted": "errors",
    "Ping": "client.results",
    "SeriesError": "errors",
    "SettingsError": "errors",
    "TimedTransport": "client.timed_transport",
    "check": "preflight",
    "collect": "measure",
    "compare": "analysis.compare",
    "diagnose": "analysis.diagnose",
    "judge": "analysis.expectations",
    "load": "frame.table",
    "load_example": "packaged",
    "percentiles": "analysis.summary",
    "report": "display.report",
    "summary": "analysis.summary",
}
__all__ = ["__version__", "sandbox"]
__all__.extend(_HOME)


def __getattr__(name: str) -> Any:
    if name == "sandbox":
        # Not a function: importing the package of this name would replace it.
        return import_module(f"{__name__}.sandbox")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Put ``%donutwork`` and ``%%donutwork`` into a shell: what ``%load_ext donutwork_magics`` calls."""
    from donutwork_magics.shell import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take them out again, and end the sandbox: what ``%unload_ext donutwork_magics`` calls."""
    from donutwork_magics.shell import unload

    unload(shell)
