"""The card of a check: one row a step."""

from __future__ import annotations

from typing import Final

from donutwork_magics.check_report import CheckReport, Step, StepState
from donutwork_magics.display.card import Card, Row, Steps, Tone
from donutwork_magics.units import format_ms, plural

_STATES: Final[dict[StepState, tuple[Tone, str]]] = {
    "ok": ("ok", "ok"),
    "warn": ("warn", "warning"),
    "bad": ("bad", "failed"),
    "skipped": ("off", "skipped"),
}


def check_card(report: CheckReport) -> Card:
    """Make the card of a check."""
    tone, state = _verdict(report)
    caption = f"Step by step: {report.host}" if report.host else "Step by step"
    return Card(
        title="Check",
        tone=tone,
        state=state,
        badges=tuple(filter(None, ("sandbox" if report.sandbox else None, report.env))),
        sections=(Steps(caption, tuple(map(_row, report.steps))),),
    )


def _verdict(report: CheckReport) -> tuple[Tone, str]:
    if not report.ok:
        failed = ", ".join(step.name for step in report.failed)
        return "bad", f"failed at {failed}"
    reservations = [
        *([f"with {plural(len(report.warnings), 'warning')}"] if report.warnings else []),
        *([f"{plural(len(report.untried), 'step')} not tried"] if report.untried else []),
    ]
    return "warn" if reservations else "ok", ", ".join(["ready", *reservations])


def _row(step: Step) -> Row:
    tone, state = _STATES[step.state]
    time = "" if step.duration_ms is None else format_ms(step.duration_ms)
    return Row(tone, state, step.name, time, step.detail, step.advice)
