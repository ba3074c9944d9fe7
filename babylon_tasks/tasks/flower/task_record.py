"""What Flower has seen of a task, kept and shown in words; it knows events and nothing else.

Celery's own record of a task has no place for what our workers tell (see ``BabylonTask.report``
and ``told``), and a ``task-progress`` event would make PROGRESS its state, which Flower's filter
"Started" does not find.
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

_TELLS = ("window", "lineage", "step", "summary")
_ERROR = re.compile(r"(\w+)\((.*)\)", re.S)
# Heartbeats come every 2 s: one so much younger than the task's start knows of it.
_SETTLED = 5.0


class SeenTask(Task):  # type: ignore[misc]  # celery is untyped
    """Celery's record of a task, with what the worker told of it."""

    window: str | None = None
    lineage: str | None = None
    step: int | None = None
    summary: str | None = None

    # In this order on the task's page; what is not named here is not kept over a restart.
    _fields = (*Task._fields[:3], *_TELLS, *Task._fields[3:])

    def event(
        self,
        type_: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Take in one event of this task."""
        fields = dict(fields or {})
        if type_ == "progress":
            if not self.ready:  # events of two processes may overtake each other
                self.state = states.STARTED
                self._learn(fields)
            return
        super().event(type_, timestamp, local_received, fields, **more)
        if type_ == "received":
            self.window = self.window or _first_text(self.args)
        elif type_ == "succeeded":
            told = _literal(self.result)
            if isinstance(told, dict):
                self._learn(told)
        elif type_ == "failed":
            self.summary = f"failed: {_message(self.exception)}"

    def _learn(self, told: dict[str, Any]) -> None:
        for name in _TELLS:
            if told.get(name) is not None:
                setattr(self, name, told[name])

    def __copy__(self) -> SeenTask:
        # Celery's way through __reduce__ loses the children, the way from scoring to training.
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin


def shown(task: SeenTask) -> SeenTask:
    """A copy of a task as Flower's pages show it."""
    task = copy.copy(task)
    if task.name is not None and task.name.startswith("babylon."):
        task.name = task.name.split(".")[1]  # Flower's links search for a part of the name
        task.summary = _now(task)
        task.result = sentence(task.window, task.lineage, task.step, task.summary)
    return task


def _now(task: SeenTask) -> str:
    if task.state == states.PENDING:
        return "sent, not taken by a worker yet"
    if task.state == states.RECEIVED:
        return "taken by a worker, not begun yet"
    if task.state == states.REVOKED:
        return "not begun in time and dropped; what still stands is sent again by beat"
    if task.state == states.STARTED and (why := _unseen_end(task)):
        return f"{why}; `babylon-tasks why {task.window or 'WINDOW'}` knows its end"
    return task.summary or "running"


def _unseen_end(task: SeenTask) -> str | None:
    """Events are lost while Redis or Flower is away: does the worker still run this task?"""
    worker: Worker | None = task.worker
    if worker is None or task.started is None:
        return None
    if not worker.alive:
        return "its worker is gone or cannot be heard"
    heard = getattr(worker, "local_received", None)  # of the heartbeat that `active` came with
    if worker.active == 0 and heard is not None and heard - task.started > _SETTLED:
        return "its worker is done with it, but Flower did not see how it ended"
    return None


def _message(exception: str | None) -> str:
    """``TrainingError('no model')``: the text alone where the error is one of ours."""
    found = _ERROR.fullmatch(exception or "")
    if found is None:
        return exception or "no reason was given"
    kind, arguments = found.groups()
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
    except (ValueError, SyntaxError, TypeError):
        return None  # of another application, or cut short
