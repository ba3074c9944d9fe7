"""The one Task class: logging, metrics, progress and results of every task."""

from __future__ import annotations

import time
from typing import Any

import structlog
from billiard.einfo import ExceptionInfo
from celery import Task
from celery.signals import task_postrun, task_prerun
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from babylon_tasks import metrics
from babylon_tasks.errors import BabylonTasksError, StaleLease
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.settings import Settings, load_settings
from babylon_tasks.tasks.app import SENT_AT
from babylon_tasks.tasks.health.pool_children import pool_children

PROGRESS_SECONDS = 1.0
PROGRESS_EVENT = (
    "task-progress"  # carries a running task's progress to Flower: tasks/flower/task_record.py
)
_REDIS_AWAY_SECONDS = 30.0
_ONE_RETRY = {"max_retries": 1, "interval_start": 0.1}
_SUMMARY = 500  # characters; a reason can be as long as a traceback
log = structlog.get_logger(__name__)


class BabylonTask(Task):  # type: ignore[misc]  # celery is untyped
    """A task that ends quietly on a stale lease and never retries by itself.

    Failed work is tried again from its row in Postgres (``next_attempt_at``, expired leases), even
    if this message, this worker and this broker are gone.
    """

    _next_report = 0.0

    @property
    def settings(self) -> Settings:
        """The process's settings."""
        return load_settings()

    @property
    def actor(self) -> str:
        """The actor's name for the record of decisions."""
        return f"celery:{self.request.hostname}:{self.request.id}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; log and count how it ended."""
        self._count_wait()
        began, outcome = time.monotonic(), "failed"
        try:
            result = super().__call__(*args, **kwargs)
            outcome = "done"
            return result
        except StaleLease as error:
            outcome = "stale_lease"
            log.warning("task.superseded", task=self.name, why=str(error))
            return self.task_result(f"superseded by a newer claimant: {error}")
        except BabylonTasksError as error:
            log.error("task.failed", task=self.name, error=type(error).__name__, why=str(error))
            raise
        finally:
            metrics.TASK_DURATION.labels(self.name, outcome).observe(time.monotonic() - began)

    def _count_wait(self) -> None:
        sent = getattr(self.request, SENT_AT, None)
        if sent is not None:  # clocks differ between machines
            metrics.TASK_WAIT.labels(self.name).observe(max(0.0, time.time() - sent))

    def begin(self) -> None:
        """Reset the progress interval: a new task's first progress is reported at once."""
        self._next_report = 0.0

    def task_result(
        self, summary: str, *, window: str | None = None, step: int | None = None
    ) -> dict[str, Any]:
        """Build the task's return value: a summary of how it ended, and what it was about.

        It is for people: Celery logs it and Flower shows it; no code waits for it.
        """
        known = self._about()
        return known | {
            "window": window or known["window"],
            "step": known["step"] if step is None else step,
            "summary": self._fit(summary),
        }

    def report_progress(self, summary: str, **progress: Any) -> None:
        """Send Flower and Celery's PROGRESS state the progress, at most once a second.

        Postgres has it too: while Redis is down the work goes on at full speed.
        """
        pool_children.progress()
        now = time.monotonic()
        if now < self._next_report:
            return
        self._next_report = now + PROGRESS_SECONDS
        event = self._about() | {"summary": self._fit(summary)}
        try:
            self.update_state(state="PROGRESS", meta=event | progress)
            self._send_to_flower(event)
        except (RedisError, OperationalError) as error:
            self._next_report = now + _REDIS_AWAY_SECONDS
            log.warning("progress.not_reported", why=str(error), next_try_in=_REDIS_AWAY_SECONDS)

    def _send_to_flower(self, event: dict[str, Any]) -> None:
        self.send_event(PROGRESS_EVENT, retry=True, retry_policy=_ONE_RETRY, **event)

    def on_failure(self, exc: BaseException, *failed: Any) -> None:
        """Blank out secrets before error and traceback leave the process for Redis and Flower."""
        einfo: ExceptionInfo = failed[-1]
        text = Mask(self.settings).text
        einfo.traceback = text(einfo.traceback)
        exc.args = tuple(text(part) if isinstance(part, str) else part for part in exc.args)
        if self.request.is_eager:
            return
        try:  # Celery's own failure event lacks the lineage and step
            self._send_to_flower(self._about())
        except (RedisError, OperationalError) as error:
            log.warning("failure.not_reported", why=str(error))

    def _about(self) -> dict[str, Any]:
        known = get_contextvars()
        return {name: known.get(name) for name in ("window", "lineage", "step")}

    def _fit(self, summary: str) -> str:
        whole = Mask(self.settings).text(summary)
        return whole if len(whole) <= _SUMMARY else f"{whole[: _SUMMARY - 1]}…"


# In signals, since Celery logs its own line about the task's end after the call.
@task_prerun.connect  # type: ignore[untyped-decorator]
def _begin(task_id: str, task: Task, args: Any, kwargs: Any, **_: Any) -> None:
    clear_contextvars()  # left by an interrupted task
    if isinstance(task, BabylonTask):
        task.begin()
        given = (*args, kwargs.get("window"))
        window = next((argument for argument in given if isinstance(argument, str)), None)
        bind_contextvars(task_id=task_id, lineage=task.settings.lineage)
        if window is not None:
            bind_contextvars(window=window)


@task_postrun.connect  # type: ignore[untyped-decorator]
def _end(**_: Any) -> None:
    clear_contextvars()
