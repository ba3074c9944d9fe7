"""Ask which workers are connected now, by the queue that they consume, and whether beat runs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kombu.exceptions import OperationalError
from msgspec import Struct
from redis.exceptions import RedisError

from babylon_tasks.errors import BrokerUnavailable
from babylon_tasks.settings import load_settings
from babylon_tasks.tasks.app import app
from babylon_tasks.tasks.app import queues as queues_of
from babylon_tasks.tasks.redis_health import describe

ANSWER_SECONDS = 1.5  # waited in full: nobody knows how many there are


class Live(Struct, frozen=True):
    """Who answered to which question."""

    beats: list[str]
    workers: dict[str, list[str]]
    clocks: dict[str, float]


def ask_all() -> Live:
    """Ask everything at the same time: each question waits in full. Raises BrokerUnavailable."""
    with ThreadPoolExecutor(3) as asking:
        beating, consuming = asking.submit(beats), asking.submit(workers)
        showing = asking.submit(clocks)
        return Live(beating.result(), consuming.result(), showing.result())


def workers() -> dict[str, list[str]]:
    """List the workers of each queue, empty where none listens; raises BrokerUnavailable.

    ``gpu`` itself, which only an older release sends to, is left out, and who cannot say.
    """
    by_queue: dict[str, list[str]] = {name: [] for name in queues_of(load_settings())}
    for worker, queues in sorted(_asked("active_queues").items()):
        for queue in queues if isinstance(queues, list) else ():  # else an error
            by_queue.setdefault(queue["name"], []).append(worker)
    by_queue.pop("gpu")
    return by_queue


def beats() -> list[str]:
    """List the beats whose scheduler runs; raises BrokerUnavailable."""
    return sorted(name for name in _asked("ping") if name.startswith("celerybeat@"))


def clocks() -> dict[str, float]:
    """Ask each worker by how many seconds at least its clock is ahead of ours, or behind (< 0).

    A worker of an earlier release does not answer. Raises BrokerUnavailable.
    """
    asked = time.time()
    answers = _broadcast("wall_clock")
    answered = time.time()
    return {
        name: max(answer["now"] - answered, min(0.0, answer["now"] - asked))
        for name, answer in sorted(answers.items())
        if "now" in answer
    }


def _broadcast(question: str) -> dict[str, Any]:
    try:
        found = app.control.broadcast(question, reply=True, timeout=ANSWER_SECONDS) or []
    except (OperationalError, RedisError) as error:
        raise _unavailable(error) from error
    return {name: answer for one in found for name, answer in one.items()}


def _asked(question: str) -> dict[str, Any]:
    try:
        answers = getattr(app.control.inspect(timeout=ANSWER_SECONDS), question)()
    except (OperationalError, RedisError) as error:
        raise _unavailable(error) from error
    return answers or {}


def _unavailable(error: Exception) -> BrokerUnavailable:
    return BrokerUnavailable(f"Redis did not forward a command to the workers: {describe(error)}")
