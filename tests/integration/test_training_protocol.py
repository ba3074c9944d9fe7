"""Exactly one training step per window: what is trained, and what teaches nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from factories import WINDOW, llm_call
from scored_windows import column, hour, scored_window
from training_steps import kinds, peer, state, train

from babylon_tasks.db import lineages, window_transitions, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=3, lease_seconds=30)


# --- the straight way


def test_a_scored_window_becomes_one_committed_step(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)

    outcome = train(settings, peer(settings), WINDOW)

    assert (outcome.action, outcome.windows, outcome.step) == ("committed", [WINDOW], 1)
    assert outcome.result is not None
    assert (outcome.result.gradient_steps, outcome.result.trainable_tokens) == (1, 12)
    assert state(connection) == "trained"
    lineage = lineages.get(connection, "babylon")
    assert lineage is not None
    assert (lineage.head_step, lineage.serving_step, lineage.leased) == (1, 0, False)
    assert lineage.inference_base_url == "http://127.0.0.1:8100/v1"
    used = column(
        connection, "SELECT trajectory_id FROM training.consumption WHERE use = 'trained'"
    )
    assert sorted(map(str, used)) == sorted(ids)
    assert column(connection, "SELECT step FROM training.checkpoints ORDER BY step") == [0, 1]
    assert kinds(connection) == [
        "grouped",
        "step_planned",
        "step_running",
        "step_trained",
        "trained",
        "step_committed",
    ]


def test_a_second_message_for_the_same_window_changes_nothing(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    train(settings, peer(settings), WINDOW)

    again = train(settings, peer(settings), WINDOW)

    assert (again.action, again.step) == ("skipped", 1)
    assert again.reason == f"window {WINDOW} is trained"
    assert column(connection, "SELECT count(*) FROM training.steps") == [1]


def test_babylon_finds_the_step_in_its_own_tables(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)

    train(settings, peer(settings))

    marks = connection.execute(
        'SELECT DISTINCT "usedInTraining", "trainedInBatch", "updatedAt" > "createdAt"'
        " FROM trajectories"
    ).fetchall()
    assert marks == [(True, "babylon@1", True)]
    batch = connection.execute(
        'SELECT id, "batchId", "scenarioId", "baseModel", "modelVersion", "trajectoryIds",'
        ' "rewardsJson", "trainingLoss", status, "startedAt" <= "completedAt"'
        " FROM training_batches"
    ).fetchone()
    assert batch is not None
    assert batch[:5] == ("babylon@1", "babylon@1", WINDOW, settings.base_model, "v1.0.1")
    assert sorted(json.loads(batch[5])) == sorted(ids)
    assert sorted(json.loads(batch[6])) == [0.0, 0.25, 0.75, 1.0]
    assert batch[7:] == (0.5, "completed", True)
    model = connection.execute(
        'SELECT id, "modelId", "baseModel", "trainingBatch", status, "avgReward", "storagePath"'
        " FROM trained_models WHERE \"modelId\" = 'babylon@1'"
    ).fetchone()
    base = settings.base_model
    assert model == ("babylon@1", "babylon@1", base, "babylon@1", "training", 0.5, "babylon@1")


def test_a_backlog_is_trained_in_one_step_up_to_the_limit_oldest_first(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(max_windows_per_step=2)
    for number in (3, 1, 2):
        scored_window(connection, hour(number))

    first, second, third = (train(settings, peer(settings)) for _ in range(3))

    assert first.windows == [hour(1), hour(2)]
    assert second.windows == [hour(3)]
    assert third.action == "idle"


def test_the_token_budget_ends_a_step_but_never_cuts_a_window(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(max_windows_per_step=4, step_token_budget=1)
    scored_window(connection, hour(1))
    scored_window(connection, hour(2))

    assert train(settings, peer(settings)).windows == [hour(1)]


def test_the_learning_rate_and_the_manifest_reach_the_trainer(
    connection: Connection, settings: Settings
) -> None:
    trainer = peer(settings)
    for number in (1, 2):
        scored_window(connection, hour(number))
        train(settings, trainer, hour(number))

    rates = [request.learning_rate for request in trainer.requests]
    assert rates == [settings.learning_rate] * 2  # nothing was promoted: both begin at the base
    hashes = column(connection, "SELECT manifest_hash FROM training.steps ORDER BY id")
    assert [request.manifest_hash for request in trainer.requests] == hashes
    assert len(set(hashes)) == 2


def test_what_is_set_of_the_loss_reaches_the_trainer_by_the_manifest(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    loss = {
        "kl_coefficient": 0.125,
        "seed": 7,
        "scale_rewards": False,
        "max_importance_ratio": 3.0,
        "advantage_balance": 0.25,
    }
    settings = make_settings(**loss)
    trainer = peer(settings)
    scored_window(connection)

    train(settings, trainer)

    [config] = column(connection, "SELECT manifest -> 'config' FROM training.steps")
    asked = msgspec.structs.asdict(trainer.requests[0])
    assert [config | loss, asked | loss] == [config, asked]


def test_dead_branches_make_neither_the_data_nor_the_learning_rate_older(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(max_staleness_steps=1, retry_delay_seconds=0)
    trainer = peer(settings)
    for number in range(5):  # all but the first are held: they serve nobody
        scored_window(connection, hour(number), model=f"babylon@{min(number, 1)}")
        assert train(settings, trainer, hour(number)).action == "committed"
        connection.execute("UPDATE training.lineages SET serving_step = 1")
    scored_window(connection, hour(5), model="babylon@0")

    assert train(settings, trainer, hour(5)).action == "committed"
    rates = [request.learning_rate for request in trainer.requests]
    assert rates[0] > rates[1]
    assert set(rates[1:]) == {rates[1]}


# --- nothing to learn


def test_equal_rewards_commit_no_step_and_the_window_says_why(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=(0.5, 0.5, 0.5))
    trainer = peer(settings)

    outcome = train(settings, trainer, WINDOW)

    assert (outcome.action, outcome.reason) == ("skipped", f"{WINDOW}: no_spread")
    row = windows.get(connection, WINDOW)
    assert (row.state, row.reason) == ("skipped", "no_spread")
    assert trainer.requests == []
    assert column(connection, "SELECT count(*) FROM training.steps") == [0]
    uses = connection.execute("SELECT use, count(*) FROM training.consumption GROUP BY use")
    assert uses.fetchall() == [("no_spread", len(ids))]


@pytest.mark.parametrize(
    ("recorded", "reason"),
    [
        ({"model": "qwen/qwen3-32b"}, "other_policy"),
        ({"model": "babylon@9"}, "future_policy"),
        ({"calls": [llm_call(model="babylon@0")]}, "no_logprobs"),
    ],
)
def test_a_window_without_a_usable_call_is_skipped_and_each_trajectory_has_its_reason(
    connection: Connection, settings: Settings, recorded: dict[str, Any], reason: str
) -> None:
    ids = scored_window(connection, **recorded)

    outcome = train(settings, peer(settings), WINDOW)

    assert outcome.reason == f"{WINDOW}: {reason}"
    rows = connection.execute("SELECT trajectory_id, stage, reason FROM training.rejections")
    assert sorted(rows.fetchall()) == sorted((one, "dataset", reason) for one in ids)


def test_the_operator_may_train_without_logprobs_and_the_step_is_labelled_so(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(logprobs="exact,none")
    scored_window(connection, calls=[llm_call(model="babylon@0")])
    trainer = peer(settings, falls="refuses")

    train(settings, trainer, WINDOW)

    assert trainer.requests[0].logprobs == "none"
    assert column(connection, "SELECT manifest ->> 'logprobs' FROM training.steps") == ["none"]


def test_deleted_trajectories_are_named_and_the_rest_is_trained(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)
    connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = %s', [ids[1]])

    assert train(settings, peer(settings), WINDOW).action == "committed"
    rows = connection.execute("SELECT trajectory_id, reason FROM training.rejections").fetchall()
    assert rows == [(ids[1], "deleted")]


def test_a_success_that_trained_nothing_is_no_step(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    trainer = peer(settings, falls="idle")

    outcomes = [train(settings, trainer) for _ in range(4)]

    assert [outcome.action for outcome in outcomes] == ["failed", "failed", "failed", "idle"]
    assert trainer.backend_step().step == 0
    row = windows.get(connection, WINDOW)
    assert row.state == "failed"
    assert row.reason is not None
    assert "no gradient step" in row.reason
    assert column(connection, "SELECT count(*) FROM training.consumption") == [0]
    assert column(connection, "SELECT DISTINCT state FROM training.steps") == ["failed"]


def test_a_window_that_failed_for_good_can_be_retried_manually(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    for _ in range(3):
        train(settings, peer(settings, falls="refuses"))
    assert state(connection) == "failed"

    assert window_transitions.retry(connection, WINDOW, actor="test") == "scored"
    assert train(settings, peer(settings), WINDOW).action == "committed"


def test_what_was_used_up_stays_so_when_the_rest_of_its_window_is_planned_again(
    connection: Connection, settings: Settings
) -> None:
    flat = scored_window(connection, rewards=(0.5, 0.5), key="flat")
    ids = scored_window(connection, key="steep")
    train(settings, peer(settings, falls="refuses"), WINDOW)

    assert train(settings, peer(settings), WINDOW).action == "committed"
    uses = connection.execute("SELECT trajectory_id, use FROM training.consumption").fetchall()
    assert dict(uses) == dict.fromkeys(flat, "no_spread") | dict.fromkeys(ids, "trained")


def test_a_window_that_failed_before_is_tried_alone(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, hour(1))
    scored_window(connection, hour(2))
    train(settings, peer(settings, falls="refuses"))
    scored_window(connection, hour(3))

    assert train(settings, peer(settings)).windows == [hour(1)]
    assert train(settings, peer(settings), hour(3)).windows == [hour(3)]
    assert train(settings, peer(settings)).windows == [hour(2)]
