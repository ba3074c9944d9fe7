"""Each trajectory is used once, whatever happens between the steps that share a window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from factories import WINDOW, fill_window, insert
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db import windows
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline import train as pipeline
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

MANY = [number / 12 for number in range(12)]


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """A step takes one group, the smallest share of a window."""
    return make_settings(
        grace_seconds=0,
        retry_delay_seconds=0,
        max_group_size=4,
        step_token_budget=1,
        lookback_hours=1_000_000,
        upkeep_interval_seconds=0.001,
    )


def train(
    settings: Settings, trainer: PeerTrainer | None = None, window: str | None = None
) -> TrainOutcome:
    trainer = trainer or PeerTrainer(settings.data_dir)
    return train_window(settings, trainer, window=window, actor="test")


def steps_of(connection: Connection) -> dict[str, int]:
    """Trajectory to the checkpoint that it went into."""
    rows = connection.execute(
        "SELECT c.trajectory_id, s.target_step FROM training.consumption c"
        " JOIN training.steps s ON s.id = c.step_id WHERE s.state = 'committed'"
    ).fetchall()
    return dict(rows)


def crash(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ends between the checkpoint and its commit."""

    def end(*_: Any, **__: Any) -> None:
        raise SystemExit(1)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "commit_step", end)
        with pytest.raises(SystemExit):
            train(settings)


