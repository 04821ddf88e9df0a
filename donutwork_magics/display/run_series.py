"""The rows of one label, and what is known about them: what the card of a run, and its notes, are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from donutwork_magics.analysis.summary import summary

_ADDED: Final = {"count", "duration_s"}
"""What the parts of a watch, or the runs of a journal, have together; the rest is told where all have the same."""


@dataclass(frozen=True, slots=True)
class RunSeries:
    """The rows of one label, or of a run that has only one, and what is known about them."""

    df: pd.DataFrame
    figures: Mapping[str, Any]
    """One row of the summary."""
    plan: Mapping[str, Any]
    """Empty where the frame does not tell."""
    client: Mapping[str, Any]
    """What the series cost the client; empty where the frame does not tell."""
    attrs: Mapping[str, Any]
    """Of the whole run; empty where the frame does not tell."""


def series_of(df: pd.DataFrame, attrs: Mapping[str, Any]) -> RunSeries:
    """Take a table whose rows have one label, and find what its attributes tell of it."""
    label = df["label"].iloc[0] if len(df) else None
    plans = attrs.get("plan") or [{}]
    own = [place for place, plan in enumerate(plans) if plan.get("label") == label] or [0] * (len(plans) == 1)
    clients = [client for place, client in enumerate(attrs.get("client") or []) if place in own]
    plan = _common([plans[place] for place in own])
    return RunSeries(df, figures_of(df), plan, clients[-1] if clients else {}, attrs)


def _common(plans: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what the parts of a watch, or the runs of a journal, have in common."""
    if len(plans) < 2:
        return plans[0] if plans else {}
    first, *others = plans
    alike = {name: value for name, value in first.items() if all(plan.get(name) == value for plan in others)}
    for name in _ADDED & first.keys():
        values = [plan.get(name) for plan in plans]
        alike[name] = None if None in values else sum(filter(None, values))
    return alike


def figures_of(df: pd.DataFrame) -> dict[str, Any]:
    """Summarise rows, whatever their labels are."""
    return {str(name): value for name, value in summary(df).iloc[0].items()}


def label_of(df: pd.DataFrame, attrs: Mapping[str, Any], label: Any) -> RunSeries:
    """Take the rows of one label, or those without one, out of a table of several."""
    return series_of(df[df["label"].isna() if pd.isna(label) else df["label"] == label], attrs)
