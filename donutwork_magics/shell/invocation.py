"""One command or one cell, carried out: its value, its display, and what it leaves in the user's variables."""

from __future__ import annotations

import dis
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from types import FrameType
from typing import TYPE_CHECKING, Final

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from donutwork_magics._version import __version__
from donutwork_magics.errors import DonutworkError, Interrupted, SeriesError
from donutwork_magics.grammar.commands import (
    Cell,
    CellLine,
    CheckCommand,
    Command,
    ConnectionCommand,
    HelpCommand,
    LoadCommand,
    PingCommand,
    SandboxCommand,
    TutorialCommand,
    VersionCommand,
    WatchCommand,
    WatchesCommand,
)
from donutwork_magics.grammar.help import help_text, overview_rows
from donutwork_magics.grammar.parser import GrammarError
from donutwork_magics.interrupts import interruption, interrupts, uninterrupted
from donutwork_magics.network.exchange import CallCancelledError
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.session import Execution, Session

if TYPE_CHECKING:
    import pandas as pd

    from donutwork_magics.client.results import Connection, Ping
    from donutwork_magics.client.settings import Target
    from donutwork_magics.displayed import CheckReport, SandboxStatus
    from donutwork_magics.sampling.series import Series
    from donutwork_magics.watch import Watch

LAST: Final = "_donutwork"
"""The variable that holds the last result, also that of a series that failed."""

_MEASURE: Final = Plan(count=50)
"""What the button "measure 50" of a live card does."""

_PACKAGES: Final = ("ipython", "ipykernel", "ipywidgets", "pandas", "httpx", "httptools", "h2")
_MAGIC_CALLS: Final = frozenset({"run_line_magic", "run_cell_magic"})
_DROPPED: Final = frozenset({"POP_TOP", "PRINT_EXPR", "CALL_INTRINSIC_1"})


