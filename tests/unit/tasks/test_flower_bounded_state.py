"""Flower's memory does not grow with what somebody writes to Redis."""

from __future__ import annotations

import pickle
import time
from typing import Any

import pytest
from celery.events.state import Worker
from flower.events import EventsState, PrometheusMetrics, get_prometheus_metrics

from babylon_tasks.tasks.flower.bounded_state import (
    MOST_NAMES,
    BoundedInspector,
    BoundedState,
)

SCORE = "babylon.score_window.v1"
OURS = "cpu@here"


@pytest.fixture
def state() -> BoundedState:
    made = BoundedState()
    made.metrics.remove_workers({labels[0] for labels in made.metrics.events._metrics})
    return made


def event(kind: str, hostname: str = OURS, **fields: Any) -> dict[str, Any]:
    now = time.time()  # noqa: TID251  # Celery asks whether a worker was heard lately
    about = {"hostname": hostname, "timestamp": now, "local_received": now, "clock": 1, "pid": 7}
    return about | {"type": kind, "utcoffset": 0} | fields


def work(state: BoundedState, hostname: str, uuid: str) -> None:
    """All events of a worker and of one of its tasks."""
    about = {"uuid": uuid, "name": SCORE, "args": "('2026-01-31T09:00',)", "kwargs": "{}"}
    state.event(event("worker-heartbeat", hostname, freq=2.0, active=1, loadavg=[0.1, 0.2, 0.3]))
    state.event(event("task-sent", f"gen1@{hostname}", **about))
    state.event(event("task-received", hostname, **about))
    state.event(event("task-started", hostname, uuid=uuid))
    state.event(event("task-succeeded", hostname, uuid=uuid, result="'done'", runtime=0.5))


def of_names(metrics: PrometheusMetrics) -> dict[str, int]:
    return {
        name: len(metric._metrics)
        for name, metric in vars(metrics).items()
        if hasattr(metric, "_metrics")
    }


def test_ten_times_as_many_workers_as_there_may_be(state: BoundedState) -> None:
    work(state, OURS, "ours")
    for number in range(10 * MOST_NAMES):
        work(state, f"cpu@{number}", f"task-{number}")
        if number % MOST_NAMES == 0:
            work(state, OURS, f"ours-{number}")

    assert len(state.workers) <= MOST_NAMES
    assert len(state.counter) <= 2 * MOST_NAMES
    assert len(state.tasks_by_worker) <= 2 * MOST_NAMES
    kinds = 5  # of events, of each name
    assert max(of_names(get_prometheus_metrics()).values()) <= 2 * MOST_NAMES * kinds
    work(state, OURS, "last")
    assert state.workers[OURS].alive
    assert state.tasks["last"].worker.hostname == OURS
    assert state.counter[OURS]["task-succeeded"] >= 1


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "worker-invented"},
        {"type": "invented"},
        {"type": None},
        {"hostname": None},
        {"hostname": "x" * 201},
        {"hostname": ["x"]},
        {"timestamp": "yesterday"},
        {"clock": "x"},
        {"freq": "often"},
        {"active": "x" * 100},
        {"loadavg": [1.0] * 1000},
        {"type": "task-received"},
        {"type": "task-received", "uuid": {}},
        {"type": "task-received", "uuid": "x" * 201},
        {"type": "task-received", "uuid": "a", "name": "invented"},
        {"type": "task-received", "uuid": "a", "args": {"a": [1]}},
        {"type": "task-received", "uuid": "a", "parent_id": "x" * 1001},
        {"type": "task-succeeded", "uuid": "a", "runtime": "long"},
    ],
)
def test_what_our_processes_do_not_send_leaves_nothing_behind(
    state: BoundedState, fields: dict[str, Any]
) -> None:
    state.event(event("worker-heartbeat") | fields)

    assert (len(state.workers), len(state.tasks), len(state.counter)) == (0, 0, 0)
    work(state, OURS, "ours")
    assert (len(state.workers), len(state.tasks)) == (1, 1)


def test_no_field_of_an_event_replaces_what_flower_calls(state: BoundedState) -> None:
    more = {"event": "x", "heartbeats": "x", "children": "x", "cluster_state": "x", "worker": "x"}
    state.event(event("worker-heartbeat") | more)
    state.event(event("task-received", uuid="a", name=SCORE) | more)

    work(state, OURS, "a")
    assert state.workers[OURS].alive
    assert state.tasks["a"].worker is state.workers[OURS]
    assert not vars(state.tasks["a"]).keys() & {"event", "heartbeats"}


