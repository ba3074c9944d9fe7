"""Send messages: the only place that creates them. Repeated and lost ones are harmless."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Signature
from kombu.exceptions import OperationalError

from babylon_tasks.errors import BrokerUnavailable
from babylon_tasks.settings import load_settings
from babylon_tasks.task_names import SCORE_WINDOW, TRAIN_WINDOW
from babylon_tasks.tasks.app import app

_MIN_EXPIRES_SECONDS = 60.0


def send_windows(to_score: Sequence[str], to_train: Sequence[str]) -> list[str]:
    """Send messages for committed windows; returns the task ids. Raises BrokerUnavailable."""
    # Immutable signatures: results are ignored. The link to training costs nothing if a window is
    # held out or skipped: the task reads its row and returns.
    return [
        *(_sent(_hint(SCORE_WINDOW, window) | _hint(TRAIN_WINDOW, window)) for window in to_score),
        *(_sent(_hint(TRAIN_WINDOW, window)) for window in to_train),
    ]


def send_score(window: str) -> str:
    """Send a message to score one window and then train it; returns the task id."""
    return send_windows([window], [])[0]


def send_train(window: str | None) -> str:
    """Send a message to train one window, or any that waits; returns the task id."""
    return _sent(_hint(TRAIN_WINDOW, window))


def _hint(name: str, window: str | None) -> Signature:
    # By name: the task that trains also sends, so this file imports no task.
    # Each reconcile sends unfinished work again: without expiry, the messages of a night without a
    # GPU worker would pile up.
    settings = load_settings()
    return app.signature(
        name,
        args=(window,),
        immutable=True,
        ignore_result=True,  # otherwise sending would wait for the result store, too
        expires=max(_MIN_EXPIRES_SECONDS, 2 * settings.upkeep_interval_seconds),
    )


def _sent(message: Signature) -> str:
    try:
        sent: Any = message.apply_async()
    except OperationalError as error:
        raise BrokerUnavailable(
            f"Redis did not accept a message for {message.task}: {str(error).splitlines()[0]}; "
            "nothing is lost: beat sends it again within BABYLON_UPKEEP_INTERVAL_SECONDS of "
            "Redis being back"
        ) from error
    return str(sent.id)
