"""Changes to Flower 2.2 for which it has no option; pyproject.toml pins this release.

Our views come before Flower's in its table of routes; five of its names are replaced.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flower import app, events, urls
from flower.api.tasks import GetQueueLengths
from flower.views.broker import BrokerView
from flower.views.monitor import Metrics
from flower.views.tasks import TASK_COLUMNS, TasksView
from tornado.web import authenticated

from babylon_tasks.settings import load_settings
from babylon_tasks.tasks.app import queues
from babylon_tasks.tasks.flower.bounded_server import BoundedServer
from babylon_tasks.tasks.flower.bounded_state import BoundedInspector, BoundedState
from babylon_tasks.tasks.flower.saved_events import SavedEvents

_RETRY_SECONDS = 5.0
_TASKS_CSS = Path(__file__).with_name("tasks.css").read_text("ascii")


class _AllQueues:
    """Flower lists the queues of workers that it knows; ours are listed without any worker."""

    def get_active_queue_names(self) -> list[str]:
        found: list[str] = super().get_active_queue_names()  # type: ignore[misc]
        return sorted({*queues(load_settings()), *found})


class _Broker(_AllQueues, BrokerView):  # type: ignore[misc]  # flower is untyped
    pass


class _QueueLengths(_AllQueues, GetQueueLengths):  # type: ignore[misc]
    pass


class _Tasks(TasksView):  # type: ignore[misc]
    """The list of tasks, whose rows fit a page of 1,280 pixels and a telephone's of 390."""

    def render_string(self, template_name: str, **known: Any) -> bytes:
        page: bytes = super().render_string(template_name, **known)
        return page.replace(b"</head>", f"<style>{_TASKS_CSS}</style></head>".encode(), 1)


class _Metrics(Metrics):  # type: ignore[misc]
    """Flower's metrics behind the login: they name all tasks and workers."""

    get = authenticated(Metrics.get)


def apply() -> None:
    """Change this process's Flower; call it before its application is created."""
    urls.handlers[:0] = [
        (r"/broker", _Broker),
        (r"/api/queues/length", _QueueLengths),
        (r"/metrics", _Metrics),
        (r"/tasks", _Tasks),
    ]
    app.Events = SavedEvents
    app.HTTPServer = BoundedServer
    app.Inspector = BoundedInspector
    events.EventsState = BoundedState
    TASK_COLUMNS.update(window="Window", lineage="Lineage", step="Step", summary="What happened")
    # Without Redis Flower doubles its pause between attempts, without a limit: after an hour it
    # could miss events for another hour.
    events.time = SimpleNamespace(
        sleep=lambda seconds: time.sleep(min(seconds, _RETRY_SECONDS)), monotonic=time.monotonic
    )
