"""The command language of the magics: one table makes the parser, the ``?`` text and ``help``; pure.

commands   what a line means: the values that the parser makes
options    the table of commands and options
values     from an option's text to its value
injection  the same for what the sandbox can be asked for; the sandbox reads with it too
parse_errors  how it says no, without the user's own words
parser     a line        cell   a cell        help   the texts        completion   what may come next
"""

from __future__ import annotations

from .cell import parse_cell
from .commands import (
    CallOptions,
    Cell,
    CellLine,
    CheckCommand,
    Command,
    ConnectionCommand,
    HelpCommand,
    LoadCommand,
    Overview,
    PingCommand,
    SandboxCommand,
    StopWatchesCommand,
    WatchCommand,
)
from .help import docstring, help_text, overview_rows
from .options import CONFIGURABLE, Configurable
from .parse_errors import GrammarError
from .parser import parse_line

__all__ = [
    "CONFIGURABLE",
    "CallOptions",
    "Cell",
    "CellLine",
    "CheckCommand",
    "Command",
    "Configurable",
    "ConnectionCommand",
    "GrammarError",
    "HelpCommand",
    "LoadCommand",
    "Overview",
    "PingCommand",
    "SandboxCommand",
    "StopWatchesCommand",
    "WatchCommand",
    "docstring",
    "help_text",
    "overview_rows",
    "parse_cell",
    "parse_line",
]
