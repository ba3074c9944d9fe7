"""What Flower 2.2 has no option for; pyproject.toml pins the release that this was written for.

Views of ours come before Flower's in its table of routes; three of its names are replaced.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

from flower import events, urls
from flower.api.tasks import GetQueueLengths
from flower.views.broker import BrokerView
from flower.views.monitor import Metrics
from flower.views.tasks import TASK_COLUMNS
from tornado.web import authenticated

from babylon_tasks.tasks.app import QUEUES
from babylon_tasks.tasks.flower.task_record import SeenTask

_RETRY_SECONDS = 5.0


class _AllQueues:
    """Flower lists the queues of workers it has heard of; these are there without any."""

    def get_active_queue_names(self) -> list[str]:
        return list(QUEUES)


class _Broker(_AllQueues, BrokerView):  # type: ignore[misc]  # flower is untyped
    pass


class _QueueLengths(_AllQueues, GetQueueLengths):  # type: ignore[misc]
    pass


class _Metrics(Metrics):  # type: ignore[misc]
    """Behind the login: it names all tasks and workers."""

    get = authenticated(Metrics.get)


def apply() -> None:
    """Change this process's Flower; before its application is made."""
    urls.handlers[:0] = [
        (r"/broker", _Broker),
        (r"/api/queues/length", _QueueLengths),
        (r"/metrics", _Metrics),
    ]
    events.EventsState.Task = SeenTask
    TASK_COLUMNS.update(window="Window", lineage="Lineage", step="Step", summary="What happened")
    # Without Redis Flower doubles its pause between tries, without a bound: after an hour it would
    # see nothing for another one.
    events.time = SimpleNamespace(
        sleep=lambda seconds: time.sleep(min(seconds, _RETRY_SECONDS)), monotonic=time.monotonic
    )
