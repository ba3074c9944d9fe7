"""That there is nothing to train, and why: before a lease is claimed, or once it was planned."""

from __future__ import annotations

from collections.abc import Mapping

from babylon_tasks.actions import TrainAction
from babylon_tasks.db import due_windows, steps, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.registry import refusals
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState

_IDLE = "no scored window is due"


def nothing_planned(skipped: Mapping[str, str]) -> TrainOutcome:
    """Return the outcome of planning that made no step; ``skipped`` maps windows to why."""
    if not skipped:
        return TrainOutcome(TrainAction.IDLE, reason=_IDLE)
    reason = "; ".join(f"{window}: {why}" for window, why in skipped.items())
    return TrainOutcome(TrainAction.SKIPPED, list(skipped), reason=reason, skipped=dict(skipped))


def known_without_lease(
    connection: Connection, settings: Settings, window: str | None
) -> TrainOutcome | None:
    """Return the outcome if it is known without a lease."""
    unfinished = steps.unfinished(connection, settings.lineage) is not None
    waits = None if unfinished else refusals.why_waits(connection, settings)
    if window is None:
        if unfinished:
            return None
        if waits is None and due_windows.scored(connection, 1, lineage=settings.lineage):
            return None
        return TrainOutcome(TrainAction.IDLE, reason=waits or _IDLE)
    row = windows.get(connection, window, lineage=settings.lineage)
    if row.state == WindowState.TRAINING:
        return None
    step = steps.of_window(connection, settings.lineage, window)
    if row.state != WindowState.SCORED:
        reason = f"window {window} is {row.state}" + (f": {row.reason}" if row.reason else "")
        return TrainOutcome(TrainAction.SKIPPED, [window], step, reason)
    if not row.due:
        return TrainOutcome(TrainAction.BUSY, [window], step, f"window {window} {row.why_idle}")
    if waits is not None:
        return TrainOutcome(TrainAction.BUSY, [window], step, waits)
    return None