class Invocation:
    """A command or a cell of one shell; whatever ends it, its values are in the user's variables by then.

    Parameters
    ----------
    store
        Sets a variable of the user's.
    """

    def __init__(self, shell: InteractiveShell, session: Session, store: Callable[[str, object], None]) -> None:
        self._shell = shell
        self._session = session
        self._store = store
        self._place = ""
        self._named = False
        """Whether the user has named a variable for the value: then it is no Out."""

    @property
    def kept(self) -> str:
        """Where the value is, in words that may follow an interrupt."""
        if not self._place:
            return "the call was given up, and nothing is kept of it."
        return f"what was completed is kept in {self._place}."

    def line(self, command: Command) -> object:
        """Carry out a command; return what is to be its Out.

        Raises
        ------
        DonutworkError
            It failed; a series keeps its rows all the same.
        GrammarError
            It would be impolite.
        """
        value: object = None
        match command:
            case PingCommand(plan=Plan(label=label)):
                value = self._series([CellLine(label, command)])
            case PingCommand() | ConnectionCommand():
                value = self._single(command)
            case CheckCommand():
                value = self._check(command)
            case LoadCommand():
                value = self._load(command)
            case WatchCommand():
                value = self._watch(command)
            case WatchesCommand(action="stop"):
                self._stop_watches()
            case WatchesCommand():
                print(self._session.watch_status())
            case SandboxCommand():
                value = self._sandbox(command)
            case HelpCommand():
                print(help_text(command.topic), end="")
            case VersionCommand():
                print(versions())
            case TutorialCommand():
                from donutwork_magics.packaged import tutorial

                print(tutorial(command.name), end="")
            case _:
                value = self._session.overview(overview_rows())
        return self._shown(value, silenced=command.silenced)

    def cell(self, cell: Cell) -> object:
        """Carry out a cell; as `line`."""
        if all(map(_is_series, cell.lines)):
            value: object = self._series(list(cell.lines), cell)
        elif len(cell.lines) == 1:
            value = self._single(cell.lines[0].command, cell.out)
        else:
            value = self._mixed(cell)
        return self._shown(value, silenced=cell.silenced)

    def _shown(self, value: object, *, silenced: bool) -> object:
        return None if (silenced or self._named) and not value_is_used() else value

    def _put(self, value: object, *names: str | None) -> str:
        """Keep the value of the command, also in variables that the user has named, and say where it is."""
        self._assign(LAST, value)
        for name in names:
            self._assign(name, value)
        named = [name for name in names if name is not None]
        self._named = bool(named)
        self._place = named[0] if named else f"{LAST}, and nothing was assigned" if value_is_used() else LAST
        return self._place

    def _assign(self, name: str | None, value: object) -> None:
        if name is not None:
            self._store(name, value)

    def _mixed(self, cell: Cell) -> object:
        """Carry out the lines of a cell one after the other, into a dict by label."""
        for line in cell.lines:
            # Each line is looked at before the first request.
            if _is_series(line):
                self._planned(line)
            else:
                _target(line.command)
        if any(map(_is_series, cell.lines)):
            _prepare()
        values: dict[str, object] = {}

        def keep(line: CellLine, value: object) -> str:
            values[line.label] = value
            self._assign(line.command.call.out, value)
            return self._put(values, cell.out)

        for line in cell.lines:
            failure: DonutworkError | None = None
            try:
                if _is_series(line):
                    self._measure([line], partial(keep, line))
                else:
                    value = _call(line.command, _target(line.command))
                    keep(line, value)
                    display(value)
            except SeriesError:
                raise
            except DonutworkError as error:
                failure = error
            if failure is not None:
                ended = f"The cell ended early: {self.kept} {failure}"
                raise DonutworkError(ended, failure.kind) if values else failure
        return values

    def _single(self, command: PingCommand | ConnectionCommand, cell_out: str | None = None) -> object:
        target = _target(command)
        value = _call(command, target)
        self._put(value, command.call.out, cell_out)
        if command.call.widget:
            self._show_widget(command, value, target)
            return value if value_is_used() else None
        if self._named:
            display(value)
        return value

    def _series(self, lines: list[CellLine], cell: Cell | None = None) -> object:
        cell_out = None if cell is None else cell.out
        own_out = lines[0].command.call.out if len(lines) == 1 else None

        def keep(df: pd.DataFrame) -> str:
            place = self._put(df, cell_out, own_out)
            if len(lines) > 1:
                for line in lines:
                    self._assign(line.command.call.out, df[df["label"] == line.label].reset_index(drop=True))
            return place

        return self._measure(lines, keep, cell=cell)

    def _load(self, command: LoadCommand) -> object:
        from donutwork_magics.display.run import RunCard
        from donutwork_magics.frame.table import load
        from donutwork_magics.packaged import load_example

        df = load(command.file) if command.file is not None else load_example(command.example or "")
        self._put(df, command.out)
        display(RunCard(df))
        return df

    def _check(self, command: CheckCommand) -> CheckReport:
        """Check, and show the report; a failed step is an error where it was to be strict."""
        from donutwork_magics.client.client import check_http
        from donutwork_magics.client.target import current_setup
        from donutwork_magics.preflight import preflight

        call = command.call
        setup = current_setup(call.env)
        check_http(call.http, sandbox=setup.sandbox)
        report = preflight(setup, http=call.http, family=call.family, timeout_s=call.timeout_s)
        self._put(report, call.out)
        strictly_failed = command.strict and not report.ok
        if call.out or strictly_failed:
            display(report)
        if strictly_failed:
            step, *others = report.failed
            more = f" {len(others)} more in the report." if others else ""
            raise DonutworkError(f"The check failed at {step.name}: {step.detail}. {step.advice}{more}", step.kind)
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
        """
        planned = [self._planned(line, like) for line in lines]
        _prepare()
        from donutwork_magics.display.cards import badges_of
        from donutwork_magics.display.live import live_view
        from donutwork_magics.display.run import RunCard
        from donutwork_magics.measure import measure
        from donutwork_magics.sampling.plan import Course, drawn_seed, interleaved

        plans = tuple(series.plan for series in planned)
        blocks, seed = (None, None) if cell is None else (cell.blocks, cell.seed)
        seed = drawn_seed() if seed is None else seed
        until = any(series.until is not None for series in planned)
        course = Course(plans, interleaved(plans, blocks=blocks, seed=seed, until=until))
        quiet = all(isinstance(line.command, PingCommand) and line.command.quiet for line in lines)
        with interrupts(), live_view(self._shell, quiet=quiet) as live:

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
        command = line.command
        assert isinstance(command, PingCommand)
        assert command.plan is not None
        return replace(_aimed(command, command.plan, like), until=command.until, expect=command.expect)

    def _sandbox(self, command: SandboxCommand) -> SandboxStatus:
        status = self._session.sandbox(command)
        if status.state == "running":
            for line in self._session.goes_on_elsewhere(status.url or ""):
                print(line)
        return status

    def _watch(self, command: WatchCommand) -> Watch:
        """Begin a watch, and show its panel where there is a kernel."""
        series = _aimed(command, command.plan)
        _prepare()
        from donutwork_magics.watch import Watch

        execution = self._execution()
        stopped = self._session.stop_watches(earlier_than=execution) if execution is not None else 0
        if stopped:
            print(_stopped(stopped, "the watch", " this cell started earlier"))
        watch = Watch(series, keep=command.keep)
        if execution is not None:
            self._session.note(watch, execution)
        try:
            watch.start()
            self._show_watch(watch)
            if interruption().is_set():
                raise CallCancelledError
        except BaseException:
            watch.stop()
            raise
        self._put(watch, command.call.out)
        return watch

    def _stop_watches(self) -> None:
        try:
            with interruption().lifted():
                print(_stopped(self._session.stop_watches()))
        except KeyboardInterrupt:
            pass
        else:
            return
        raise Interrupted("every watch stops all the same, and keeps its rows.")

    def _execution(self) -> Execution | None:
        message = self._shell.get_parent() if hasattr(self._shell, "get_parent") else {}
        cell_id = message.get("metadata", {}).get("cellId")
        return Execution(cell_id, message["header"]["msg_id"]) if cell_id else None

    def _show_watch(self, watch: Watch) -> None:
        from donutwork_magics.display.live import takes_widgets

        if takes_widgets(self._shell):
            from donutwork_magics.client.client import spoken
            from donutwork_magics.display.widgets import WatchPanel

            panel = WatchPanel(watch, spoken(sandbox=watch.series.target.sandbox))
            watch.show_in(panel)
            panel.show()
        else:
            from donutwork_magics.display.watch_card import CardAtTheEnd

            watch.show_in(CardAtTheEnd(watch))

    def _show_widget(self, command: PingCommand | ConnectionCommand, value: Ping | Connection, target: Target) -> None:
        from donutwork_magics.display.live import takes_widgets

        if not takes_widgets(self._shell):
            display(value)
            return
        from donutwork_magics.display.run import RunCard
        from donutwork_magics.display.widgets import CallWidget

        # The variable of the call keeps the call: a click is no assignment.
        measured = CellLine(_MEASURE.label, PingCommand(replace(command.call, out=None), _MEASURE, quiet=True))
        clicks = Invocation(self._shell, self._session, self._store)

        # A card belongs to the target that it was made on: its buttons call no other one.
        def again() -> Ping | Connection:
            value = _call(command, _target(command, target))
            clicks._put(value)
            return value

        def measure() -> RunCard:
            return RunCard(clicks._measure([measured], clicks._put, like=target))

        CallWidget(value, again=again, measure=measure).show()


def _prepare() -> None:
    from donutwork_magics import probers

    # A new one starts while pandas is imported here.
    probers.release(probers.acquire())
    # All imports come before the first ping: later they would delay it, or the answer to an interrupt.
    import donutwork_magics.display.live
    import donutwork_magics.display.run
    import donutwork_magics.frame.table
    import donutwork_magics.measure  # noqa: F401


def _is_series(line: CellLine) -> bool:
    return isinstance(line.command, PingCommand) and line.command.plan is not None


def _target(command: PingCommand | ConnectionCommand | WatchCommand, like: Target | None = None) -> Target:
    from donutwork_magics.client.client import check_http
    from donutwork_magics.client.target import current_target, same_target

    target = current_target(command.call.env) if like is None else same_target(like)
    check_http(command.call.http, sandbox=target.sandbox)
    return target


def _call(command: PingCommand | ConnectionCommand, target: Target) -> Ping | Connection:
    from donutwork_magics.client.client import Client

    call = command.call
    with Client(target, http=call.http, family=call.family, timeout_s=call.timeout_s) as client:
        return client.ping() if isinstance(command, PingCommand) else client.connection()


def _aimed(command: PingCommand | WatchCommand, plan: Plan, like: Target | None = None) -> Series:
    """Make the series of a command; whatever stands in its way is found before the first request."""
    from donutwork_magics.sampling.journal import check_journal, journal_path
    from donutwork_magics.sampling.series import Series

    target, call = _target(command, like), command.call
    impolite = plan.impolite(loopback=target.is_loopback)
    if impolite:
        raise GrammarError(impolite)
    file = None if command.journal is None else journal_path(command.journal)
    if file is not None:
        check_journal(file)
    return Series(plan, target, call.http, call.family, call.timeout_s, file)


def _stopped(watches: int, one: str = "one watch", which: str = "") -> str:
    if not watches:
        return "No watch is running."
    return f"Stopped {one if watches == 1 else f'{watches} watches'}{which}."


@uninterrupted
def versions() -> str:
    """Give the versions of this extension and of what it runs on, as one line."""
    named = [f"donutwork_magics {__version__}", f"{platform.python_implementation()} {platform.python_version()}"]
    for package in _PACKAGES:
        # Looked up, not imported: pandas alone takes a third of a second.
        with suppress(PackageNotFoundError):
            named.append(f"{package} {version(package)}")
    return ", ".join([*named, platform.platform()])


def value_is_used() -> bool:
    """Tell whether the statement that called the running magic does something with its value.

    IPython gives ``%donutwork ping;`` and ``x = %donutwork ping;`` to the magic alike, and shows what it returns. They
    differ in the instruction that follows the call: one prints or drops the value, the other stores it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name not in _MAGIC_CALLS:
        frame = frame.f_back
    if frame is None or frame.f_back is None:
        return True
    caller = frame.f_back
    following = (step for step in dis.get_instructions(caller.f_code) if step.offset > caller.f_lasti)
    step = next(following, None)
    return step is None or step.opname not in _DROPPED
