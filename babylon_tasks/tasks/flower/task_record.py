"""What Flower knows of a task, stored and shown as text; it comes from events alone.

Celery's own record of a task has no fields for what our workers report (see
``BabylonTask.report_progress`` and ``task_result``), and a ``task-progress`` event would make
PROGRESS its state, which Flower's filter "Started" does not find.
"""

from __future__ import annotations

import ast
import copy
import re
from typing import Any

from celery import states
from celery.events.state import Task, Worker

from babylon_tasks import errors
from babylon_tasks.tasks.flower.summaries import sentence

_REPORTED = ("window", "lineage", "step", "summary")
_OF_THE_SENDER = ("parent_id", "root_id")
_ERROR = re.compile(r"(\w+)\((.*)\)", re.S)
# Heartbeats come every 2 s: one that is this much later than a task's start includes the task.
_SETTLED = 5.0


class SeenTask(Task):  # type: ignore[misc]  # celery is untyped
    """Celery's record of a task, with what the worker reported about it."""

    window: str | None = None
    lineage: str | None = None
    step: int | None = None
    summary: str | None = None

    # In this order on the task's page; fields that are not named here are lost at a restart.
    _fields = (*Task._fields[:3], *_REPORTED, *Task._fields[3:])

    def event(
        self,
        type_: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Apply one event of this task."""
        fields = dict(fields or {})
        if type_ == "progress":
            if not self.ready:  # events of two processes may arrive in either order
                self.state = states.STARTED
                self._apply(fields)
            return
        if type_ != "sent":
            # Only the sender knows what sent it: a worker's message has been through our gate.
            for name in _OF_THE_SENDER:
                fields.pop(name, None)
        super().event(type_, timestamp, local_received, fields, **more)
        if self.cluster_state is not None:
            for name in ("parent", "root"):  # kept from the first look, before it was known
                self.__dict__.pop(name, None)
        if type_ == "received":
            self.window = self.window or _first_text(self.args)
        elif type_ == "succeeded":
            reported = _literal(self.result)
            if isinstance(reported, dict):
                self._apply(reported)
        elif type_ == "failed":
            self.summary = f"failed: {_message(self.exception)}"

    def _apply(self, reported: dict[str, Any]) -> None:
        for name in _REPORTED:
            if reported.get(name) is not None:
                setattr(self, name, reported[name])

    def __copy__(self) -> SeenTask:
        # Celery's copy through __reduce__ loses the children, which lead from scoring to training.
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin


def for_display(task: SeenTask) -> SeenTask:
    """Copy a task for Flower's pages."""
    task = copy.copy(task)
    if task.name is not None and task.name.startswith("babylon."):
        task.name = task.name.split(".")[1]  # Flower's links search for a part of the name
        task.summary = _status(task)
        task.result = sentence(task.window, task.lineage, task.step, task.summary)
    return task


def _status(task: SeenTask) -> str:
    if task.state == states.PENDING:
        return "sent, not received yet"
    if task.state == states.RECEIVED:
        return "received, not started"
    if task.state == states.REVOKED:
        return "not started in time and dropped; beat sends unfinished work again"
    if task.state == states.STARTED and (why := _missed_end(task)):
        return f"{why}; `babylon-tasks why {task.window or 'WINDOW'}` shows how it ended"
    return task.summary or "running"


def _missed_end(task: SeenTask) -> str | None:
    """Check whether a worker still runs a task; while Redis or Flower is down, events are lost."""
    worker: Worker | None = task.worker
    if worker is None or task.started is None:
        return None
    if not worker.alive:
        return "its worker is gone or unreachable"
    received = getattr(worker, "local_received", None)  # of the heartbeat that `active` came with
    if worker.active == 0 and received is not None and received - task.started > _SETTLED:
        return "its worker has finished it, but Flower missed the event"
    return None


def _message(exception: str | None) -> str:
    """Reduce ``TrainingError('no model')`` to its text, if the error is one of ours."""
    match = _ERROR.fullmatch(exception or "")
    if match is None:
        return exception or "no reason was given"
    kind, arguments = match.groups()
    text = _literal(arguments.rstrip(","))
    if not isinstance(text, str):
        return exception or ""
    return text if hasattr(errors, kind) else f"{kind}: {text}"


def _first_text(arguments: Any) -> str | None:
    given = _literal(arguments)
    texts = [part for part in given if isinstance(part, str)] if isinstance(given, tuple) else []
    return texts[0] if texts else None


def _literal(text: Any) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None  # of another application, truncated, or nested without end
