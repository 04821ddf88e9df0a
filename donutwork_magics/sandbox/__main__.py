"""The sandbox's command line: ``python -m donutwork_magics.sandbox``; its options are those of ``sandbox start``."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from ..client.key import KeysIn
from ..errors import SettingsError
from ..grammar import SandboxCommand, help_text, parse_line
from ..grammar.injection import fault_shares, stall_s
from ..grammar.values import duration_s
from .behaviour import Behaviour, Delay, Stalls, read_delay
from .exports import exports, failed, is_powershell
from .options import SandboxOptions
from .process import MODULE, launch
from .server import ListenError, serve

_PROGRAM: Final = f"python -m {MODULE}"
_SANITIZER: Final = Path(__file__).with_name("nbval_sanitize.cfg")
_IN_BACKGROUND_S: Final = 3600.0

_HELP: Final = f"""\
{_PROGRAM} [options]

A local stand-in for the Donutwork API, version 2026-02-01, on 127.0.0.1 only.
Once it listens it prints one line of JSON: the url, the keys, the seed and the
pid. The keys are made anew at each start: "production" and "staging" may do
everything; "ping_only" and "connection_only" (both staging) lack the other
permission. Stop it with Ctrl-C.

Options
{{options}}
      --for 10m             end after that time
      --print-env           go on in the background, and print the address, the
                            keys and its process id as shell variables; without
                            --for it ends after 1h
      --print-nbval-sanitizer
                            print the path of a file for nbval's option
                            --nbval-sanitize-with, and end
  -h, --help                show this text, and end

Examples
  {_PROGRAM} --latency 20ms/60ms --fault server_error:0.05
      one that serves until Ctrl-C
  eval "$({_PROGRAM} --print-env --for 10m)"
      one for the commands that follow in this shell; in PowerShell:
      {_PROGRAM} --print-env | Out-String | Invoke-Expression
  kill $DONUTWORK_SANDBOX_PID
      its end
"""


class _UsageError(Exception):
    """A line for the user, without the words that were typed: one of them may be a key."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # Where argparse repeats what was typed it does so in quotes.
        raise _UsageError(message.partition(" '")[0].rstrip(":"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sandbox; return the exit code: 2 for bad arguments, 1 where it cannot start."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    powershell = is_powershell(sys.platform, os.environ)
    try:
        return _run(given, powershell=powershell)
    except _UsageError as error:
        problem, code = str(error), 2
    except (SettingsError, ListenError) as error:
        problem, code = str(error), 1
    except KeyboardInterrupt:
        problem, code = "interrupted before it listened", 130
    if "--print-env" in given:
        sys.stdout.write(failed(powershell=powershell))
    sys.stderr.write(f"{_PROGRAM}: error: {problem}\n")
    return code


def _run(given: list[str], *, powershell: bool) -> int:
    own, others = _own_parser().parse_known_args(given)
    if own.help:
        options = help_text("sandbox").partition("\nOptions\n")[2].partition("\n\nExamples\n")[0]
        print(_HELP.format(options=options), end="")
    elif own.print_nbval_sanitizer:
        print(_SANITIZER)
    elif own.print_env:
        # Read here too: a wrong word needs no second process to be found.
        _options(others)
        child, ready = launch(f"--for={own.end_after_s or _IN_BACKGROUND_S:.9f}s", *others)
        child.release()
        print(exports(ready.url, ready.key, ready.pid, powershell=powershell), end="", flush=True)
    else:
        _serve(own.child or _options(others), own.end_after_s, parent_pipe=own.child is not None)
    return 0


def _own_parser() -> argparse.ArgumentParser:
    """Return the parser of what is not an option of ``sandbox start``."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    for flags in (("-h", "--help"), ("--print-env",), ("--print-nbval-sanitizer",)):
        parser.add_argument(*flags, action="store_true")
    parser.add_argument("--for", dest="end_after_s", type=_reader(duration_s))
    # Internal: the options as JSON, and an end when stdin ends, or the parent process.
    parser.add_argument("--child", type=_reader(SandboxOptions.from_json))
    return parser


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let argparse show a ValueError's own line, in whose place it would show the typed word."""

    def checked(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _options(words: list[str]) -> SandboxOptions:
    """Read the words as ``%donutwork sandbox`` reads them.

    Raises
    ------
    _UsageError
        They are not valid.
    """
    try:
        command = parse_line(shlex.join(["sandbox", *words]), secrets=KeysIn(os.environ))
        if isinstance(command, SandboxCommand) and command.action in (None, "start"):
            return SandboxOptions.of(command)
        problem = "stop and status are for the magics: a process is ended with Ctrl-C, or by kill."
    except ValueError as error:
        problem = str(error)
    raise _UsageError(problem.replace("%donutwork help sandbox", "--help"))


def _serve(options: SandboxOptions, for_s: float | None, *, parent_pipe: bool) -> None:
    seed = secrets.randbits(32) if options.seed is None else options.seed
    latency, server_time = (
        Delay() if text is None else read_delay(text) for text in (options.latency, options.server_time)
    )
    serve(
        Behaviour(latency, server_time, fault_shares(options.faults), seed),
        Stalls(map(stall_s, options.stalls)),
        seed=seed,
        port=options.port,
        retry_after_s=options.retry_after_s,
        for_s=for_s,
        parent_pipe=parent_pipe,
    )


if __name__ == "__main__":
    sys.exit(main())
