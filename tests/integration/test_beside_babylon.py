"""Babylon's own training beside ours: noticed, with what to do, and not confused with ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from factories import insert, insert_trajectories, trajectory
from peer import PeerTrainer
from scored_windows import column, scored_window

from babylon_tasks.cli.babylon_checks import babylon
from babylon_tasks.cli.findings import Finding
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings


def batch(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "batchId": name,
        "baseModel": "unsloth/Qwen3-4B-128K",
        "modelVersion": "v1.0.1",
        "trajectoryIds": "[]",
        "rewardsJson": "[]",
        "status": "completed",
    }


def hours_ago(connection: Connection, hours: int) -> str:
    query = """SELECT to_char(now() AT TIME ZONE 'UTC' - make_interval(hours => %s),
                              'YYYY-MM-DD"T"HH24:00')"""
    return str(column(connection, query, hours)[0])


def insert_batch(connection: Connection, name: str, days_ago: int) -> None:
    insert(connection, "training_batches", [batch(name)])
    connection.execute(
        "UPDATE training_batches SET \"createdAt\" = now() AT TIME ZONE 'UTC'"
        ' - make_interval(days => %s) WHERE "batchId" = %s',
        [days_ago, name],
    )


def findings(connection: Connection) -> list[Finding]:
    return list(babylon(connection))


def test_our_own_steps_are_not_another_trainer_s(
    connection: Connection, settings: Settings
) -> None:
    window = hours_ago(connection, 5)
    scored_window(connection, window)
    outcome = train_window(settings, PeerTrainer(settings.data_dir), window=window, actor="test")
    assert outcome.action == "committed"
    assert [found.outcome for found in findings(connection)] == ["ok"]


def test_what_babylons_automation_wrote_is_counted_with_its_newest_moment(
    connection: Connection,
) -> None:
    insert_batch(connection, "batch-1", 2)
    insert_batch(connection, "batch-2", 1)
    insert_batch(connection, "batch-0", 30)
    newest = hours_ago(connection, 3)
    used = {"usedInTraining": True}
    rows = [
        trajectory(newest, **used, trainedInBatch="batch-2"),
        trajectory(hours_ago(connection, 9), **used),
        trajectory(hours_ago(connection, 24 * 9), **used, trainedInBatch="batch-0"),
        trajectory(newest),
    ]
    insert_trajectories(connection, rows)
    (found,) = findings(connection)
    assert found.outcome == "warn"
    (moment,) = column(connection, 'SELECT max("createdAt") FROM training_batches')
    assert f"2 batches (newest {moment:%Y-%m-%d %H:%M} UTC)" in found.detail
    assert f"2 trajectories (newest {newest[:10]} {newest[11:13]}:01 UTC)" in found.detail
    assert "models" not in found.detail
    assert "docs/quickstart.md" in str(found.todo)


def test_it_is_noticed_before_anything_of_ours_is_there(
    make_settings: Callable[..., Settings], babylon_database_url: str
) -> None:
    with connect(make_settings(DATABASE_URL=babylon_database_url)) as connection:
        assert [found.outcome for found in findings(connection)] == ["ok"]
        insert_batch(connection, "batch-1", 0)
        (found,) = findings(connection)
    assert found.outcome == "warn"
    assert "1 batches" in found.detail


@pytest.mark.parametrize("window", ["test-window", "2026-13-99T99:00", "9999-99-99T99:99"])
def test_a_window_id_that_is_no_hour_does_not_stop_the_look(
    connection: Connection, window: str
) -> None:
    insert_trajectories(connection, [trajectory(windowId=window, usedInTraining=True)])
    (found,) = findings(connection)
    assert found.check == "babylon"
