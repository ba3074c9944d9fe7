"""Beat's first turn; whole processes are in acceptance."""

from __future__ import annotations

from datetime import timedelta

from celery import Celery
from celery.schedules import schedule

from babylon_tasks.tasks.health.bootsteps import BeatScheduler


def test_everything_is_due_when_beat_starts_and_then_once_in_its_period() -> None:
    app = Celery("test", set_as_current=False)
    app.conf.beat_schedule = {
        name: {"task": name, "schedule": schedule(timedelta(seconds=seconds), app=app)}
        for name, seconds in (("discover", 60), ("prune", 600))
    }
    scheduler = BeatScheduler(app=app, lazy=True)

    scheduler.setup_schedule()

    entries = [scheduler.schedule[name] for name in ("discover", "prune")]
    assert [entry.is_due().is_due for entry in entries] == [True, True]
    assert [next(entry).is_due().is_due for entry in entries] == [False, False]
