"""A rollback restores what served before, and nothing undoes it by itself."""

from __future__ import annotations

import pytest
from evaluated_checkpoints import LINEAGE, decisions, evaluated, held_out_windows, statuses, trained
from peer import PeerTrainer
from scored_windows import column

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
        connection.execute(
            "UPDATE training.promotions SET decided_at = decided_at - interval '1 day'"
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
