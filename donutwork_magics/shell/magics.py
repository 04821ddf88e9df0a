"""``%donutwork`` and ``%%donutwork``: from what is typed to a command, and from its end to a value or to one line."""

from __future__ import annotations

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.utils.text import DollarFormatter
from traitlets import Any as AnyTrait

from donutwork_magics.client.key import holds_key
from donutwork_magics.errors import DonutworkError, Interrupted
from donutwork_magics.grammar.cell import parse_cell
from donutwork_magics.grammar.help import config_text, docstring
from donutwork_magics.grammar.options import CONFIGURABLE
from donutwork_magics.grammar.parser import GrammarError, parse_line
from donutwork_magics.interrupts import interruption, interrupts
from donutwork_magics.network.exchange import CallCancelledError
from donutwork_magics.session import Session
from donutwork_magics.shell.invocation import LAST, Invocation


class _Donutwork(Magics):
    """The magics of one shell."""

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.session = Session()
        self._last: object = None

    def keeps(self, value: object) -> bool:
        """Tell whether a value is the last result."""
        return value is not None and value is self._last

    @line_cell_magic
    def donutwork(self, line: str, cell: str | None = None) -> object:
        """Run a command; the grammar's text takes the place of this one."""
        problem = ""
        invocation = Invocation(self.shell, self.session, self._store)
        with interrupts() as seen:
            try:
                value = self._run(invocation, line, cell)
                if not seen.is_set():
                    return value
            except GrammarError as error:
                problem = str(error)
            except Interrupted:
                raise
            except (CallCancelledError, KeyboardInterrupt):
                pass
            except DonutworkError:
                if not seen.is_set():
                    raise
            if seen.is_set() or not problem:
                raise Interrupted(invocation.kept)
        # Exactly UsageError, since IPython shows a subclass with its traceback; and outside of the except block, since
        # otherwise it would carry ours as its context.
        raise UsageError(problem)

    @classmethod
    def class_get_help(cls, inst: object = None, *_helptrait: object) -> str:
        """Say what ``%config DonutworkMagics`` may set, and what is set."""
        if inst is None:
            # IPython takes the names that Tab offers from its own text, and asks for it without an instance.
            return str(super().class_get_help())
        return config_text({name: getattr(inst, name, None) for name in CONFIGURABLE})

    def _run(self, invocation: Invocation, line: str, body: str | None) -> object:
        defaults = {name: getattr(self, name) for name in CONFIGURABLE}
        if body is None:
            return invocation.line(parse_line(line, defaults=defaults, holds_key=holds_key))
        with interruption().lifted():
            expanded = "\n".join(map(self._expand, body.splitlines()))
        return invocation.cell(parse_cell(line, expanded, defaults=defaults, holds_key=holds_key))

    def _store(self, name: str, value: object) -> None:
        if name == LAST:
            self._last = value
            self.shell.user_ns[LAST] = value
        else:
            self.shell.push({name: value})

    def _expand(self, text: str) -> str:
        # IPython expands $name and {expression} in the line of a magic, never in its body. As there, what cannot be
        # expanded stays as it is. (`shell.var_expand` would look into our own local variables first.)
        try:
            return DollarFormatter().vformat(text, args=[], kwargs=self.shell.user_ns)
        except Exception:
            return text


def _with_traits() -> type[_Donutwork]:
    # A trait takes whatever is typed, and the grammar looks at it at the next command: `%config` itself would only log
    # a bad value, and the cell would count as done.
    traits = {name: AnyTrait(None, help=option.help).tag(config=True) for name, option in CONFIGURABLE.items()}
    _Donutwork.donutwork.__doc__ = docstring()
    return magics_class(type("DonutworkMagics", (_Donutwork,), {"__doc__": _Donutwork.__doc__, **traits}))


DonutworkMagics = _with_traits()