def test_a_crash_between_a_partial_steps_commit_and_the_next_loses_and_repeats_nothing(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = scored_window(connection, rewards=MANY)
    train(settings)
    first = steps_of(connection)
    crash(settings, monkeypatch)
    assert windows.get(connection, WINDOW).state == "training"

    actions = [train(settings).action for _ in range(3)]

    assert actions == ["adopted", "committed", "idle"]
    used = steps_of(connection)
    assert used.items() >= first.items()
    assert sorted(used) == sorted(ids)
    assert sorted(used.values()) == [1] * 4 + [2] * 4 + [3] * 4
    assert windows.get(connection, WINDOW).state == "trained"


def test_a_partial_step_that_was_interrupted_is_run_again_with_the_groups_that_it_had(
    connection: Connection, settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    scored_window(connection, rewards=MANY)
    train(settings)
    train(settings, PeerTrainer(settings.data_dir, falls="before_writing"))
    planned = column(connection, "SELECT manifest FROM training.steps WHERE state = 'running'")
    # Grouped anew, other rules and one row fewer would make other groups of what is left.
    other = make_settings(retry_delay_seconds=0, max_group_size=2)
    connection.execute(
        'DELETE FROM trajectories WHERE "trajectoryId" NOT IN'
        " (SELECT trajectory_id FROM training.consumption)"
    )

    ended = train(other)

    assert (ended.action, ended.step) == ("committed", 2)
    assert (
        column(connection, "SELECT manifest FROM training.steps WHERE target_step = 2") == planned
    )


def test_a_partial_step_that_fails_gives_back_its_own_part_only(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY)
    train(settings)
    first = steps_of(connection)

    assert train(settings, PeerTrainer(settings.data_dir, falls="refuses")).action == "failed"

    assert column(
        connection, "SELECT trajectory_id FROM training.consumption ORDER BY 1"
    ) == sorted(first)
    assert windows.get(connection, WINDOW).state == "scored"
    assert [train(settings).action for _ in range(3)] == ["committed", "committed", "idle"]
    assert sorted(steps_of(connection)) == sorted(ids)


def test_a_window_that_gave_many_steps_has_as_many_tries_left_as_a_fresh_one(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, rewards=MANY)
    train(settings)
    train(settings)

    assert windows.get(connection, WINDOW).training_attempts == 0
    train(settings, PeerTrainer(settings.data_dir, falls="refuses"))
    assert windows.get(connection, WINDOW).state == "scored"


def move(connection: Connection, ids: list[str], window: str) -> None:
    """Babylon fills in another windowId; that hour is scored with it as well."""
    connection.execute(
        'UPDATE trajectories SET "windowId" = %s WHERE "trajectoryId" = ANY (%s)', (window, ids)
    )
    insert(
        connection,
        "training.scores",
        [
            {
                "trajectory_id": trajectory_id,
                "reward_version": 1,
                "window_id": window,
                "agent_id": "moved",
                "group_key": "",
                "scorer": "default",
                "scorer_version": "1",
                "reward": 0.5,
                "components": "{}",
                "content_hash": column(
                    connection,
                    "SELECT content_hash FROM training.scores WHERE trajectory_id = %s",
                    trajectory_id,
                )[0],
            }
            for trajectory_id in ids
        ],
    )


def test_what_was_scored_in_two_hours_is_used_in_the_one_that_it_belongs_to(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings()
    first = scored_window(connection, hour(1))
    second = scored_window(connection, hour(2))
    move(connection, first[:2], hour(2))

    assert train(settings).windows == [hour(1), hour(2)]

    rows = connection.execute(
        "SELECT trajectory_id, window_id FROM training.consumption"
    ).fetchall()
    assert dict(rows) == dict.fromkeys(first[2:], hour(1)) | dict.fromkeys(
        [*first[:2], *second], hour(2)
    )
    refused = connection.execute("SELECT trajectory_id, window_id, reason FROM training.rejections")
    assert sorted(refused.fetchall()) == sorted((one, hour(1), "moved") for one in first[:2])


def test_what_was_used_in_one_hour_is_not_used_again_in_another(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings()
    first = scored_window(connection, hour(1))
    train(settings)
    second = scored_window(connection, hour(2))
    move(connection, first[:2], hour(2))

    assert train(settings).windows == [hour(2)]
    assert steps_of(connection) == dict.fromkeys(first, 1) | dict.fromkeys(second, 2)
    assert windows.get(connection, hour(2)).state == "trained"


def test_a_rewritten_row_is_scored_anew_and_taken_with_the_reward_of_what_it_says_now(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(
        lookback_hours=1_000_000, upkeep_interval_seconds=0.001, grace_seconds=0
    )
    ids = fill_window(connection, agents=12)
    discover(settings, actor="test")
    score_window(settings, WINDOW, actor="test")
    connection.execute(
        'UPDATE trajectories SET "finalPnL" = -"finalPnL" WHERE "trajectoryId" = ANY (%s)',
        (ids[:2],),
    )

    assert train(settings).action == "committed"
    assert sorted(steps_of(connection)) == sorted(ids[2:])
    assert reconcile(settings, actor="test").anew == [WINDOW]
    score_window(settings, WINDOW, actor="test")
    assert train(settings).action == "committed"

    versions = connection.execute(
        "SELECT trajectory_id, reward_version FROM training.consumption"
    ).fetchall()
    assert dict(versions) == dict.fromkeys(ids[:2], 2) | dict.fromkeys(ids[2:], 1)
    row = windows.get(connection, WINDOW)
    assert (row.state, row.score_anew, row.changes, row.left_over) == ("trained", None, 1, 0)


def test_what_a_step_has_used_keeps_its_reward_when_its_window_is_scored_anew(
    connection: Connection, settings: Settings
) -> None:
    ids = fill_window(connection, agents=12)
    discover(settings, actor="test")
    score_window(settings, WINDOW, actor="test")
    train(settings)
    used = steps_of(connection)
    before = connection.execute(
        "SELECT trajectory_id, reward_version, reward FROM training.scores ORDER BY 1"
    ).fetchall()

    connection.execute("UPDATE training.windows SET rescore = 'outcomes came or changed'")
    connection.execute(
        'UPDATE trajectories SET "finalPnL" = -"finalPnL" WHERE "trajectoryId" <> ALL (%s)',
        ([*used],),
    )
    assert reconcile(settings, actor="test").anew == [WINDOW]
    score_window(settings, WINDOW, actor="test")
    while train(settings).action == "committed":
        pass

    versions = dict(
        connection.execute(
            "SELECT trajectory_id, reward_version FROM training.consumption"
        ).fetchall()
    )
    assert versions == dict.fromkeys(ids, 2) | dict.fromkeys(used, 1)
    after = connection.execute(
        "SELECT trajectory_id, reward_version, reward FROM training.scores ORDER BY 1"
    ).fetchall()
    assert set(before) < set(after)
    planned = column(
        connection,
        "SELECT DISTINCT jsonb_path_query(manifest, '$.groups[*].members[*].reward_version')"
        " FROM training.steps WHERE target_step > 1",
    )
    assert planned == [2]
    assert windows.get(connection, WINDOW).state == "trained"
