"""The command language of the magics: one table makes the parser, the ``?`` text and ``help``; pure.

commands   what a line means: the values that the parser makes
words      the table of commands and options
values     from an option's text to its value
injection  the same for what the sandbox can be asked for; the sandbox reads with it too
refusals   how it says no, without the user's own words
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
    Env,
    Family,
    HelpCommand,
    Http,
    LoadCommand,
    Overview,
    PingCommand,
    SandboxCommand,
    SeriesOptions,
    StopWatchesCommand,
    WatchCommand,
)
from .help import docstring, help_text, overview_rows
from .parser import parse_line
from .refusals import GrammarError
from .words import CONFIGURABLE, Configurable

__all__ = [
    "CONFIGURABLE",
    "CallOptions",
    "Cell",
    "CellLine",
    "CheckCommand",
    "Command",
    "Configurable",
    "ConnectionCommand",
    "Env",
    "Family",
    "GrammarError",
    "HelpCommand",
    "Http",
    "LoadCommand",
    "Overview",
    "PingCommand",
    "SandboxCommand",
    "SeriesOptions",
    "StopWatchesCommand",
    "WatchCommand",
    "docstring",
    "help_text",
    "overview_rows",
    "parse_cell",
    "parse_line",
]
