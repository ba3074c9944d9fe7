"""Beat's first turn; whole processes are in acceptance."""

from __future__ import annotations

from datetime import timedelta

import pytest
from celery import Celery
from celery.beat import SchedulingError
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


def test_a_stop_that_was_taken_for_a_refusal_ends_beat_with_the_same_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Celery("test", broker="memory://", set_as_current=False)
    app.conf.beat_schedule = {
        "discover": {"task": "discover", "schedule": schedule(timedelta(seconds=60), app=app)}
    }
    scheduler = BeatScheduler(app=app)

    def stopped(*_: object, **__: object) -> None:
        try:
            scheduler.close()
            raise SystemExit
        except SystemExit as stop:
            raise SchedulingError("refused") from stop

    monkeypatch.setattr(scheduler, "apply_async", stopped)

    with pytest.raises(SystemExit):
        scheduler.tick()
