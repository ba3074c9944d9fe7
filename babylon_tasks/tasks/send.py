"""Send messages: the only place that creates them. Repeated and lost ones are harmless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from celery import Signature
from kombu.exceptions import OperationalError

from babylon_tasks.db import due_windows
from babylon_tasks.db.session import session
from babylon_tasks.errors import BrokerUnavailable, DatabaseError
from babylon_tasks.settings import Settings
from babylon_tasks.task_names import SCORE_WINDOW, TRAIN_WINDOW
from babylon_tasks.tasks.app import app, queue_named, training_queue
from babylon_tasks.tasks.redis_health import describe

log = structlog.get_logger(__name__)


def send_windows(
    to_score: Sequence[str],
    to_train: Sequence[str],
    others: Mapping[str, Sequence[str | None]] | None = None,
) -> list[str]:
    """Send messages for committed windows; returns the task ids. Raises BrokerUnavailable.

    ``others``: by lineage, what those besides the settings' are to train; None: what is due.
    """
    return [
        *(send_score(window) for window in to_score),
        *(send_train(window) for window in to_train),
        *(
            send_train(window, lineage=lineage)
            for lineage, windows in (others or {}).items()
            for window in windows
        ),
    ]


def send_score(window: str) -> str:
    """Send a message to score one window; returns the task id."""
    return _sent(_hint(SCORE_WINDOW, window))


def send_train(window: str | None, *, lineage: str | None = None) -> str:
    """Send a message to train one window, or any that waits; returns the task id.

    To the worker of the settings' lineage, or of another: each has its own queue.
    """
    return _sent(_hint(TRAIN_WINDOW, window), lineage)


def wake_trainer(window: str | None, *, lineage: str | None = None) -> None:
    """Send a message to train at the end of a task, which Redis must not turn into a failure."""
    try:
        send_train(window, lineage=lineage)
    except BrokerUnavailable as error:
        log.warning("message.not_sent", why=str(error))


def send_again(task: str) -> str:
    """Send a message for a task of upkeep that has met a limit of one call; returns its id."""
    return _sent(app.signature(task, immutable=True, ignore_result=True))


def send_next(settings: Settings) -> None:
    """Send a message for the oldest window that is due to be scored and has none.

    Called at the end of a scoring, so that a backlog is worked off as fast as workers can. A
    failure must not become that of the window that is scored: beat sends what is not sent here.
    """
    try:
        with session(settings) as connection, connection.transaction():
            due = due_windows.pick_to_score(connection, settings, limit=1)
        for window in due:
            send_score(window)
    except (BrokerUnavailable, DatabaseError) as error:
        log.warning("message.not_sent", why=str(error))


def _hint(name: str, window: str | None) -> Signature:
    # By name: the task that trains also sends, so this file imports no task. No `expires`: the
    # sender's clock would decide whether a worker, by its own, takes the message.
    # ignore_result: otherwise sending would wait for the result store, too.
    return app.signature(name, args=(window,), immutable=True, ignore_result=True)


def _sent(message: Signature, lineage: str | None = None) -> str:
    # By the queue itself: the one of another lineage is not in this process's configuration.
    where = {} if lineage is None else {"queue": queue_named(training_queue(lineage))}
    try:
        sent: Any = message.apply_async(**where)
    except OperationalError as error:
        raise BrokerUnavailable(
            f"Redis did not accept a message for {message.task}: {describe(error)}; "
            "nothing is lost: beat sends it again within BABYLON_UPKEEP_INTERVAL_SECONDS of "
            "Redis being back"
        ) from error
    return str(sent.id)
