"""What a checkpoint must show before it serves, and what keeps it from that: for `doctor`."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.cli.findings import Finding, finding
from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.db import pauses
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.begin_comparison import comparison_outlook
from babylon_tasks.pipeline.comparison_figures import comparison_figures
from babylon_tasks.pipeline.promotion_outlook import promotion_outlook
from babylon_tasks.registry import budget
from babylon_tasks.registry.budget import BudgetState
from babylon_tasks.settings import Settings


def promotion(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Check that something can be promoted and compared, and that nothing keeps training back."""
    outlook = promotion_outlook(connection, settings)
    yield finding(
        "promotion", outlook.lacks is None, outlook.text, outlook.todo or "", otherwise="warn"
    )
    yield _comparison(connection, settings)
    paused = pauses.in_force(connection, settings.lineage)
    if paused is not None:
        todo = (
            "`babylon-tasks why` and `compare status` show the windows; find the cause, then "
            "`babylon-tasks compare resume --reason TEXT`"
        )
        yield Finding("pause", "fail", paused.text, todo)
    state = budget.read(connection, settings)
    if state is not None:
        yield _budget(state)


def _budget(state: BudgetState) -> Finding:
    if state.until is not None:
        todo = "`babylon-tasks cost --since 1d` shows for what; it goes on by itself, or raise it"
        return Finding("budget", "warn", state.text, todo)
    if state.not_counted is not None:
        todo = "set the prices that are missing, or bear in mind that more is spent (docs/cost.md)"
        return Finding("budget", "warn", f"{state.text}; not counted: {state.not_counted}", todo)
    return Finding("budget", "ok", state.text)


def _comparison(connection: Connection, settings: Settings) -> Finding:
    outlook = comparison_outlook(connection, settings)
    if outlook.lacks is not None:
        return Finding("comparison", "warn", outlook.lacks.text, outlook.lacks.todo)
    figures = comparison_figures(connection, settings.lineage)
    if figures is not None and figures.refused is not None:
        todo = "run that version, or begin another comparison: docs/operations.md"
        return Finding("comparison", "warn", figures.refused, todo)
    if figures is not None and figures.conclusion == Conclusion.PAUSE_COMPARISON:
        detail = f"{figures.last_window} is no evidence: {figures.reason}"
        todo = "`babylon-tasks compare status` counts such windows; docs/promotion.md#a-window"
        return Finding("comparison", "warn", detail, todo)
    return Finding("comparison", "ok", outlook.text)
