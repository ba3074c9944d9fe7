"""A rollback restores what served before, and nothing undoes it by itself."""

from __future__ import annotations

import pytest
from evaluated_checkpoints import LINEAGE, decisions, evaluated, held_out_windows, statuses, trained
from factories import rewrite
from peer import PeerTrainer
from scored_windows import column, hour

from babylon_tasks.arms import Arms
from babylon_tasks.db import arms, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import CheckpointNotFound
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings


def test_a_rollback_restores_what_served_before_and_is_not_undone_by_the_gate(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)
    evaluated(settings, trainer)

    back = serving.rollback(connection, LINEAGE, reason="agents complain", actor="operator")

    assert back == 0
    assert serving.serving(connection, LINEAGE).inference_name == "babylon@0"
    assert statuses(connection) == ["ready", "archived"]
    assert evaluated(settings, trainer).action == "idle"
    assert serving.serving(connection, LINEAGE).step == 0


def test_a_rollback_goes_back_to_what_the_newest_promotion_replaced(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    """Checkpoint 2 came after 1 at first, and after 0 when it was promoted again manually."""
    for n in (1, 2):
        trained(connection, settings, trainer, n)
    for step in (1, 2):
        serving.promote(connection, LINEAGE, step, reason="r", figures={}, actor="operator")
    serving.rollback(connection, LINEAGE, reason="r", actor="operator", to=0)
    serving.promote(connection, LINEAGE, 2, reason="r", figures={}, actor="operator")

    assert serving.rollback(connection, LINEAGE, reason="r", actor="operator") == 0


@pytest.mark.parametrize("clock", ["steady", "set back"])
def test_a_checkpoint_that_was_rolled_back_is_not_sent_to_evaluation(
    connection: Connection, settings: Settings, trainer: PeerTrainer, clock: str
) -> None:
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)
    evaluated(settings, trainer)
    if clock == "set back":  # between the commit and the promotion
        rewrite(
            connection,
            "promotions",
            "UPDATE training.promotions SET decided_at = decided_at - interval '1 day'",
        )
        connection.execute(
            "UPDATE training.checkpoints SET created_at = created_at - interval '1 hour'"
        )
    else:
        connection.execute(
            "UPDATE training.checkpoints SET created_at = created_at - interval '1 day'"
        )

    serving.rollback(connection, LINEAGE, reason="agents complain", actor="operator")

    assert not reconcile(settings, actor="test").unevaluated


def test_a_rollback_between_two_checkpoints_swaps_their_marks(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        serving.promote(connection, LINEAGE, n, reason="manual", figures={}, actor="operator")
    assert statuses(connection) == ["archived", "archived", "ready"]

    serving.rollback(connection, LINEAGE, reason="worse", actor="operator")

    assert statuses(connection) == ["archived", "ready", "archived"]
    cleared = column(connection, "SELECT \"archivedAt\" FROM trained_models WHERE status = 'ready'")
    assert cleared == [None]


def test_only_committed_checkpoints_can_serve(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    serve(settings, trainer)

    with pytest.raises(CheckpointNotFound, match="babylon@7 is not a committed checkpoint"):
        serving.promote(connection, LINEAGE, 7, reason="x", figures={}, actor="operator")
    with pytest.raises(CheckpointNotFound, match="nothing to roll back to"):
        serving.rollback(connection, LINEAGE, reason="x", actor="operator")
    assert decisions(connection) == []


def test_a_rollback_is_one_act(
    connection: Connection,
    settings: Settings,
    trainer: PeerTrainer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pointer, Babylon's rows, the branch, its windows and its arms: all of it, or nothing."""
    for n in (1, 2, 3):
        trained(connection, settings, trainer, n)
        serving.promote(connection, LINEAGE, n, reason="r", figures={}, actor="operator")
    drawn = Arms(
        from_window="2026-01-01T00:00",
        salt="s",
        control_share=0.1,
        control_step=1,
        examinee_share=0.1,
        examinee_step=3,
    )
    arms.begin(connection, LINEAGE, drawn)
    before = everything(connection)

    def fail(*_: object) -> None:
        raise RuntimeError("the worker is killed here")

    with monkeypatch.context() as patch:
        patch.setattr(arms, "end_those_of", fail)
        with pytest.raises(RuntimeError):
            serving.rollback(connection, LINEAGE, reason="harm", actor="rule")
    assert everything(connection) == before

    shown = {"windows": [hour(2), hour(3)]}
    back = serving.rollback(
        connection, LINEAGE, reason="harm", actor="rule", to=1, figures=shown, instead_of=3
    )

    assert back == 1
    assert everything(connection) == {
        "serving": [1],
        "babylon": ["ready", "archived", "archived"],
        "dead": [2, 3],
        "windows": ["trained", "scored", "scored"],
        "arms": [(0.1, 1, 0.1, 3), (0.1, 1, 0.0, None)],
    }
    last = promotions.latest(connection, LINEAGE)
    assert last is not None
    assert (last.decision, last.from_step, last.reason, last.figures) == (
        "rollback",
        3,
        "harm",
        {"refused": "harm", **shown},
    )


def test_what_showed_the_harm_is_not_reported_to_babylon_as_of_the_one_that_serves_again(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        shown = {"candidate": n / 10}
        serving.promote(connection, LINEAGE, n, reason="r", figures=shown, actor="operator")

    serving.rollback(connection, LINEAGE, reason="r", actor="rule", figures={"candidate": 0.0})

    reported = 'SELECT "evalMetrics" ->> \'candidate\' FROM trained_models ORDER BY "modelId"'
    assert column(connection, reported) == [None, "0.1", "0.2"]


def everything(connection: Connection) -> dict[str, list[object]]:
    """What a rollback changes."""
    return {
        "serving": column(connection, "SELECT serving_step FROM training.lineages"),
        "babylon": statuses(connection)[-3:],
        "dead": column(
            connection,
            "SELECT step FROM training.checkpoints WHERE dead_at IS NOT NULL ORDER BY step",
        ),
        "windows": column(
            connection,
            "SELECT state FROM training.windows WHERE state <> 'held_out' ORDER BY window_id",
        ),
        "arms": connection.execute(
            "SELECT control_share, control_step, examinee_share, examinee_step"
            " FROM training.arms ORDER BY id"
        ).fetchall(),
    }
