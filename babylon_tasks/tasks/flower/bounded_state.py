"""What Flower keeps of events, bounded: whoever can write to Redis can invent workers.

Celery bounds how many tasks and workers are kept. Flower's counters and metrics have an entry for
every name that an event ever had, and a task or a worker takes over whatever fields an event has.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from celery import states
from flower.events import EventsState
from flower.inspector import Inspector
from msgspec import UNSET, Meta, Struct, UnsetType

from babylon_tasks.tasks.app import TASKS
from babylon_tasks.tasks.flower.summaries import NOTHING
from babylon_tasks.tasks.flower.task_record import SeenTask

_UPKEEP = frozenset(name for name, task in TASKS.items() if task.queue == "upkeep")
# Of workers, and of processes that send tasks; ours are a dozen.
MOST_NAMES = 500
# Characters; Celery's workers themselves cut arguments and results at about 1,024.
_LONGEST = {"args": 1100, "kwargs": 1100, "result": 1100, "exception": 2000, "traceback": 12_000}

_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Text = str | None | UnsetType
_Short = Annotated[str, Meta(max_length=1000)] | bool | int | float | None | UnsetType


class _Event(Struct):
    hostname: _Name
    timestamp: float
    local_received: float
    clock: int
    pid: _Short = UNSET
    utcoffset: _Short = UNSET


class _WorkerEvent(_Event, kw_only=True):
    type: Literal["worker-online", "worker-heartbeat", "worker-offline"]
    freq: int | float = 60
    active: int | UnsetType | None = UNSET
    processed: int | UnsetType | None = UNSET
    loadavg: Annotated[list[float], Meta(max_length=3)] | UnsetType | None = UNSET
    sw_ident: _Short = UNSET
    sw_ver: _Short = UNSET
    sw_sys: _Short = UNSET


class _TaskEvent(_Event, kw_only=True):
    type: Literal[
        "task-sent",
        "task-received",
        "task-started",
        "task-progress",
        "task-succeeded",
        "task-failed",
        "task-rejected",
        "task-revoked",
        "task-retried",
        "task-cancelled",
    ]
    uuid: _Name
    name: str | UnsetType | None = UNSET
    args: _Text = UNSET
    kwargs: _Text = UNSET
    result: _Text = UNSET
    exception: _Text = UNSET
    traceback: _Text = UNSET
    runtime: float | UnsetType | None = UNSET
    retries: _Short = UNSET
    eta: _Short = UNSET
    expires: _Short = UNSET
    expired: _Short = UNSET
    terminated: _Short = UNSET
    signum: _Short = UNSET
    requeue: _Short = UNSET
    queue: _Short = UNSET
    exchange: _Short = UNSET
    routing_key: _Short = UNSET
    root_id: _Short = UNSET
    parent_id: _Short = UNSET
    window: _Short = UNSET
    lineage: _Short = UNSET
    step: _Short = UNSET
    summary: _Short = UNSET


def known(event: dict[str, Any]) -> dict[str, Any] | None:
    """Reduce an event to what our processes send in one; None if it is not one of those."""
    about: type[_Event] = _TaskEvent if "uuid" in event else _WorkerEvent
    try:
        found = msgspec.convert(event, about)
    except msgspec.ValidationError:
        return None
    fields: dict[str, Any] = msgspec.to_builtins(found)
    if fields.get("name") not in (None, *TASKS):
        return None
    for name, most in _LONGEST.items():
        if isinstance(fields.get(name), str):
            fields[name] = fields[name][:most]
    return fields


class BoundedState(EventsState):  # type: ignore[misc]  # flower is untyped
    """Flower's record of the workers and tasks, of ``MOST_NAMES`` workers and as many senders.

    Where more come, the oldest are forgotten. A worker that runs is back within two seconds, with
    its next heartbeat.
    """

    Task = SeenTask

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.workers.limit = self.max_workers_in_memory = MOST_NAMES
        self.workers.update()  # what was saved without this bound
        self._idle: dict[str, str] = {}
        for uuid in [*self.tasks]:
            self._keep_one_idle(uuid)

    def event(self, event: dict[str, Any]) -> None:
        """Take in one event, whoever sent it."""
        fields = known(event)
        if fields is None:
            return
        super().event(fields)
        if fields["type"] == "task-succeeded":
            self._keep_one_idle(fields["uuid"])
            self._forget_dropped(fields["uuid"])
        if max(len(self.counter), len(self.tasks_by_worker)) > 2 * MOST_NAMES:
            self._forget_the_gone()

    def _keep_one_idle(self, uuid: str) -> None:
        """Of beat's own tasks that found nothing to do, keep the newest: it shows that they run.

        There are 120 in an hour, between the two or three rows of that hour's window.
        """
        task = self.tasks.get(uuid)
        if task is None or task.name not in _UPKEEP or task.summary != NOTHING:
            return
        before, self._idle[task.name] = self._idle.get(task.name), uuid
        if before not in (None, uuid) and before in self.tasks:
            self._forget(before)

    def _forget_dropped(self, uuid: str) -> None:
        """Of beat's own tasks forget those that were sent before one that has been answered.

        Nobody receives them any more: beat's queue keeps the newest ten messages.
        """
        task = self.tasks.get(uuid)
        if task is None or task.name not in _UPKEEP or task.sent is None:
            return
        for other in [*self.tasks_by_type[task.name]]:
            if other.state == states.PENDING and other.sent is not None and other.sent < task.sent:
                self._forget(other.uuid)

    def _forget(self, uuid: str) -> None:
        self.tasks.pop(uuid, None)
        self.search_engine.remove(uuid)

    def _forget_the_gone(self) -> None:
        gone = {*self.counter, *self.tasks_by_worker} - {*self.workers.data}
        for name in gone:
            self.counter.pop(name, None)
            self.tasks_by_worker.pop(name, None)
        self.metrics.remove_workers(gone)


class BoundedInspector(Inspector):  # type: ignore[misc]
    """Flower's questions to workers, of whose answers it keeps those of ``MOST_NAMES``."""

    def _on_update(self, worker: str, method: str, response: Any) -> None:
        super()._on_update(worker, method, response)
        while len(self.workers) > MOST_NAMES:
            del self.workers[next(iter(self.workers))]  # the oldest
