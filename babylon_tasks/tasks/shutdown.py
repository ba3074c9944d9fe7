"""A worker told to stop ends within a bounded time, and what it interrupts gives its claim back.

SIGTERM alone makes Celery wait for the running task, however long that takes, until the
orchestrator's SIGKILL; then the lease must run out and the step counts as interrupted. Here
the task has ``shutdown_seconds`` to finish; then its process gets SIGTERM, which is raised in it
as SystemExit: the pipeline puts the interruption on record and releases what it held.
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

_log = structlog.get_logger(__name__)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _make_interruptible(**_: Any) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    # A child that ends waits until its parent has read its last result: 300 times 0.1 s, and a
    # parent that shuts down reads no more (seen in 2 of 30 stops). Our results are ignored.
    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _bound(how: str, **_: Any) -> None:
    if how == "Warm":  # Cold (SIGQUIT) does not wait for anybody
        timer = threading.Timer(load_settings().shutdown_seconds, _end_children)
        timer.daemon = True
        timer.start()


def _end_children() -> None:
    # In the main process. A child that has finished its task meanwhile loses nothing.
    for child in active_children():
        _log.warning("worker.interrupting", pid=child.pid)
        child.terminate()


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # In a child. Once: what puts things in order must not be interrupted itself.
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(f"told to stop by {signal.Signals(number).name}")
