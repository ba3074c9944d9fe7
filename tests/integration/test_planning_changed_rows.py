"""Rows that Babylon has changed since they were scored are refused, or scored anew."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import WINDOW, exact_call, fill_window, insert, step
from peer import PeerTrainer
from planned_steps import MANY, SOME_TOKENS, Make, manifest, refused, state, train, uses
from scored_windows import column, scored_window

from babylon_tasks.dataset import held_out
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.compared_groups import held_out_set
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.settings import Settings


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    return make_settings(retry_delay_seconds=0, max_group_size=4, step_token_budget=SOME_TOKENS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ('UPDATE trajectories SET "isEvaluation" = true', "evaluation_row"),
        ('UPDATE trajectories SET "isTrainingData" = false', "not_training_data"),
        (
            """UPDATE trajectories SET "usedInTraining" = true, "trainedInBatch" = 'another'""",
            "already_used",
        ),
        ("""UPDATE trajectories SET "windowId" = '2026-01-31T23:00'""", "moved"),
        ("DELETE FROM trajectories", "deleted"),
    ],
    ids=lambda value: value if " " not in value else "",
)
def test_a_row_that_must_not_be_used_any_more_is_refused_by_name_and_fails_no_other(
    connection: Connection, settings: Settings, change: str, reason: str
) -> None:
    ids = scored_window(connection, rewards=MANY[:4])
    connection.execute(change + ' WHERE "trajectoryId" = %s', [ids[1]])  # type: ignore[arg-type]

    assert train(settings).action == "committed"
    assert refused(connection) == {ids[1]: reason}
    assert uses(connection) == dict.fromkeys({*ids} - {ids[1]}, "trained")
    assert state(connection) == ("trained", None)


def rewrite(connection: Connection, trajectory_id: str, answer: str = "NO") -> None:
    steps = [step(0, [exact_call(answer, model="babylon@0")])]
    connection.execute(
        'UPDATE trajectories SET "stepsJson" = %s WHERE "trajectoryId" = %s',
        (json.dumps(steps), trajectory_id),
    )


def standing(connection: Connection) -> tuple[Any, ...]:
    row = connection.execute(
        "SELECT state, rescore, changes, left_over FROM training.windows"
    ).fetchone()
    assert row is not None
    return row


def test_a_row_that_was_rewritten_is_left_out_and_its_hour_is_to_be_scored_anew(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY[:4])
    rewrite(connection, ids[1])

    assert train(settings).action == "committed"
    assert uses(connection) == dict.fromkeys({*ids} - {ids[1]}, "trained")
    assert refused(connection) == {}
    assert standing(connection) == ("scored", "rows changed", 1, 1)
    assert "rows_changed" in column(connection, "SELECT kind FROM training.events")
    # Until it has been, no step touches it.
    assert train(settings).action == "idle"
    assert train(settings, window=WINDOW).action == "busy"


def test_an_hour_of_which_every_row_was_rewritten_waits_and_is_not_given_up(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY[:4])
    for one in ids:
        rewrite(connection, one)

    assert train(settings).reason == f"{WINDOW}: rows_changed"
    assert standing(connection) == ("scored", "rows changed", 1, 0)
    assert uses(connection) == refused(connection) == {}


def test_a_group_that_loses_its_spread_by_a_change_is_handled_as_any_other(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=(0.5, 0.5, 0.5, 1.0))
    rewrite(connection, ids[3])

    assert train(settings).reason == f"{WINDOW}: rows_changed"
    assert uses(connection) == dict.fromkeys(ids[:3], "no_spread")
    assert standing(connection) == ("scored", "rows changed", 1, 0)


def test_a_row_that_changes_again_and_again_is_refused_by_name(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY[:4])
    connection.execute("UPDATE training.windows SET changes = 3")
    rewrite(connection, ids[1])

    assert train(settings).action == "committed"
    assert refused(connection) == {ids[1]: "changed"}
    assert standing(connection) == ("trained", None, 3, 0)


def test_a_score_that_says_not_of_what_it_was_made_is_made_anew(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    connection.execute("UPDATE training.scores SET content_hash = NULL")

    assert train(settings).reason == f"{WINDOW}: rows_changed"


def test_a_window_that_is_scored_anew_while_it_is_planned_is_planned_from_its_new_rewards(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)

    class Slow(PeerTrainer):
        def inspect(self, *arguments: Any) -> Any:
            if not self.inspected:
                connection.execute("UPDATE training.windows SET reward_version = 2")
                connection.execute(
                    "INSERT INTO training.scores SELECT trajectory_id, 2, window_id, agent_id,"
                    " group_key, scorer, scorer_version, 1 - reward, components,"
                    " content_hash FROM training.scores"
                )
            return super().inspect(*arguments)

    assert train(settings, Slow(settings.data_dir)).action == "committed"
    rewards = {
        entry["trajectory_id"]: (entry["reward"], entry["reward_version"])
        for group in manifest(connection)["groups"]
        for entry in group["members"]
    }
    assert rewards == dict(zip(ids, [(1.0, 2), (0.75, 2), (0.25, 2), (0.0, 2)], strict=True))
    versions = column(connection, "SELECT DISTINCT reward_version FROM training.consumption")
    assert versions == [2]


def test_an_hour_is_closed_for_a_reason_of_its_newest_rewards(
    connection: Connection, settings: Settings
) -> None:
    """More of its rows were refused under the version before; they are not refused now."""
    scored_window(connection, rewards=[0.5] * 4)
    refusals = [
        {
            "trajectory_id": f"t-{number}",
            "window_id": WINDOW,
            "reward_version": 1,
            "stage": "dataset",
            "reason": "stale",
        }
        for number in range(5)
    ]
    insert(connection, "training.rejections", refusals)
    connection.execute("UPDATE training.windows SET reward_version = 2")
    connection.execute("UPDATE training.scores SET reward_version = 2")

    train(settings)

    assert state(connection) == ("skipped", "no_spread")


def test_a_rewritten_row_is_not_valued_by_the_reward_of_another_answer(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings()
    ids = scored_window(connection, state="held_out", model="anyone")
    rewrite(connection, ids[0])

    (group,) = held_out_set(connection, settings, actor="test")

    assert ids[0] not in {one.trajectory_id for one in group.members}
    assert len(group.members) == 3
    assert standing(connection) == ("held_out", "rows changed", 1, 0)


def test_once_a_row_of_an_hour_was_rewritten_no_further_group_of_it_is_read(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings()
    ids = {
        key: scored_window(connection, key=key, state="held_out", model="anyone")
        for key in ("a", "b")
    }
    (_, first, _), _ = held_out.order([(WINDOW, key, 4, 1.0) for key in ids], 16, 0.0)
    rewrite(connection, ids[first][0])

    (left,) = held_out_set(connection, settings, actor="test")

    assert (left.key, len(left.members)) == (first, 3)


def test_held_out_hours_that_were_rewritten_are_valued_again_once_they_are_scored_anew(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(
        lookback_hours=1_000_000,
        upkeep_interval_seconds=0.001,
        held_out_share=0.999,
        grace_seconds=0,
    )
    ids = fill_window(connection)
    discover(settings, actor="test")
    score_window(settings, WINDOW, actor="test")
    before = held_out_set(connection, settings, actor="test")
    for one in ids:
        rewrite(connection, one)
    connection.execute('UPDATE trajectories SET "finalPnL" = -"finalPnL"')

    assert held_out_set(connection, settings, actor="test") == ()
    assert reconcile(settings, actor="test").anew == [WINDOW]
    score_window(settings, WINDOW, actor="test")
    after = held_out_set(connection, settings, actor="test")

    assert len(before) == len(after) == 1
    first, last = (
        {one.trajectory_id: one.reward for one in groups[0].members} for groups in (before, after)
    )
    assert first.keys() == last.keys()
    assert sorted(first, key=first.__getitem__) == sorted(last, key=last.__getitem__)[::-1]
