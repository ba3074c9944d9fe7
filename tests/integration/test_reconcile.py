"""Reconcile restarts what has stopped: lost messages, dead workers, late rows; and counts it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from factories import EVER, WINDOW, fill_window, insert_trajectories, trajectory
from peer import PeerTrainer
from prometheus_client import REGISTRY
from scored_windows import column, hour, scored_window

from babylon_tasks import metrics
from babylon_tasks.actions import ReconcileAction
from babylon_tasks.db import clock, lineages, windows
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(held_out_share=0, lookback_hours=int(EVER), grace_seconds=0)


def state(connection: Connection, window: str) -> str:
    return windows.get(connection, window).state


def written_now(connection: Connection, window: str) -> dict[str, object]:
    return trajectory(window, createdAt=clock.now(connection).replace(tzinfo=None))


def forget_messages(connection: Connection) -> None:
    """As if the last message had been sent long ago."""
    connection.execute("UPDATE training.windows SET enqueued_at = now() - interval '1 hour'")


# --- lost messages and dead workers


def test_a_lost_message_is_sent_again(connection: Connection, settings: Settings) -> None:
    fill_window(connection)
    discover(settings, actor="test")
    scored_window(connection, hour(1))
    forget_messages(connection)

    again = reconcile(settings, actor="test")

    assert (again.to_score, again.to_train) == ([WINDOW], [hour(1)])
    assert reconcile(settings, actor="test").to_score == []


def test_a_window_whose_scorer_died_is_given_back_and_after_the_last_attempt_failed(
    connection: Connection, settings: Settings
) -> None:
    for number, attempt in ((1, 1), (2, settings.max_attempts)):
        scored_window(connection, hour(number), state="scoring")
        connection.execute(
            "UPDATE training.windows SET attempt = %s, lease_owner = 'gone',"
            " lease_until = now() - interval '1 second' WHERE window_id = %s",
            (attempt, hour(number)),
        )
    scored_window(connection, hour(3), state="scoring")
    connection.execute(
        "UPDATE training.windows SET lease_until = now() + interval '1 hour' WHERE window_id = %s",
        [hour(3)],
    )

    found = reconcile(settings, actor="test")

    assert (found.released, found.failed, found.to_score) == ([hour(1)], [hour(2)], [hour(1)])
    assert state(connection, hour(3)) == "scoring"
    assert "lost" in str(windows.get(connection, hour(2)).reason)


def test_nothing_is_sent_to_training_while_a_trainer_is_at_work(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    lineages.ensure(connection, settings)
    lease = lineages.claim(connection, "babylon", "one", 60)
    assert lease is not None
    assert reconcile(settings, actor="test").to_train == []

    lineages.release(connection, lease)
    assert reconcile(settings, actor="test").to_train == [WINDOW]


def test_a_step_whose_worker_is_gone_is_sent_to_the_next_one(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(retry_delay_seconds=0)
    scored_window(connection)
    trainer = PeerTrainer(settings.data_dir, falls="after_writing")
    train_window(settings, trainer, window=WINDOW, actor="test")

    assert reconcile(settings, actor="test").to_train == [WINDOW]
    successor = PeerTrainer(settings.data_dir)
    assert train_window(settings, successor, window=WINDOW, actor="test").action == "adopted"
    forget_messages(connection)
    assert reconcile(settings, actor="test").to_train == []


# --- late rows


def test_rows_that_come_after_the_scoring_get_their_reason_and_stay_out(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    (late,) = insert_trajectories(connection, [written_now(connection, WINDOW)])

    assert reconcile(settings, actor="test").late == 1

    rows = connection.execute("SELECT trajectory_id, stage, reason FROM training.rejections")
    assert rows.fetchall() == [(late, "seal", "late")]
    connection.execute("UPDATE training.windows SET late_checked_at = NULL")
    assert reconcile(settings, actor="test").late == 0


def test_late_rows_without_a_window_id_belong_to_the_hour_in_which_they_started(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    starts = window_start(WINDOW).replace(tzinfo=None)
    moments = [starts, starts + timedelta(minutes=59), starts + timedelta(hours=1)]
    ids = insert_trajectories(
        connection, [trajectory(windowId=None, startTime=moment) for moment in moments]
    )

    assert reconcile(settings, actor="test").late == 2
    query = "SELECT trajectory_id FROM training.rejections ORDER BY trajectory_id"
    assert column(connection, query) == ids[:2]


def test_a_row_whose_window_is_corrected_to_one_already_scored_gets_its_reason(
    connection: Connection, settings: Settings
) -> None:
    """It was written in time, for another hour that nobody had looked at yet."""
    scored_window(connection)
    (moved,) = insert_trajectories(connection, [trajectory(hour(11))])
    connection.execute(
        'UPDATE trajectories SET "windowId" = %s WHERE "trajectoryId" = %s', (WINDOW, moved)
    )

    assert reconcile(settings, actor="test").late == 1


def test_late_rows_of_an_hour_that_failed_are_named_too(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, state="failed")
    insert_trajectories(connection, [written_now(connection, WINDOW)])

    assert reconcile(settings, actor="test").late == 1


def test_a_row_that_was_written_before_the_seal_and_committed_after_it_is_late(
    connection: Connection, settings: Settings
) -> None:
    fill_window(connection)
    with connect(settings) as slow, slow.transaction():
        (late,) = insert_trajectories(slow, [trajectory(WINDOW)])
        assert discover(settings, actor="test").sealed == [WINDOW]
        score_window(settings, WINDOW, actor="test")

    assert reconcile(settings, actor="test").late == 1
    assert column(connection, "SELECT trajectory_id FROM training.rejections") == [late]


# --- figures


def counted() -> dict[str, float]:
    """What Prometheus reads of reconcile, by action."""
    name = f"{metrics.RECONCILE_ACTIONS.describe()[0].name}_total"
    return {
        sample.labels["action"]: sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_each_repair_is_counted_under_its_own_name(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, hour(0))
    train_window(settings, PeerTrainer(settings.data_dir), window=hour(0), actor="test")
    connection.execute("UPDATE training.checkpoints SET created_at = now() - interval '1 hour'")
    for number, attempt in enumerate([1] * 2 + [settings.max_attempts] * 3, start=1):
        scored_window(connection, hour(number), state="scoring")
        connection.execute(
            "UPDATE training.windows SET attempt = %s, lease_until = now() - interval '1 second'"
            " WHERE window_id = %s",
            (attempt, hour(number)),
        )
    insert_trajectories(connection, [written_now(connection, hour(0)) for _ in range(4)])
    for number in range(6, 11):
        scored_window(connection, hour(number))
    for number in range(11, 17):
        scored_window(connection, hour(number))
        connection.execute(
            "UPDATE training.windows SET rescore = 'rows changed',"
            " scored_at = now() - interval '1 day' WHERE window_id = %s",
            [hour(number)],
        )
    before = counted()

    reconcile(settings, actor="test")

    after = counted()
    assert set(after) == set(ReconcileAction)
    assert {action: after[action] - before.get(action, 0) for action in after} == {
        "claim_released": 2,
        "window_failed": 3,
        "late_rejected": 4,
        "sent_to_score": 2 + 6,
        "sent_to_train": 5,
        "sent_to_evaluate": 1,
        "sealed_anew": 6,
    }
