"""A stand-in for the API on this machine: ``with sandbox():`` sends every call of this process to it.

For terminals and CI: ``python -m donutwork_magics.sandbox --help``.
"""

# api.py      what the API answers, and what is injected: latency, server time and faults, drawn from a seed; pure
# server.py   listens, speaks HTTP/1.1, and ends with its parent
# process.py  the parent's side: starts, holds and ends the child, and which sandbox is on in this process
#
# What a sandbox is asked for is one value for all of them: `donutwork_magics.grammar.commands.SandboxOptions`.

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .process import Sandbox


class SandboxModule(ModuleType):
    """Makes this package callable.

    A function of the same name in `donutwork_magics` would be replaced by the package as soon as that is imported.
    """

    def __call__(
        self,
        *,
        latency: str | None = None,
        server_time: str | None = None,
        faults: Sequence[str] = (),
        stalls: Sequence[str] = (),
        retry_after_s: int = 1,
        seed: int | None = None,
        port: int = 0,
    ) -> AbstractContextManager[Sandbox]:
        """Have every call of this process go to a sandbox: ``with sandbox(latency="20ms") as box:``.

        At the end of the block the sandbox ends, and calls go where they went before; blocks can be nested. A sandbox
        that dies in its block is not replaced: calls are refused until the block ends. It is on in this process and its
        forks, and not in processes that are started anew.

        Parameters
        ----------
        latency, server_time
            A delay outside and inside RRT: ``20ms``, or ``20ms/60ms`` for median and 95th percentile.
        faults
            ``KIND:SHARE`` each, such as ``"server_error:0.05"``.
        stalls
            ``LENGTH@START`` each, such as ``"2s@10s"``: 10 seconds after the sandbox has started, all requests hang
            until 2 seconds have passed. RRT holds the wait.
        retry_after_s
            What ``rate_limited`` asks for.
        seed
            The same delays and faults in each run: the k-th request meets the same ones, on whatever connection; None
            for a random one.
        port
            0 for a free one.

        Returns
        -------
        context manager of a Sandbox
            Its ``url`` and ``seed`` are those in use.

        Raises
        ------
        ValueError
            An argument cannot be used.
        SettingsError
            At the begin of the block: the sandbox cannot start.

        Examples
        --------
        >>> from donutwork_magics import collect, sandbox
        >>> with sandbox(latency="20ms", faults=["server_error:0.05"], seed=1):
        ...     df = collect(100)
        """
        from ..grammar.commands import SandboxOptions
        from .process import Block

        return Block(
            SandboxOptions(
                latency=latency,
                server_time=server_time,
                faults=faults,
                stalls=stalls,
                retry_after_s=retry_after_s,
                seed=seed,
                port=port,
            )
        )


sys.modules[__name__].__class__ = SandboxModule
