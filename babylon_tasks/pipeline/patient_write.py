"""Retry a write until Postgres is writable: it records what only this worker knows.

A worker that still runs releases its claim or step itself, even after its lease; another that finds
it first leaves it to the owner for a moment. So only a worker that vanished uses up an attempt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from tenacity import RetryCallState, retry, retry_if_exception, stop_after_delay, wait_random

from babylon_tasks.db import abandoned_sessions, expired_claims
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import StaleLease
from babylon_tasks.faults import fault_of
from babylon_tasks.settings import Settings

# Less than the limit of every task. Meanwhile no other task of the worker could write either.
PATIENCE_SECONDS = 1800.0
_MOMENT_SECONDS = 5.0
_ANSWER_SECONDS = 5.0  # a statement that was sent before Postgres went away may never be answered

T = TypeVar("T")
log = structlog.get_logger(__name__)


def write_patiently(settings: Settings, write: Callable[[Connection], T], *, patient: bool) -> T:
    """Call ``write``, again after each fault that may pass; once only unless ``patient``.

    Raises what the last try raised; a signal ends the wait.
    """
    bounds = (
        {"patience": 0.0, "silence": min(_ANSWER_SECONDS, settings.database_timeout_seconds)}
        if patient
        else {}
    )

    @retry(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_delay(PATIENCE_SECONDS if patient else 0),
        wait=wait_random(0, _moment(settings) / 4),
        before_sleep=_note_once,
        reraise=True,
    )
    def attempt() -> T:
        with session(settings, **bounds) as connection:
            if patient:  # this worker's own, for one: while it waits here nobody else may end them
                abandoned_sessions.terminate(connection, settings)
            return write(connection)

    return attempt()


def leave_to_owners(connection: Connection, settings: Settings, window: str | None = None) -> None:
    """Give owners of expired claims a moment to give them back, now that Postgres takes writes.

    Waits only if there is such a claim, or if this window's is one.
    """
    if expired_claims.any_expired(connection, window):
        time.sleep(_moment(settings))


def _moment(settings: Settings) -> float:
    # Of which an owner that waits for Postgres spends a quarter at most between two tries.
    return min(_MOMENT_SECONDS, settings.lease_seconds / 8)


def _may_pass(error: BaseException) -> bool:
    return (
        isinstance(error, Exception)
        and not isinstance(error, StaleLease)
        and not fault_of(error).uses_up_attempts
    )


def _note_once(state: RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        log.warning(
            "postgres.awaited", why=str(state.outcome.exception()), at_most=PATIENCE_SECONDS
        )
