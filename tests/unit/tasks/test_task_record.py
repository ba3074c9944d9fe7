"""What Flower makes of the events of a task: Celery's own state, and our words."""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from celery.events.state import State

from babylon_tasks.tasks.flower.task_record import SeenTask, for_display

WINDOW = "2026-01-31T09:00"
HOURLY = 3600  # heartbeats: however slow this machine is, the worker has not fallen silent
TRAIN = "babylon.train_window.v1"
REPORTED = {"window": WINDOW, "lineage": "babylon", "step": 4, "summary": "committed · promoted"}


class Cluster(State):  # type: ignore[misc]
    """As Flower keeps it."""

    Task = SeenTask

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.ticks = 0

    def receive(self, kind: str, uuid: str = "a", **fields: Any) -> SeenTask:
        """One event of the worker gpu@there, a moment after the last."""
        self.ticks += 1
        now = time.time()  # noqa: TID251  # Celery asks whether a worker was heard lately
        event = {"hostname": "gpu@there", "timestamp": now, "local_received": now, "pid": 1}
        self.event(event | {"type": kind, "uuid": uuid, "clock": self.ticks} | fields)
        return self.tasks.get(uuid)  # type: ignore[no-any-return]

    def begin(self, uuid: str = "a", **fields: Any) -> SeenTask:
        """A task is sent, taken and begun."""
        what = {"name": TRAIN, "args": f"('{WINDOW}',)", "kwargs": "{}"} | fields
        self.receive("worker-heartbeat", freq=HOURLY, active=1)
        self.receive("task-sent", uuid, **what)
        self.receive("task-received", uuid, **what)
        return self.receive("task-started", uuid)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_a_running_task_shows_its_progress_and_stays_started(cluster: Cluster) -> None:
    task = cluster.begin()
    began = task.started
    assert (task.window, for_display(task).summary) == (WINDOW, "running")

    cluster.receive("task-progress", **REPORTED | {"summary": "training: 3 of 8"})

    assert (task.state, task.started) == ("STARTED", began)
    assert (
        for_display(task).result == f"window {WINDOW} · lineage babylon · step 4 · training: 3 of 8"
    )


def test_a_task_that_ended_shows_what_it_returned(cluster: Cluster) -> None:
    task = cluster.begin()
    cluster.receive("task-progress", **REPORTED | {"summary": "training: 3 of 8"})
    cluster.receive("task-succeeded", result=repr(REPORTED), runtime=2.0)
    cluster.receive(
        "task-progress", **REPORTED | {"summary": "overtaken"}
    )  # another process's event

    seen = for_display(task)

    assert task.state == "SUCCESS"
    assert (seen.window, seen.lineage, seen.step) == (WINDOW, "babylon", 4)
    assert seen.result == f"window {WINDOW} · lineage babylon · step 4 · committed · promoted"
    assert seen.name == "train_window"
    assert (task.name, task.result) == (TRAIN, repr(REPORTED)), "only the copy is changed"


@pytest.mark.parametrize(
    ("exception", "words"),
    [
        ("TrainingError('window 1: no spread')", "failed: window 1: no spread"),
        ('TrainerDied("it\'s gone",)', "failed: it's gone"),
        ("ValueError('3')", "failed: ValueError: 3"),
        (
            "WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL) Job: 1.')",
            "failed: WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 1.",
        ),
        ("TimeLimitExceeded(3900,)", "failed: TimeLimitExceeded(3900,)"),
        (
            "TrainingError('cut short in the mid...",
            "failed: TrainingError('cut short in the mid...",
        ),
        (None, "failed: no reason was given"),
    ],
)
def test_a_failed_task_shows_the_reason(
    cluster: Cluster, exception: str | None, words: str
) -> None:
    task = cluster.begin()
    cluster.receive("task-progress", **REPORTED | {"summary": "training: 3 of 8"})
    cluster.receive("task-failed", exception=exception, traceback="...")
    assert for_display(task).result == f"window {WINDOW} · lineage babylon · step 4 · {words}"


def test_what_has_not_begun_says_so(cluster: Cluster) -> None:
    what = {"name": TRAIN, "args": "(None,)", "kwargs": "{}"}
    task = cluster.receive("task-sent", **what)
    assert for_display(task).result == "sent, not received yet"
    cluster.receive("task-received", **what)
    assert for_display(task).result == "received, not started"
    cluster.receive("task-revoked", expired=True, terminated=False, signum=None)
    assert for_display(task).result.startswith("not started in time and dropped")


def test_an_end_that_was_not_seen_is_not_passed_off_as_running(cluster: Cluster) -> None:
    """Redis was away when the task ended, and its event is lost."""
    task = cluster.begin()
    later = time.time() + 60  # noqa: TID251
    cluster.receive(
        "worker-heartbeat", freq=HOURLY, active=1, timestamp=later, local_received=later
    )
    assert for_display(task).summary == "running"
    cluster.receive(
        "worker-heartbeat", freq=HOURLY, active=0, timestamp=later, local_received=later
    )
    assert for_display(task).summary == (
        "its worker has finished it, but Flower missed the event; "
        f"`babylon-tasks why {WINDOW}` shows how it ended"
    )


def test_a_task_whose_worker_is_gone_says_so(cluster: Cluster) -> None:
    task = cluster.begin()
    cluster.receive("worker-offline")
    assert (for_display(task).summary or "").startswith("its worker is gone or unreachable; ")


def test_the_way_from_scoring_to_training_is_kept(cluster: Cluster) -> None:
    cluster.begin("score", name="babylon.score_window.v1")
    cluster.begin("train", parent_id="score", root_id="score")
    assert [child.id for child in for_display(cluster.tasks["score"]).children] == ["train"]


def test_what_was_reported_outlives_a_restart_of_flower(cluster: Cluster) -> None:
    cluster.begin()
    cluster.receive("task-progress", **REPORTED | {"summary": "training: 3 of 8"})
    cluster.begin("b")
    cluster.receive("task-succeeded", "b", result=repr(REPORTED), runtime=2.0)

    back = pickle.loads(pickle.dumps(cluster))  # noqa: S301 - as Flower keeps its state

    assert {name: task.summary for name, task in back.tasks.items()} == {
        "a": "training: 3 of 8",
        "b": "committed · promoted",
    }
    assert back.tasks["b"].window == WINDOW


def test_tasks_of_other_applications_are_left_as_they_are(cluster: Cluster) -> None:
    task = cluster.begin(name="mail.send")
    cluster.receive("task-succeeded", result="'fine'", runtime=2.0)
    assert (for_display(task).name, for_display(task).result) == ("mail.send", "'fine'")


@pytest.mark.parametrize("order", list(permutations(("sent", "received", "succeeded"))), ids=str)
def test_what_sent_a_task_is_known_in_whichever_order_it_is_heard_of(
    cluster: Cluster, order: Sequence[str]
) -> None:
    """The worker knows of no parent: what it takes from a message, our gate has built."""
    parent = cluster.begin("score")
    known = {"name": TRAIN, "args": f"('{WINDOW}',)", "kwargs": "{}"}
    told = {
        "sent": {**known, "parent_id": "score", "root_id": "score"},
        "received": {**known, "parent_id": None, "root_id": "a"},
        "succeeded": {"result": repr(REPORTED), "runtime": 2.0},
    }
    for kind in order:
        task = cluster.receive(f"task-{kind}", **told[kind])
        task.as_dict()  # as Flower's API does at any moment

    assert (task.parent_id, task.root_id) == ("score", "score")
    assert (task.parent, task.root) == (parent, parent)
    assert list(parent.children) == [task]
