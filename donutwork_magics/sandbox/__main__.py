"""The sandbox's command line: ``python -m donutwork_magics.sandbox``; its options are those of ``sandbox start``."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from ..client.key import holds_key
from ..errors import SettingsError
from ..grammar.commands import SandboxCommand, SandboxOptions
from ..grammar.help import help_text
from ..grammar.parser import parse_line
from ..grammar.values import duration_s
from .process import MODULE, launch
from .server import ListenError, serve

_PROGRAM: Final = f"python -m {MODULE}"
_SANITIZER: Final = Path(__file__).with_name("nbval_sanitize.cfg")
_IN_BACKGROUND_S: Final = 3600.0
_ENVIRONMENTS: Final = {
    "DONUTWORK_": "staging",
    "DONUTWORK_STAGING_": "staging",
    "DONUTWORK_PRODUCTION_": "production",
}
"""Which environment of the sandbox the variables stand for that begin so."""

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
    # On Windows, except in shells such as Git's bash, which set SHELL.
    powershell = sys.platform == "win32" and "SHELL" not in os.environ
    try:
        return _run(given, powershell=powershell)
    except _UsageError as error:
        problem, code = str(error), 2
    except (SettingsError, ListenError) as error:
        problem, code = str(error), 1
    except KeyboardInterrupt:
        problem, code = "interrupted before it listened", 130
    if "--print-env" in given:
        # After an eval of nothing, a script would go on and call the real API.
        sys.stdout.write('throw "The sandbox did not start."\n' if powershell else "false\n")
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
        serve(own.child or _options(others), for_s=own.end_after_s, parent_pipe=own.child is not None)
    return 0


def _own_parser() -> argparse.ArgumentParser:
    """Return the parser of what is not an option of ``sandbox start``."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    for flags in (("-h", "--help"), ("--print-env",), ("--print-nbval-sanitizer",)):
        parser.add_argument(*flags, action="store_true")
    parser.add_argument("--for", dest="end_after_s", type=_for_s)
    # Internal: the options as JSON, and an end when stdin ends, or the parent process.
    parser.add_argument("--child", type=lambda text: SandboxOptions(**json.loads(text)))
    return parser


def _for_s(text: str) -> float:
    try:
        return duration_s(text)
    except ValueError as error:
        # Its own line, in whose place argparse would show the typed word.
        raise argparse.ArgumentTypeError(str(error)) from None


def _options(words: list[str]) -> SandboxOptions:
    """Read the words as ``%donutwork sandbox`` reads them."""
    try:
        command = parse_line(shlex.join(["sandbox", "start", *words]), holds_key=holds_key)
        assert isinstance(command, SandboxCommand)
        return command.options
    except ValueError as error:
        problem = str(error)
    problem = problem.replace("sandbox takes one action, not more.", "only options are taken; Ctrl-C or kill ends it.")
    raise _UsageError(problem.replace("%donutwork help sandbox", "--help"))


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


if __name__ == "__main__":
    sys.exit(main())
