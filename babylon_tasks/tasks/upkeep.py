"""Queue ``upkeep``: beat's schedule, with the tasks that it starts."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from celery import Celery
from celery.schedules import schedule

from babylon_tasks import task_names
from babylon_tasks.pipeline.discover import discover as look
from babylon_tasks.pipeline.prune_checkpoints import with_old_checkpoints
from babylon_tasks.pipeline.prune_rows import prune_rows
from babylon_tasks.pipeline.reconcile import reconcile as repair
from babylon_tasks.settings import load_settings
from babylon_tasks.tasks.app import app
from babylon_tasks.tasks.base import BabylonTask
from babylon_tasks.tasks.flower import summaries
from babylon_tasks.tasks.send import send_again, send_train, send_windows

_PRUNE_SECONDS = 600


@app.task(base=BabylonTask, bind=True, name=task_names.DISCOVER)  # type: ignore[untyped-decorator]
def discover(self: BabylonTask) -> Any:
    """Open and seal windows, then send messages for them: their rows are committed by then."""
    discovered = look(self.settings, actor=self.actor)
    send_windows(discovered.to_score, discovered.to_train, discovered.others)
    if discovered.more:
        send_again(task_names.DISCOVER)
    return self.task_result(summaries.discovery(discovered))


@app.task(base=BabylonTask, bind=True, name=task_names.RECONCILE)  # type: ignore[untyped-decorator]
def reconcile(self: BabylonTask) -> Any:
    """Restart whatever has stopped."""
    reconciled = repair(self.settings, actor=self.actor)
    send_windows(reconciled.to_score, reconciled.to_train, reconciled.others)
    if reconciled.unevaluated:
        send_train(None)
    if reconciled.more:
        send_again(task_names.RECONCILE)
    return self.task_result(summaries.reconciliation(reconciled))


@app.task(base=BabylonTask, bind=True, name=task_names.PRUNE)  # type: ignore[untyped-decorator]
def prune(self: BabylonTask) -> Any:
    """Delete old rows; old checkpoints are deleted where they are, by each lineage's worker."""
    rows = prune_rows(self.settings, actor=self.actor)
    lineages = with_old_checkpoints(self.settings)
    for lineage in lineages:
        # At the end of its task the worker prunes, whether or not it trains.
        send_train(None, lineage=lineage)
    return self.task_result(summaries.pruning(rows, lineages))


@app.on_after_finalize.connect  # type: ignore[untyped-decorator]
def _schedule(sender: Celery, **_: Any) -> None:
    # No `expires`, which two machines' clocks would decide: KEPT_MESSAGES bounds what piles up.
    every = schedule(load_settings().upkeep_interval_seconds, nowfun=_steady_now, app=sender)
    sender.add_periodic_task(every, discover.si(), name="discover")
    sender.add_periodic_task(every, reconcile.si(), name="reconcile")
    seldom = schedule(
        max(load_settings().upkeep_interval_seconds, _PRUNE_SECONDS), nowfun=_steady_now, app=sender
    )
    sender.add_periodic_task(seldom, prune.si(), name="prune")


def _steady_now() -> datetime:
    # Beat's wall clock may be set back: with it, nothing would be due for as long.
    return datetime.fromtimestamp(time.monotonic(), UTC)
