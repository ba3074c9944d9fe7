"""The one Task class: what each of our tasks is about, and how it may end."""

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

from babylon_tasks import log, metrics
from babylon_tasks.errors import BabylonTasksError, StaleLease
from babylon_tasks.settings import Settings, load_settings

PROGRESS_SECONDS = 1.0
PROGRESS_EVENT = "task-progress"  # how Flower learns of a running task: tasks/flower/task_record.py
SENT_AT = "babylon_sent_at"  # the header that tells when a message was sent
_REDIS_AWAY_SECONDS = 30.0
_ONE_RETRY = {"max_retries": 1, "interval_start": 0.1}
_SUMMARY = 500  # characters; a reason can be as long as a trace
_log = structlog.get_logger(__name__)


class BabylonTask(Task):  # type: ignore[misc]  # celery is untyped
    """Ends quietly on a stale lease; never retries by itself.

    What failed is tried again from its row in Postgres (``next_attempt_at``, expired leases),
    whether this message, this worker and this broker are still there or not.
    """

    _next_report = 0.0

    @property
    def settings(self) -> Settings:
        """The process's settings."""
        return load_settings()

    @property
    def actor(self) -> str:
        """Who acts, for the record of decisions."""
        return f"celery:{self.request.hostname}:{self.request.id}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; how it ended is logged and counted."""
        self._count_wait()
        begun, outcome = time.monotonic(), "failed"
        try:
            result = super().__call__(*args, **kwargs)
            outcome = "done"
            return result
        except StaleLease as error:
            outcome = "stale_lease"
            _log.warning("task.stale_lease", task=self.name, why=str(error))
            return self.told(f"gave way to a newer claimant: {error}")
        except BabylonTasksError as error:
            _log.error("task.failed", task=self.name, error=type(error).__name__, why=str(error))
            raise
        finally:
            metrics.TASK_DURATION.labels(self.name, outcome).observe(time.monotonic() - begun)

    def _count_wait(self) -> None:
        sent = getattr(self.request, SENT_AT, None)
        if sent is not None:  # clocks differ between machines
            metrics.TASK_WAIT.labels(self.name).observe(max(0.0, time.time() - sent))

    def begin(self) -> None:
        """A new task has started in this process: its first progress is told at once."""
        self._next_report = 0.0

    def told(
        self, summary: str, *, window: str | None = None, step: int | None = None
    ) -> dict[str, Any]:
        """What a task returns: in few words how it ended, and what it was about.

        Nobody waits for results; Celery logs this one and Flower shows it.
        """
        known = self._about()
        return known | {
            "window": window or known["window"],
            "step": known["step"] if step is None else step,
            "summary": self._fit(summary),
        }

    def report(self, summary: str, **progress: Any) -> None:
        """Tell Flower and Celery's PROGRESS state how far the task is, at most once a second.

        Postgres has it too: while Redis is away the work goes on, neither ended nor slowed down.
        """
        now = time.monotonic()
        if now < self._next_report:
            return
        self._next_report = now + PROGRESS_SECONDS
        told = self._about() | {"summary": self._fit(summary)}
        try:
            self.update_state(state="PROGRESS", meta=told | progress)
            self._tell_flower(told)
        except (RedisError, OperationalError) as error:
            self._next_report = now + _REDIS_AWAY_SECONDS
            _log.warning("progress.not_mirrored", why=str(error), again_in=_REDIS_AWAY_SECONDS)

    def _tell_flower(self, told: dict[str, Any]) -> None:
        self.send_event(PROGRESS_EVENT, retry=True, retry_policy=_ONE_RETRY, **told)

    def on_failure(self, exc: BaseException, *failed: Any) -> None:
        """Blank out secrets before error and traceback leave the process for Redis and Flower."""
        einfo: ExceptionInfo = failed[-1]
        text = log.Mask(self.settings).text
        einfo.traceback = text(einfo.traceback)
        exc.args = tuple(text(part) if isinstance(part, str) else part for part in exc.args)
        if self.request.is_eager:
            return
        try:  # Celery's own event of a failure does not know the lineage and step
            self._tell_flower(self._about())
        except (RedisError, OperationalError) as error:
            _log.warning("failure.not_mirrored", why=str(error))

    def _about(self) -> dict[str, Any]:
        known = get_contextvars()
        return {name: known.get(name) for name in ("window", "lineage", "step")}

    def _fit(self, summary: str) -> str:
        whole = log.Mask(self.settings).text(summary)
        return whole if len(whole) <= _SUMMARY else f"{whole[: _SUMMARY - 1]}…"


# By signals: Celery's own line of how a task ended is about it too, and comes after the call.
@task_prerun.connect  # type: ignore[untyped-decorator]
def _begin(task_id: str, task: Task, args: Any, kwargs: Any, **_: Any) -> None:
    clear_contextvars()  # of a task that was cut short
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
