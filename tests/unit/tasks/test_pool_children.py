"""A child is stuck when it does not run or its task makes no progress; a long step is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from babylon_tasks import task_names
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import TASKS
from babylon_tasks.tasks.health import pool_children
from babylon_tasks.tasks.health.pool_children import (
    SILENT_SECONDS,
    PoolChild,
    PoolChildren,
    longest_silence,
)

SETTINGS = Settings(DATABASE_URL="postgresql://u@h/d", WANDB_API_KEY=None, data_dir=Path("unused"))
LONG = 100 * 3600.0


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pool_children, "time", clock)
    return clock


@pytest.fixture
def children(clock: Clock) -> PoolChildren:
    made = PoolChildren()
    made.make(2)
    return made


def own(children: PoolChildren) -> PoolChild:
    assert children.first is not None
    children.first.enter()
    return children.first


def everyone_beats(children: PoolChildren) -> None:
    for child in children._places:
        child.beat()


def test_a_child_that_does_not_run_is_stuck_whether_it_has_a_task_or_not(
    clock: Clock, children: PoolChildren
) -> None:
    own(children)
    everyone_beats(children)
    assert children.silent() is None
    clock.now += SILENT_SECONDS
    assert children.stuck(SETTINGS) is None
    assert children.silent() is not None, "it does not work now, and may still go on"
    clock.now += 1
    assert children.stuck(SETTINGS) == f"pool child {os.getpid()} has not run for 61 s"
    everyone_beats(children)
    assert children.stuck(SETTINGS) is None


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_stuck_without_progress_however_well_its_process_runs(
    clock: Clock, children: PoolChildren, task: str
) -> None:
    child = own(children)
    child.begin(task)
    clock.now += longest_silence(task, SETTINGS) + 1
    everyone_beats(children)
    why = children.stuck(SETTINGS)
    assert why is not None
    assert why.startswith(f"{task} has made no progress")
    child.progress()
    assert children.stuck(SETTINGS) is None
    clock.now += LONG
    child.end()
    everyone_beats(children)
    assert children.stuck(SETTINGS) is None


def test_a_long_step_is_not_stuck_while_it_advances(clock: Clock, children: PoolChildren) -> None:
    child = own(children)
    child.begin(task_names.TRAIN_WINDOW)
    for _ in range(100):
        clock.now += SETTINGS.trainer_silence_timeout_seconds
        child.progress()
        everyone_beats(children)
        assert children.stuck(SETTINGS) is None


@pytest.mark.parametrize("task", TASKS)
def test_what_ends_a_task_by_itself_is_given_the_time(task: str) -> None:
    if task == task_names.TRAIN_WINDOW:
        ended = SETTINGS.trainer_start_timeout_seconds + SETTINGS.trainer_silence_timeout_seconds
    else:
        ended = TASKS[task].hard_limit
    assert longest_silence(task, SETTINGS) > ended


def test_a_task_that_no_idle_child_takes_is_stuck(clock: Clock, children: PoolChildren) -> None:
    child = own(children)
    children.note_handed(["one"])
    clock.now += SILENT_SECONDS + 1
    everyone_beats(children)
    children.note_handed(["one"])
    why = children.stuck(SETTINGS)
    assert why is not None
    assert "a task has waited 61 s" in why
    children.note_handed([])
    assert children.stuck(SETTINGS) is None
    assert child.idle_seconds > 0


def test_a_loop_that_hangs_does_not_make_its_children_stuck(
    clock: Clock, children: PoolChildren
) -> None:
    own(children)
    children.note_handed(["one"])
    clock.now += LONG
    everyone_beats(children)
    assert children.stuck(SETTINGS) is None


def test_a_task_may_wait_for_children_that_work(clock: Clock, children: PoolChildren) -> None:
    for child in children._places:
        child.begin(task_names.SCORE_WINDOW)
    children.note_handed(["one"])
    clock.now += SILENT_SECONDS + 1
    everyone_beats(children)
    children.note_handed(["one"])
    assert children.stuck(SETTINGS) is None


def test_what_a_child_writes_its_parent_reads(children: PoolChildren) -> None:
    child = own(children)
    pid = os.fork()
    if pid == 0:
        child.note_trainer(12, serves=True, port=8100, silent=0.0)
        os._exit(0)
    os.waitpid(pid, 0)
    assert (child.trainer_pid, child.trainer_serves, child.trainer_port) == (12, True, 8100)


def test_a_child_is_not_held_to_what_its_predecessor_left(
    clock: Clock, children: PoolChildren
) -> None:
    dead = own(children)
    dead.begin(task_names.SCORE_WINDOW)
    dead.note_trainer(12, serves=True, port=8100, silent=0.0)
    next_one = own(children)
    clock.now += LONG
    everyone_beats(children)
    assert children.stuck(SETTINGS) is None
    assert (next_one.trainer_pid, next_one.trainer_serves, next_one.trainer_port) == (
        None,
        False,
        None,
    )