def test_a_long_text_is_cut(state: BoundedState) -> None:
    texts = ("args", "kwargs", "result", "exception", "traceback")
    long = dict.fromkeys(texts, "x" * 60_000)
    state.event(event("task-failed", uuid="a", name=SCORE, **long))

    task = state.tasks["a"]
    assert sum(len(getattr(task, name)) for name in texts) < 20_000


def test_what_was_saved_without_these_bounds_is_cut_to_them(state: BoundedState) -> None:
    work(state, OURS, "ours")
    state.workers.limit = 10 * MOST_NAMES
    for number in range(2 * MOST_NAMES):
        state.workers[f"cpu@{number}"] = Worker(f"cpu@{number}")

    read = pickle.loads(pickle.dumps(state))  # noqa: S301  # as Flower's file is

    assert isinstance(read, BoundedState)
    assert isinstance(read, EventsState)
    assert len(read.workers) == read.workers.limit == MOST_NAMES
    work(read, "cpu@new", "new")
    assert len(read.workers) == MOST_NAMES
    assert read.tasks["ours"].summary == state.tasks["ours"].summary


def test_answers_of_invented_workers() -> None:
    inspector = BoundedInspector(None, None, 1.0)
    for number in range(10 * MOST_NAMES):
        inspector._on_update(f"cpu@{number}", "stats", {"total": {}})

    assert len(inspector.workers) == MOST_NAMES
    assert f"cpu@{10 * MOST_NAMES - 1}" in inspector.workers


def test_of_idle_upkeep_the_newest_is_kept_and_all_that_did_something(state: BoundedState) -> None:
    def upkeep(name: str, uuid: str, summary: str) -> None:
        about = {"uuid": uuid, "name": name, "args": "()", "kwargs": "{}"}
        state.event(event("task-sent", "beat@here", **about))
        state.event(event("task-received", OURS, **about))
        result = repr({"summary": summary})
        state.event(event("task-succeeded", OURS, uuid=uuid, result=result, runtime=0.1))

    for number in range(60):
        upkeep("babylon.discover.v1", f"discover-{number}", "nothing to do")
        upkeep("babylon.reconcile.v1", f"reconcile-{number}", "nothing to do")
        if number == 30:
            upkeep("babylon.discover.v1", "opened", "opened 2026-01-31T09:00")
    work(state, OURS, "scored")

    kept = {"opened", "scored", "discover-59", "reconcile-59"}
    assert {*state.tasks} == kept
    assert {*state.search_engine.search(state.tasks, limit=100).task_ids} == kept
    # Flower's file has every task; after a restart it goes on the same.
    again = pickle.loads(pickle.dumps(state))  # noqa: S301
    again.event(event("task-received", OURS, uuid="a", name="babylon.discover.v1"))
    nothing = repr({"summary": "nothing to do"})
    again.event(event("task-succeeded", OURS, uuid="a", result=nothing, runtime=0.1))
    assert {*again.tasks} == kept - {"discover-59"} | {"a"}


def test_upkeep_that_was_dropped_from_a_full_queue_does_not_wait_for_ever(
    state: BoundedState,
) -> None:
    def sent(name: str, uuid: str, at: float) -> None:
        about = {"uuid": uuid, "name": name, "args": "()", "kwargs": "{}"}
        state.event(event("task-sent", "beat@here", **about) | {"timestamp": at})

    for at, uuid in enumerate(("dropped", "answered", "waits")):
        sent("babylon.discover.v1", uuid, at)
    sent("babylon.reconcile.v1", "of another kind", 0)
    sent(SCORE, "of a window", 0)
    result = repr({"summary": "opened 2026-01-31T09:00"})
    state.event(event("task-received", uuid="answered", name="babylon.discover.v1"))
    state.event(event("task-succeeded", uuid="answered", result=result, runtime=0.1))

    kept = {"answered", "waits", "of another kind", "of a window"}
    assert {*state.tasks} == kept
    assert {*state.search_engine.search(state.tasks, limit=100).task_ids} == kept
