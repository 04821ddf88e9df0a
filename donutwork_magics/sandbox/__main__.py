"""The sandbox's command line: ``python -m donutwork_magics.sandbox``."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from ..grammar import injection
from .behaviour import Behaviour, Delay, read_delay
from .server import ListenError, serve

_DESCRIPTION: Final = """\
A local stand-in for the Donutwork API, version 2026-02-01, on 127.0.0.1 only.

Once it listens it prints one line of JSON: the url, the keys, the seed and the pid. The keys are made anew at each
start: "production" and "staging" may do everything; "ping_only" and "connection_only" (both staging) lack the
other permission. Stop it with Ctrl-C.
"""

_EPILOG: Final = f"""\
A delay D is a constant (20ms), or a median and a 95th percentile of a lognormal distribution (20ms/60ms), in ns, us,
ms or s. A fault KIND is one of
  {", ".join(injection.FAULTS[:5])},
  {", ".join(injection.FAULTS[5:-1])};
what is injected is what the "error" column of the magics reports. {" and ".join(injection.ALIASES)} are
{" and ".join(injection.ALIASES.values())}; slow is a good reply that takes {injection.SLOW_S:g} s longer, in RRT.

  python -m donutwork_magics.sandbox --latency 20ms/60ms --server-time 2ms --fault server_error:0.05 --seed 1
  curl -H "Authorization: Bearer <the staging key>" http://127.0.0.1:<port>/2026-02-01/ping.json
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # Where argparse repeats what was typed it does so in quotes, and that may be a key.
        said = message.partition(" '")[0].rstrip(":")
        self.exit(2, f"{self.prog}: error: {said}; see --help\n")


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the sandbox's command line."""
    parser = _Parser(
        prog="python -m donutwork_magics.sandbox",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--port", type=_checked(injection.port), default=0, metavar="N", help="the port; 0, the default, is a free one")
    add(
        "--latency",
        type=_checked(read_delay),
        default=Delay(),
        metavar="D",
        help="a delay outside the server's time, as on a network; not in RRT",
    )
    add(
        "--server-time",
        type=_checked(read_delay),
        default=Delay(),
        metavar="D",
        help="a delay of the server itself; in RRT",
    )
    add(
        "--fault",
        action="append",
        default=[],
        metavar="KIND:SHARE",
        help="let a share of the requests, above 0 and 1 at most, end as KIND; may be repeated",
    )
    add(
        "--retry-after",
        type=_checked(injection.retry_after_s),
        default=1,
        metavar="1s",
        help="what rate_limited asks for, in whole seconds; 1s by default",
    )
    add(
        "--seed",
        type=_checked(injection.seed),
        metavar="N",
        help="the same delays and faults in each run; random by default",
    )
    add(
        "--parent-pipe",
        action="store_true",
        help="internal: end when stdin does, or when the parent process ends",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sandbox; return the exit code (argparse's 2 for bad arguments, 1 where the port cannot be had)."""
    parser = argument_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error("unknown argument")
    try:
        faults = injection.fault_shares(options.fault)
    except ValueError as error:
        parser.error(f"argument --fault: {error}")
    seed: int = secrets.randbits(32) if options.seed is None else options.seed
    try:
        serve(
            Behaviour(options.latency, options.server_time, faults, seed),
            seed=seed,
            port=options.port,
            retry_after_s=options.retry_after,
            parent_pipe=options.parent_pipe,
        )
    except ListenError as error:
        sys.stderr.write(f"{parser.prog}: error: {error}\n")
        return 1
    return 0


def _checked(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let argparse show a ValueError's own line, which it would otherwise replace with the typed word."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


if __name__ == "__main__":
    sys.exit(main())
