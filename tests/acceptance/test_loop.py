"""The whole loop without a hand on it: recorded hours in, committed training steps out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from acceptance.harness import Babylon, hours, until
from acceptance.outcome import assert_trained_once
from factories import EVER

from babylon_tasks.db import babylon as babylon_tables
from babylon_tasks.db import migrate
from babylon_tasks.db.outcomes import settle
from babylon_tasks.windows import is_held_out

MakeBabylon = Callable[..., Babylon]


def test_recorded_windows_become_one_committed_step_each(babylon: Babylon) -> None:
    windows = hours(3)
    for window in windows:
        babylon.record(window)

    babylon.start("gpu-worker", "cpu-worker", "beat")
    babylon.await_states(windows, "trained")

    assert_trained_once(babylon, windows, tries=1)
    assert len(babylon.steps()) == 3  # one window a step, as the settings say
    _assert_lines_tell_what_they_are_about(babylon)
    for window in windows:
        events = [event["kind"] for event in babylon.events_of(window)]
        assert events == [
            "opened",
            "sealed",
            "scored",
            "grouped",
            "step_planned",
            "step_running",
            "step_trained",
            "trained",
            "step_committed",
        ]


def test_windows_that_wait_together_are_trained_together_and_a_held_out_one_never(
    make_babylon: MakeBabylon,
) -> None:
    babylon = make_babylon(BABYLON_HELD_OUT_SHARE="0.5", BABYLON_MAX_WINDOWS_PER_STEP="4")
    windows = hours(4)
    kept = [name for name in windows if is_held_out(name, babylon.lineage, 0.5)]
    taught = [name for name in windows if name not in kept]
    assert (len(kept), len(taught)) == (2, 2)
    for window in windows:
        babylon.record(window, groups=4)

    # Without a GPU worker nothing is trained, and the windows wait together.
    babylon.start("cpu-worker", "beat")
    babylon.await_states(taught, "scored")
    babylon.await_states(kept, "held_out")
    babylon.start("gpu-worker")
    babylon.await_states(taught, "trained")

    assert_trained_once(babylon, taught, tries=1)
    assert [step["windows"] for step in babylon.steps()] == [taught]
    assert {state for window, state in babylon.states().items() if window in kept} == {"held_out"}
    used = babylon.rows("SELECT DISTINCT window_id FROM training.consumption")
    assert sorted(row["window_id"] for row in used) == taught


def test_a_window_in_which_all_earned_the_same_is_skipped_and_says_why(babylon: Babylon) -> None:
    equal, spread = hours(2)
    babylon.record(equal, spread=0.0)
    babylon.record(spread)

    babylon.start("gpu-worker", "cpu-worker", "beat")
    babylon.await_states([equal], "skipped")
    babylon.await_states([spread], "trained")

    assert_trained_once(babylon, [spread], tries=1)
    assert len(babylon.steps()) == 1
    (row,) = babylon.rows("SELECT reason FROM training.windows WHERE window_id = %s", [equal])
    assert row["reason"] == "no_spread"
    last = babylon.events_of(equal)[-1]
    assert (last["kind"], last["detail"]["reason"]) == ("skipped", "no_spread")


def test_a_window_waits_for_its_markets_and_is_trained_with_what_they_came_to(
    make_babylon: MakeBabylon,
) -> None:
    babylon = make_babylon(BABYLON_OUTCOME_WAIT_HOURS=EVER)
    (window,) = hours(1)
    babylon.record(window)
    babylon.start("gpu-worker", "cpu-worker", "beat")
    babylon.await_states([window], "scored")

    settle(babylon.connection, window, "m-1", question="Will it rise?", yes=True)
    babylon.await_states([window], "trained")

    assert_trained_once(babylon, [window], tries=1)
    events = [event["kind"] for event in babylon.events_of(window)]
    assert events[:5] == ["opened", "sealed", "scored", "score_anew", "scored"]
    assert "grouped" in events[5:]
    used = babylon.rows("SELECT DISTINCT reward_version FROM training.consumption")
    assert used == [{"reward_version": 2}]


def test_workers_that_start_before_the_migrations_need_no_restart(
    babylon_database_url: str, make_babylon: MakeBabylon
) -> None:
    babylon = make_babylon(database=babylon_database_url)
    babylon.start("gpu-worker", "cpu-worker", "beat")
    for worker in ("gpu-worker", "cpu-worker"):
        until(
            f"{worker} has met the database as Babylon has it",
            lambda worker=worker: "babylon-tasks migrate" in babylon.log(worker),
        )

    babylon_tables.create(babylon.stack.settings)
    migrate.apply(babylon.stack.settings)
    (window,) = hours(1)
    babylon.record(window)
    babylon.await_states([window], "trained")

    assert_trained_once(babylon, [window], tries=1)


def _assert_lines_tell_what_they_are_about(babylon: Babylon) -> None:
    """From where each becomes known to the end of the task, Celery's last word included."""
    steps = {step["windows"][0]: step for step in babylon.steps()}
    last = "Task babylon.train_window.v1"
    until(
        "each task has ended",
        lambda: set(steps) == {line["window"] for line in _of_a_step(babylon, last)},
    )
    for window, step in steps.items():
        lines = [line for line in _of_a_step(babylon) if line["window"] == window]
        events = [line["event"].partition("[")[0] for line in lines]
        assert events == ["step.started", "training.ended", "checkpoint.held", last]
        about = {(line["step"], line["lineage"], line["fencing_token"]) for line in lines}
        assert about == {(step["target_step"], babylon.lineage, step["attempt"])}
        (task_id,) = {line["task_id"] for line in lines}
        assert f"[{task_id}]" in lines[-1]["event"]
    scored = [line for line in babylon.lines("cpu-worker") if line["event"] == "window.scored"]
    assert {line["window"] for line in scored} == set(steps)
    assert {(line["lineage"], line["attempts"]) for line in scored} == {(babylon.lineage, 1)}
    assert all(line["task_id"] for line in scored)


def _of_a_step(babylon: Babylon, event: str = "") -> list[dict[str, Any]]:
    return [
        line
        for line in babylon.lines("gpu-worker")
        if line.get("step") is not None and line["event"].startswith(event)
    ]
