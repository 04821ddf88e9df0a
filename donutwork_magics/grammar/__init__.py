"""The command language of the magics: one table makes the parser, the ``?`` text and ``help``; pure.

commands      what a line means: the values that the parser makes
options       the table of commands and options
values        from an option's text to its value
injection     the same for what the sandbox can be asked for; the sandbox reads with it too
lexer         from a text to its words
parser        a line
cell          a cell
parse_errors  what is wrong and what is right, without the user's own words
help          the texts of help
reference     the tables of columns, errors and settings, for help and the README
completion    what may come next
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
    TutorialCommand,
    VersionCommand,
    WatchCommand,
    WatchStatusCommand,
)
from .help import config_text, docstring, help_text, overview_rows
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
    "TutorialCommand",
    "VersionCommand",
    "WatchCommand",
    "WatchStatusCommand",
    "config_text",
    "docstring",
    "help_text",
    "overview_rows",
    "parse_cell",
    "parse_line",
]
