"""Queue ``upkeep``: beat's entries, beside the tasks that they start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Celery, chain
from msgspec import to_builtins

from babylon_tasks.pipeline.discover import discover as look
from babylon_tasks.pipeline.reconcile import reconcile as mend
from babylon_tasks.settings import load_settings
from babylon_tasks.tasks.app import app
from babylon_tasks.tasks.base import BabylonTask
from babylon_tasks.tasks.scoring import score_window
from babylon_tasks.tasks.training import train_window


@app.task(base=BabylonTask, bind=True, name="babylon.discover.v1")  # type: ignore[untyped-decorator]
def discover(self: BabylonTask) -> Any:
    """Open and seal windows, then send what they need: their rows are committed by then."""
    found = look(self.settings, actor=self.actor)
    enqueue(found.to_score, found.to_train)
    return to_builtins(found)


@app.task(base=BabylonTask, bind=True, name="babylon.reconcile.v1")  # type: ignore[untyped-decorator]
def reconcile(self: BabylonTask) -> Any:
    """Set in motion again whatever has stood still."""
    found = mend(self.settings, actor=self.actor)
    enqueue(found.to_score, found.to_train)
    if found.unjudged:
        train_window.si(None).apply_async()
    return to_builtins(found)


def enqueue(to_score: Sequence[str], to_train: Sequence[str]) -> list[str]:
    """Send the messages for some windows; returns the task ids. Sending twice is harmless."""
    sent = [chain(score_window.si(window), train_window.si(window)) for window in to_score]
    sent += [train_window.si(window) for window in to_train]
    return [message.apply_async().id for message in sent]


@app.on_after_finalize.connect  # type: ignore[untyped-decorator]
def _schedule(sender: Celery, **_: Any) -> None:
    every = load_settings().upkeep_seconds
    # `expires`: when no worker takes them, the entries of an hour must not pile up.
    sender.add_periodic_task(every, discover.si(), name="discover", expires=2 * every)
    sender.add_periodic_task(every, reconcile.si(), name="reconcile", expires=2 * every)
