"""End a stopping worker within a bounded time; an interrupted task releases its claim.

SIGTERM alone makes Celery wait for the running task, however long that takes, until the
orchestrator's SIGKILL; then the lease must expire and the step counts as interrupted. Here the
task has ``shutdown_seconds`` to finish; then its process gets SIGTERM, raised in it as
SystemExit: the pipeline records the interruption and releases its claim.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import structlog
from billiard import active_children, pool
from celery.signals import worker_process_init, worker_shutting_down

from babylon_tasks.settings import load_settings

log = structlog.get_logger(__name__)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _make_interruptible(**_: Any) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    # An ending child waits until its parent has read its last result: 300 times 0.1 s, and a
    # parent that shuts down reads no more (seen in 2 of 30 stops). Our results are ignored.
    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _bound(how: str, **_: Any) -> None:
    if how == "Warm":  # Cold (SIGQUIT) does not wait for tasks
        timer = threading.Timer(load_settings().shutdown_seconds, _end_children)
        timer.daemon = True
        timer.start()


def _end_children() -> None:
    # In the main process. A child that has finished its task loses nothing.
    for child in active_children():
        log.warning("task.interrupted", pid=child.pid)
        child.terminate()


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # In a child, and once only: the cleanup must not be interrupted itself.
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(f"stopped by {signal.Signals(number).name}")
