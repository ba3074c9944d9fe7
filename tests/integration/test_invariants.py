"""Each invariant holds for what the pipeline leaves, and finds what violates it, by window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from factories import EVER, WINDOW, insert_trajectories, trajectory
from one_moment import lineage, step
from peer import PeerTrainer
from scored_windows import hour, scored_window

from babylon_tasks.db.invariants import names, patience_seconds, violations
from babylon_tasks.db.late_rows import reject_late
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

STEP = "UPDATE training.steps SET state = "


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(held_out_share=0, lookback_hours=int(EVER), grace_seconds=0)


@pytest.fixture
def trained(connection: Connection, settings: Settings) -> Connection:
    """One committed step of one window."""
    scored_window(connection)
    connection.execute("UPDATE training.windows SET scored = 4, rejected = 0")
    train_window(settings, PeerTrainer(settings.data_dir), window=WINDOW, actor="test")
    return connection


def violated(connection: Connection, settings: Settings, **how: Any) -> set[tuple[str, str | None]]:
    return {(found.invariant, found.window) for found in violations(connection, settings, **how)}


CORRUPTIONS = {
    "scores_that_were_not_counted": "UPDATE training.windows SET scored = 3",
    "scored_and_rejected": "INSERT INTO training.rejections"
    " (trajectory_id, window_id, reward_version, stage, reason)"
    " SELECT trajectory_id, window_id, 1, 'decode', 'no_steps' FROM training.scores LIMIT 1",
    "uses_without_score": "UPDATE training.consumption SET reward_version = 2",
    "uses_by_failed_steps": STEP + "'failed'",
    "uses_of_another_step": "UPDATE training.steps SET windows = '{another}'",
    "gaps_in_steps": "UPDATE training.lineages SET head_step = 2",
    "steps_without_checkpoint": "DELETE FROM training.checkpoints WHERE step = 1",
    "steps_not_kept_whole": "DELETE FROM training.step_members WHERE content ="
    " (SELECT content FROM training.step_members LIMIT 1)",
    "windows_training_without_step": "UPDATE training.windows SET state = 'training'",
    "windows_of_steps_not_training": STEP + "'running'",
    "lineages_done_with_windows_in_work": "WITH begun AS"
    " (UPDATE training.steps SET state = 'running')"
    " INSERT INTO training.lineage_windows (window_id, lineage, state)"
    " SELECT window_id, 'babylon', 'trained' FROM training.windows",
    "windows_failed_without_reason": "UPDATE training.windows SET state = 'failed', reason = NULL",
    "tripped_windows_trained": "INSERT INTO training.tripwires (lineage, window_id, reward_version,"
    " target_step, kind, policy, what, measured, bound, source, evidence, actor, found_at)"
    " SELECT 'babylon', window_id, 1, 1, 'length', 'hold', '', 1, 1, '', '{}', '',"
    " now() - interval '1 day' FROM training.windows",
    "windows_ended_before_their_trajectories": "DELETE FROM training.consumption",
}
OF_LINEAGE = {
    "gaps_in_steps",
    "steps_without_checkpoint",
    "steps_side_by_side",
    "steps_not_kept_whole",
}


@pytest.mark.parametrize(("invariant", "corruption"), CORRUPTIONS.items(), ids=CORRUPTIONS)
def test_what_violates_an_invariant_is_found(
    trained: Connection, settings: Settings, invariant: str, corruption: str
) -> None:
    assert violations(trained, settings, at_rest=True) == []

    trained.execute(corruption)  # type: ignore[arg-type]

    window = None if invariant in OF_LINEAGE else WINDOW
    assert (invariant, window) in violated(trained, settings)


def test_a_use_by_a_step_of_another_lineage_is_found(
    trained: Connection, settings: Settings
) -> None:
    lineage(trained, "other")
    trained.execute("UPDATE training.consumption SET lineage = 'other'")
    assert ("uses_of_another_step", WINDOW) in violated(trained, settings)


def test_a_connection_that_was_checked_can_write_again(
    trained: Connection, settings: Settings
) -> None:
    assert violations(trained, settings, at_rest=True) == []
    with trained.transaction():
        trained.execute("UPDATE training.windows SET updated_at = now()")
        assert trained.execute("SHOW transaction_isolation").fetchone() == ("read committed",)


def test_two_steps_in_work_are_found(connection: Connection, settings: Settings) -> None:
    lineage(connection)
    step(connection)
    assert violations(connection, settings) == []
    step(connection, base_step=1, target_step=2)
    assert violated(connection, settings) == {("steps_side_by_side", None)}


def test_no_invariant_is_without_a_test() -> None:
    of_rows = {"unaccounted_rows", "rows_without_window"}  # the latter: test_unopened_windows.py
    of_branches = {"uses_of_dead_branches", "used_twice_by_one_branch"}  # test_dead_branches.py
    freed = "freed_without_reward"  # promotion/test_freed_and_scored_anew.py
    assert set(names()) == {*CORRUPTIONS, *of_rows, *of_branches, freed, "steps_side_by_side"}


# --- rows that are neither scored nor rejected


@pytest.mark.parametrize("named", [WINDOW, None])
def test_a_row_is_waited_for_until_it_is_looked_for(
    connection: Connection, settings: Settings, named: str | None
) -> None:
    scored_window(connection)
    insert_trajectories(connection, [trajectory(named)])
    assert violations(connection, settings) == []
    assert violated(connection, settings, at_rest=True) == {("unaccounted_rows", WINDOW)}

    assert reject_late(connection, settings, limit=4, actor="test") == 1

    assert violations(connection, settings, at_rest=True) == []


def test_a_row_that_the_last_look_saw_and_left_out_is_found_whatever_its_createdat(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    insert_trajectories(connection, [trajectory(WINDOW)])
    connection.execute(
        "UPDATE training.windows SET late_checked_at = now(), late_snapshot = pg_current_snapshot()"
    )
    assert violated(connection, settings) == {("unaccounted_rows", WINDOW)}


def test_a_row_that_was_scored_elsewhere_and_moved_here_is_late(
    connection: Connection, settings: Settings
) -> None:
    row, *_ = scored_window(connection, hour(1), state="skipped")
    scored_window(connection, hour(2))
    connection.execute(
        'UPDATE trajectories SET "windowId" = %s WHERE "trajectoryId" = %s', (hour(2), row)
    )
    assert violated(connection, settings, at_rest=True) == {("unaccounted_rows", hour(2))}

    assert reject_late(connection, settings, limit=4, actor="test") == 1

    assert violations(connection, settings, at_rest=True) == []


def test_a_row_that_was_being_written_during_the_last_look_is_waited_for(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    with connect(settings) as slow, slow.transaction():
        insert_trajectories(slow, [trajectory(WINDOW)])
        reject_late(connection, settings, limit=4, actor="test")
    assert violations(connection, settings) == []

    connection.execute("UPDATE training.windows SET late_checked_at = now() - interval '1 s'")
    assert reject_late(connection, settings, limit=4, actor="test") == 1


def test_a_window_that_nothing_looks_at_in_time_is_found(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(lookback_hours=48)
    scored_window(connection)
    insert_trajectories(connection, [trajectory(WINDOW)])
    waited = "UPDATE training.windows SET scored_at = now() - make_interval(secs => %s)"
    connection.execute(waited, [patience_seconds(settings) - 60])
    assert violations(connection, settings) == []
    connection.execute(waited, [patience_seconds(settings)])
    assert violated(connection, settings) == {("unaccounted_rows", WINDOW)}


def test_late_rows_of_old_hours_are_looked_for_in_turn(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(lookback_hours=1, grace_seconds=60)
    for number in (1, 2):
        scored_window(connection, hour(number))
        insert_trajectories(connection, [trajectory(hour(number))])
    connection.execute("UPDATE training.windows SET scored_at = now() - interval '1 year'")

    looks = [reject_late(connection, settings, limit=4, actor="test") for _ in range(3)]

    assert looks == [1, 1, 0]
    assert violations(connection, settings, at_rest=True) == []


def test_a_window_that_was_scored_anew_since_its_last_look_is_looked_at_in_time(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    scored_window(connection)
    connection.execute(
        "UPDATE training.windows SET late_checked_at = now() - interval '2 days',"
        " late_snapshot = pg_current_snapshot()"
    )
    insert_trajectories(connection, [trajectory(WINDOW)])
    assert violations(connection, make_settings(lookback_hours=48)) == []
