"""``%donutwork`` and ``%%donutwork``: from a command to its value, its display and its error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.display import display
from IPython.utils.text import DollarFormatter
from traitlets import Any as AnyTrait

from donutwork_magics.errors import DonutworkError, Interrupted, SeriesError
from donutwork_magics.grammar import (
    CONFIGURABLE,
    Cell,
    CellLine,
    CheckCommand,
    ConnectionCommand,
    GrammarError,
    HelpCommand,
    LoadCommand,
    PingCommand,
    SandboxCommand,
    StopWatchesCommand,
    TutorialCommand,
    VersionCommand,
    WatchCommand,
    WatchStatusCommand,
    config_text,
    docstring,
    help_text,
    overview_rows,
    parse_cell,
    parse_line,
)
from donutwork_magics.interrupts import interruption, interrupts
from donutwork_magics.network.faults import CallCancelledError
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.session import Execution, Session
from donutwork_magics.shell.result_use import value_is_used
from donutwork_magics.shell.versions import versions

if TYPE_CHECKING:
    import pandas as pd

    from donutwork_magics.check_report import CheckReport
    from donutwork_magics.client.results import Connection, Ping
    from donutwork_magics.client.settings import Target
    from donutwork_magics.errors import Kind
    from donutwork_magics.sampling.plan import Segment
    from donutwork_magics.sampling.series import Series
    from donutwork_magics.watch import Watch

LAST: Final = "_donutwork"
"""The variable that holds the last result, also that of a series that failed."""

_MEASURE: Final = Plan(count=50)
"""What the button "measure 50" of a live card does."""


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
        results = _Results(self._store)
        with interrupts() as seen:
            try:
                value = self._run_line(line, results) if cell is None else self._run_cell(line, cell, results)
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
                raise Interrupted(results.kept)
        # Exactly UsageError, since IPython shows a subclass with its traceback; and outside of the except block, since
        # otherwise it would carry ours as its context.
        raise UsageError(problem)

    @classmethod
    def class_get_help(cls, inst: object = None, *_helptrait: object) -> str:
        """Say what ``%config DonutworkMagics`` may set, and what is set."""
        if inst is None:
            # IPython takes the names that Tab offers from its own text, and asks for it without an instance.
            return str(super().class_get_help())
        return config_text({option.name: getattr(inst, option.name, None) for option in CONFIGURABLE})

    def _defaults(self) -> dict[str, object]:
        return {option.name: getattr(self, option.name) for option in CONFIGURABLE}

    def _run_line(self, line: str, results: _Results) -> object:
        command = parse_line(line, defaults=self._defaults(), secrets=self.session.key_values())
        match command:
            case PingCommand(plan=None) | ConnectionCommand():
                value = self._single(command, results)
            case PingCommand(plan=Plan(label=label)):
                value = self._series([CellLine(label, command)], results)
            case CheckCommand():
                value = self._check(command, results)
            case LoadCommand():
                value = self._load(command, results)
            case WatchCommand():
                value = self._watch(command, results)
            case StopWatchesCommand():
                value = None
                self._stop_watches()
            case SandboxCommand():
                value = self.session.sandbox(command)
                if value.state == "running" and (watches := self.session.watches_of_the_api()):
                    goes_on = "A watch goes on" if watches == 1 else f"{watches} watches go on"
                    print(f"{goes_on} calling the API: %donutwork watch stop ends every watch.")
            case HelpCommand() | VersionCommand() | WatchStatusCommand() | TutorialCommand():
                print(self._told(command))
                value = None
            case _:
                value = self.session.overview(overview_rows())
        return None if (command.silenced or results.named) and not value_is_used() else value

    def _told(self, command: HelpCommand | VersionCommand | WatchStatusCommand | TutorialCommand) -> str:
        match command:
            case HelpCommand():
                return help_text(command.topic).rstrip("\n")
            case VersionCommand():
                return versions()
            case WatchStatusCommand():
                return self.session.watch_status()
            case TutorialCommand():
                from donutwork_magics.packaged import tutorial

                return tutorial(command.name).rstrip("\n")

    def _run_cell(self, header: str, body: str, results: _Results) -> object:
        with interruption().lifted():
            expanded = "\n".join(map(self._expand, body.splitlines()))
        cell = parse_cell(header, expanded, defaults=self._defaults(), secrets=self.session.key_values())
        if all(map(_is_series, cell.lines)):
            value = self._series(list(cell.lines), results, cell)
        elif len(cell.lines) == 1:
            value = self._single(cell.lines[0].command, results, cell.out)
        else:
            value = self._mixed(cell, results)
        return None if (cell.silenced or results.named) and not value_is_used() else value

    def _mixed(self, cell: Cell, results: _Results) -> object:
        """Carry out the lines of a cell one after the other, into a dict by label.

        Raises
        ------
        DonutworkError
            A line failed; it says where the values before it are.
        """
        for line in cell.lines:
            # Each line is looked at before the first request.
            if _is_series(line):
                _prepare()
                self._planned(line)
            else:
                self._target(line.command)
        values: dict[str, object] = {}

        def keep(line: CellLine, value: object) -> str:
            values[line.label] = value
            results.assign(line.command.call.out, value)
            return results.put(values, cell.out)

        for line in cell.lines:
            failure: DonutworkError | None = None
            try:
                if _is_series(line):
                    self._measure([line], partial(keep, line))
                else:
                    value = self._call(line.command, self._target(line.command))
                    keep(line, value)
                    display(value)
            except SeriesError:
                raise
            except DonutworkError as error:
                failure = error
            if failure is not None:
                ended = f"The cell ended early: {results.kept} {failure}"
                raise DonutworkError(ended, failure.kind) if values else failure
        return values

    def _single(
        self, command: PingCommand | ConnectionCommand, results: _Results, cell_out: str | None = None
    ) -> object:
        target = self._target(command)
        value = self._call(command, target)
        results.put(value, command.call.out, cell_out)
        if command.call.widget:
            self._show_widget(command, value, target)
            return value if value_is_used() else None
        if results.named:
            display(value)
        return value

    def _series(self, lines: list[CellLine], results: _Results, cell: Cell | None = None) -> object:
        cell_out = None if cell is None else cell.out
        own_out = lines[0].command.call.out if len(lines) == 1 else None

        def keep(df: pd.DataFrame) -> str:
            place = results.put(df, cell_out, own_out)
            if len(lines) > 1:
                for line in lines:
                    results.assign(line.command.call.out, df[df["label"] == line.label].reset_index(drop=True))
            return place

        return self._measure(lines, keep, cell=cell)

    def _load(self, command: LoadCommand, results: _Results) -> object:
        from donutwork_magics.display.run import RunCard
        from donutwork_magics.frame.table import load
        from donutwork_magics.packaged import load_example

        df = load(command.file) if command.file is not None else load_example(command.example or "")
        results.put(df, command.out)
        display(RunCard(df))
        return df

    def _call(self, command: PingCommand | ConnectionCommand, target: Target) -> Ping | Connection:
        """Make one call.

        Raises
        ------
        DonutworkError
            It failed.
        """
        from donutwork_magics.client.client import Client

        call = command.call
        with Client(target, http=call.http, family=call.family, timeout_s=call.timeout_s) as client:
            return client.ping() if isinstance(command, PingCommand) else client.connection()

    def _check(self, command: CheckCommand, results: _Results) -> CheckReport:
        """Check, and show the report.

        Raises
        ------
        DonutworkError
            A step failed, and it was to be strict; the report is shown, kept and assigned all the same.
        """
        from donutwork_magics.client.client import check_http
        from donutwork_magics.client.target import current_setup
        from donutwork_magics.preflight import preflight

        call = command.call
        setup = current_setup(call.env)
        check_http(call.http, sandbox=setup.sandbox)
        report = preflight(setup, http=call.http, family=call.family, timeout_s=call.timeout_s)
        results.put(report, call.out)
        strictly_failed = command.strict and not report.ok
        if call.out or strictly_failed:
            display(report)
        if strictly_failed:
            raise DonutworkError(*_first_failure(report))
        return report

    def _measure(
        self,
        lines: list[CellLine],
        keep: Callable[[pd.DataFrame], str],
        *,
        cell: Cell | None = None,
        like: Target | None = None,
    ) -> pd.DataFrame:
        """Carry out the series of some lines as one run, and show how it comes on.

        Parameters
        ----------
        keep
            Puts the DataFrame into the user's variables, and says where it is.
        cell
            What says how the lines take turns.
        like
            The target of an earlier call, and the only one that may be called; see `same_target`.

        Raises
        ------
        GrammarError
            The cell asks for more blocks than a line has pings.
        SeriesError, Interrupted
            The run ended early; its rows are kept all the same.
        """
        _prepare()
        from donutwork_magics.display.live import live_view
        from donutwork_magics.display.run import RunCard
        from donutwork_magics.display.setup import badges_of
        from donutwork_magics.measure import measure
        from donutwork_magics.sampling.plan import Course
        from donutwork_magics.sampling.rounds import drawn_seed

        planned = [self._planned(line, like) for line in lines]
        plans = tuple(series.plan for series in planned)
        seed = drawn_seed() if cell is None or cell.seed is None else cell.seed
        until = any(series.until is not None for series in planned)
        course = Course(plans, _segments(plans, None if cell is None else cell.blocks, seed, until=until))
        quiet = all(_is_quiet(line) for line in lines)
        with interrupts(), live_view(self.shell, quiet=quiet) as live:

            def keep_and_show(df: pd.DataFrame) -> str:
                place = keep(df)
                live.finish(RunCard(df))
                return place

            badges = tuple(dict.fromkeys(badge for series in planned for badge in badges_of(series.target)))
            return measure(
                planned,
                segments=course.segments,
                seed=seed if course.is_interleaved else None,
                keep=keep_and_show,
                begun=partial(live.begin, course, badges),
                observer=live.observe,
            )

    def _planned(self, line: CellLine, like: Target | None = None) -> Series:
        """Make the series of a line.

        Raises
        ------
        SettingsError
            A variable is missing or not usable, or the file cannot be a journal.
        GrammarError
            It would be impolite.
        """
        command = line.command
        assert isinstance(command, PingCommand)
        assert command.plan is not None
        return self._aimed(command, command.plan, like)

    def _aimed(self, command: PingCommand | WatchCommand, plan: Plan, like: Target | None = None) -> Series:
        from donutwork_magics.sampling.journal import check_journal, journal_path
        from donutwork_magics.sampling.series import Series

        target, call = self._target(command, like), command.call
        impolite = plan.impolite(loopback=target.is_loopback)
        if impolite:
            raise GrammarError(impolite)
        file = None if command.journal is None else journal_path(command.journal)
        if file is not None:
            check_journal(file)
        judged = (command.until, command.expect) if isinstance(command, PingCommand) else (None, ())
        return Series(plan, target, call.http, call.family, call.timeout_s, file, *judged)

    def _watch(self, command: WatchCommand, results: _Results) -> Watch:
        """Begin a watch, and show its panel where there is a kernel.

        Raises
        ------
        SettingsError, GrammarError
            As for a series; nothing was sent.
        """
        _prepare()
        from donutwork_magics.watch import Watch

        series = self._aimed(command, command.plan)
        execution = self._execution()
        stopped = self.session.stop_watches_of_earlier(execution) if execution is not None else 0
        if stopped:
            print(_stopped(stopped, "the watch", " this cell started earlier"))
        watch = Watch(series, keep=command.keep)
        self.session.add_watch(watch, execution)
        try:
            watch.start()
            self._show_watch(watch)
            if interruption().is_set():
                raise CallCancelledError
        except BaseException:
            watch.stop()
            raise
        results.put(watch, command.call.out)
        return watch

    def _stop_watches(self) -> None:
        """Stop every watch.

        Raises
        ------
        Interrupted
            An interrupt ended the waiting only.
        """
        try:
            with interruption().lifted():
                print(_stopped(self.session.stop_watches()))
        except KeyboardInterrupt:
            pass
        else:
            return
        raise Interrupted("every watch stops all the same, and keeps its rows.")

    def _execution(self) -> Execution | None:
        message = self.shell.get_parent() if hasattr(self.shell, "get_parent") else {}
        cell_id = message.get("metadata", {}).get("cellId")
        return Execution(cell_id, message["header"]["msg_id"]) if cell_id else None

    def _show_watch(self, watch: Watch) -> None:
        from donutwork_magics.display.live import takes_widgets

        if takes_widgets(self.shell):
            from donutwork_magics.display.watch_panel import WatchPanel

            panel = WatchPanel(watch, ("auto", "1.1") if watch.series.target.sandbox else ("auto", "1.1", "2"))
            watch.show_in(panel)
            panel.show()
        else:
            from donutwork_magics.display.watch_card import CardAtTheEnd

            watch.show_in(CardAtTheEnd(watch))

    def _target(self, command: PingCommand | ConnectionCommand | WatchCommand, like: Target | None = None) -> Target:
        from donutwork_magics.client.client import check_http
        from donutwork_magics.client.target import current_target, same_target

        target = current_target(command.call.env) if like is None else same_target(like)
        check_http(command.call.http, sandbox=target.sandbox)
        return target

    def _show_widget(self, command: PingCommand | ConnectionCommand, value: Ping | Connection, target: Target) -> None:
        from donutwork_magics.display.live import takes_widgets

        if not takes_widgets(self.shell):
            display(value)
            return
        from donutwork_magics.display.run import RunCard
        from donutwork_magics.display.widget import call_widget

        # The variable of the call keeps the call: a click is no assignment.
        measured = CellLine(_MEASURE.label, PingCommand(replace(command.call, out=None), _MEASURE, quiet=True))

        results = _Results(self._store)

        # A card belongs to the target that it was made on: its buttons call no other one.
        def again() -> Ping | Connection:
            value = self._call(command, self._target(command, target))
            results.put(value)
            return value

        def measure() -> RunCard:
            return RunCard(self._measure([measured], results.put, like=target))

        call_widget(value, again=again, measure=measure)

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


class _Results:
    """What a command has come to: in the user's variables at once, so that nothing that ends it later costs them.

    Parameters
    ----------
    store
        Sets a variable of the user's.
    """

    def __init__(self, store: Callable[[str, object], None]) -> None:
        self._store = store
        self._place = ""
        self.named = False
        """Whether the user has named a variable for the value of the command: then it is no Out."""

    def put(self, value: object, *names: str | None) -> str:
        """Keep the value of the command, also in variables that the user has named, and say where it is."""
        self.assign(LAST, value)
        for name in names:
            self.assign(name, value)
        named = [name for name in names if name is not None]
        self.named = bool(named)
        self._place = named[0] if named else f"{LAST}, and nothing was assigned" if value_is_used() else LAST
        return self._place

    def assign(self, name: str | None, value: object) -> None:
        """Set a variable that the user has named, if there is one."""
        if name is not None:
            self._store(name, value)

    @property
    def kept(self) -> str:
        """Where the value is, in words that may follow an interrupt."""
        if not self._place:
            return "the call was given up, and nothing is kept of it."
        return f"what was completed is kept in {self._place}."


def _prepare() -> None:
    # All imports come before the first ping: later they would delay it, or the answer to an interrupt.
    import donutwork_magics.display.live
    import donutwork_magics.display.run
    import donutwork_magics.frame.table
    import donutwork_magics.measure  # noqa: F401


def _first_failure(report: CheckReport) -> tuple[str, Kind | None]:
    step, *others = report.failed
    more = f" {len(others)} more in the report." if others else ""
    return f"The check failed at {step.name}: {step.detail}. {step.advice}{more}", step.kind


def _stopped(watches: int, one: str = "one watch", which: str = "") -> str:
    if not watches:
        return "No watch is running."
    return f"Stopped {one if watches == 1 else f'{watches} watches'}{which}."


def _segments(plans: Sequence[Plan], blocks: int | None, seed: int, *, until: bool) -> tuple[Segment, ...]:
    from donutwork_magics.sampling.rounds import interleaved

    problem = ""
    try:
        return interleaved(plans, blocks=blocks, seed=seed, until=until)
    except ValueError as error:
        problem = str(error)
    raise GrammarError(problem)


def _is_series(line: CellLine) -> bool:
    return isinstance(line.command, PingCommand) and line.command.plan is not None


def _is_quiet(line: CellLine) -> bool:
    return isinstance(line.command, PingCommand) and line.command.quiet


def _with_traits() -> type[_Donutwork]:
    # A trait takes whatever is typed, and the grammar looks at it at the next command: `%config` itself would only log
    # a bad value, and the cell would count as done.
    traits = {option.name: AnyTrait(None, help=option.help).tag(config=True) for option in CONFIGURABLE}
    _Donutwork.donutwork.__doc__ = docstring()
    return magics_class(type("DonutworkMagics", (_Donutwork,), {"__doc__": _Donutwork.__doc__, **traits}))


DonutworkMagics = _with_traits()
