"""What Babylon restores after it had deleted it is not learned from once more."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from factories import EVER, exact_call, insert_trajectories, step, trajectory
from peer import PeerTrainer
from scored_windows import column, hour

from babylon_tasks.db import old_rows
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(
        lookback_hours=int(EVER),
        max_staleness_hours=int(EVER),
        grace_seconds=0,
        held_out_share=0,
        outcome_wait_hours=0,
    )


def trained(connection: Connection, settings: Settings, window: str) -> set[str]:
    """The trajectories of which the lineage learns in an hour."""
    for _ in range(2):  # an hour is sealed once its rows have not changed from one call to the next
        discover(settings, actor="test")
    score_window(settings, window, actor="test")
    trainer = PeerTrainer(settings.data_dir)
    assert train_window(settings, trainer, window=window, actor="test").step
    (made,) = column(connection, "SELECT manifest FROM training.steps ORDER BY id DESC LIMIT 1")
    return {one["trajectory_id"] for group in made["groups"] for one in group["members"]}  # type: ignore[index]


def played(connection: Connection, window: str, *, began: str) -> list[str]:
    rows = []
    for number in range(4):
        steps = [step(0, [exact_call("YES")], window=began)]
        made = trajectory(began, f"agent-{number}", steps, final_pnl=200.0 * number)
        rows.append(made | {"windowId": window})
    return insert_trajectories(connection, rows)


def test_what_babylon_deleted_before_its_use_was_pruned_is_not_used_again_once_restored(
    connection: Connection, settings: Settings
) -> None:
    # As of a recorder that names the hour in which it writes: hour 0 has no rows and no window.
    ids = played(connection, hour(1), began=hour(0))
    assert trained(connection, settings, hour(1)) == set(ids)
    rows = column(connection, "DELETE FROM trajectories RETURNING to_jsonb(trajectories)")
    assert old_rows.prune(connection, hour(1), 0, actor="test")
    assert violations(connection, settings) == []

    others = played(connection, hour(2), began=hour(2))
    for row in rows:
        connection.execute(
            "INSERT INTO trajectories SELECT * FROM jsonb_populate_record("
            "NULL::trajectories, %s::jsonb || %s)",
            (json.dumps(row), json.dumps({"windowId": hour(2), "usedInTraining": False})),
        )

    assert trained(connection, settings, hour(2)) == set(others)
    left = column(connection, "SELECT window_id FROM training.scores")
    assert set(left) == {hour(2)}, "of what was deleted the use alone stays"
    assert violations(connection, settings) == []
