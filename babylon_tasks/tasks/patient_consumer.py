"""A worker whose Redis refuses its commands waits for it, as for one that is away.

Celery tries again when a connection is lost, but ends the worker when an answer is an error: Redis
is read-only after a failover, or its disk is full. That would end the trainer, which agents use.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu.exceptions import OperationalError

from babylon_tasks import metrics
from babylon_tasks.tasks.health.bootsteps import monitor
from babylon_tasks.tasks.redis_health import describe, why_unusable

_FIRST_SECONDS = 0.25
_LONGEST_SECONDS = 10.0
_OVER_SECONDS = 60.0  # without an error: the next one begins a new series
_SLICE_SECONDS = 0.1
log = structlog.get_logger(__name__)


class PatientConsumer(Consumer):  # type: ignore[misc]  # celery is untyped
    """Celery's consumer, which connects again after any error of Redis, ever more slowly."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What kombu makes of an error that Redis answers while a connection is set up.
        errors: tuple[type[Exception], ...] = self.conninfo.connection_errors
        self.connection_errors = (*errors, OperationalError)
        self._errors = 0
        self._last_error = 0.0

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Wait before the next try; raises WorkerShutdown if the worker is stopped meanwhile."""
        self._wait(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the connection, wait before the next try; raises WorkerShutdown as above."""
        super().on_connection_error_after_connected(exc)
        self._wait(exc)

    def _wait(self, exc: Exception) -> None:
        now = time.monotonic()
        if now - self._last_error > _OVER_SECONDS:
            self._errors = 0
        seconds = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2**self._errors)
        self._errors += 1
        why = describe(exc)
        metrics.REDIS_INTERRUPTIONS.labels(why_unusable(exc)).inc()
        log.warning("redis.interrupted", why=why, next_try_in=seconds)
        monitor.pulse.interrupt(why)
        while time.monotonic() < now + seconds:
            maybe_shutdown()
            time.sleep(_SLICE_SECONDS)
        self._last_error = time.monotonic()
