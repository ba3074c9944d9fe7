"""Ask which workers are connected now, by the queue that they consume, and whether beat runs."""

from __future__ import annotations

from typing import Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from babylon_tasks.errors import BrokerUnavailable
from babylon_tasks.tasks.app import QUEUES, app

_ANSWER_SECONDS = 1.5


def workers() -> dict[str, list[str]]:
    """List the workers of each queue, empty where none listens; raises BrokerUnavailable."""
    by_queue: dict[str, list[str]] = {name: [] for name in QUEUES}
    for worker, queues in sorted(_asked("active_queues").items()):
        for queue in queues:
            by_queue.setdefault(queue["name"], []).append(worker)
    return by_queue


def beats() -> list[str]:
    """List the beats whose scheduler runs; raises BrokerUnavailable."""
    return sorted(name for name in _asked("ping") if name.startswith("celerybeat@"))


def _asked(question: str) -> dict[str, Any]:
    try:
        answers = getattr(app.control.inspect(timeout=_ANSWER_SECONDS), question)()
    except (OperationalError, RedisError) as error:
        raise BrokerUnavailable(
            f"Redis did not forward a command to the workers: {str(error).splitlines()[0]}; "
            "check REDIS_URL and that the server runs"
        ) from error
    return answers or {}
