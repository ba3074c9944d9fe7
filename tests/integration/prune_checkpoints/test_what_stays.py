"""Old checkpoints go; what serves, may serve again, is compared with or trained from stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from factories import rewrite
from peer import PeerTrainer
from pruned_checkpoints import LINEAGE, promote, pruned, trained
from scored_windows import hour, scored_window
from training_steps import kinds

from babylon_tasks.arms import Arms
from babylon_tasks.db import arms
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import CheckpointNotFound
from babylon_tasks.pipeline import prune_checkpoints as pruning
from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.pipeline.prune_checkpoints import prune_checkpoints
from babylon_tasks.pipeline.results import PrunedCheckpoints
from babylon_tasks.pipeline.start_trainer import start_trainer
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import steps_on_disk


def test_the_newest_ones_what_serves_and_what_served_before_stay(
    connection: Connection,
    settings: Settings,
    trainer: PeerTrainer,
    prune: Callable[..., PrunedCheckpoints],
) -> None:
    trained(connection, settings, trainer, 8)
    for step in (1, 2, 3, 4):
        promote(connection, step)

    found = prune()

    assert steps_on_disk(trainer.folder) == [2, 3, 4, 7, 8], "4 serves; after it 3, then 2"
    assert pruned(connection) == [1, 5, 6]
    assert (found.marked, found.deleted, found.optimizers) == ([1, 5, 6], [1, 5, 6], [2, 3, 7])
    assert kinds(connection).count("checkpoint_pruned") == 3
    assert violations(connection, settings) == []
    assert prune() == PrunedCheckpoints(), "nothing is left to do"


def test_what_was_rolled_back_from_is_no_fallback_and_what_it_was_rolled_back_to_is(
    connection: Connection, settings: Settings, trainer: PeerTrainer, prune: Callable[..., object]
) -> None:
    trained(connection, settings, trainer, 6)
    promote(connection, 1)
    promote(connection, 2)
    assert serving.rollback(connection, LINEAGE, reason="a test", actor="test") == 1
    promote(connection, 3)
    promote(connection, 4)

    prune(keep_checkpoints=1)

    assert steps_on_disk(trainer.folder) == [1, 3, 4, 6], "4 serves; after it 3, then 1"


def test_a_rollback_returns_to_what_served_before(
    connection: Connection, settings: Settings, trainer: PeerTrainer, prune: Callable[..., object]
) -> None:
    trained(connection, settings, trainer, 6)
    promote(connection, 1)
    promote(connection, 6)
    prune(keep_checkpoints=1)

    assert serving.rollback(connection, LINEAGE, reason="a test", actor="test") == 1
    start_trainer(settings, trainer, actor="test")
    assert serving.serving(connection, LINEAGE).step == 1, "its files are whole"


def test_the_best_of_the_last_evaluation_stays(
    connection: Connection,
    settings: Settings,
    trainer: PeerTrainer,
    prune: Callable[..., PrunedCheckpoints],
) -> None:
    for n in range(3):
        scored_window(connection, f"2026-01-30T{n:02d}:00", state="held_out", model="anyone")
    trainer.values = {0: 0.1, 1: 0.2, 2: 0.9, 3: 0.1, 4: 0.1, 5: 0.1}
    for n in range(1, 6):
        scored_window(connection, hour(n))
        train_window(settings, trainer, window=hour(n), actor="test")
        evaluate(settings, trainer, actor="test")
    serving.rollback(connection, LINEAGE, reason="a test", actor="test", to=1)
    # Values on other windows do not compare with these.
    rewrite(
        connection,
        "evaluations",
        "UPDATE training.evaluations SET set_hash = 'easier windows', value = 0.95 WHERE step = 3",
    )
    # Nor do values on hours that were trained on, which looking back compares.
    connection.execute(
        """
        INSERT INTO training.evaluations (lineage, step, set_hash, windows, groups, value, coverage,
                                          entropy, group_values)
        SELECT lineage, 4, 'the hours since', ARRAY[%s], groups, 0.95, coverage, entropy,
               group_values FROM training.evaluations WHERE step = 2 LIMIT 1
        """,
        (hour(1),),
    )

    prune(keep_checkpoints=1)

    assert steps_on_disk(trainer.folder) == [1, 2, 5]


def test_what_agents_in_other_arms_get_stays_as_long_as_the_arms_count(
    connection: Connection, settings: Settings, trainer: PeerTrainer, prune: Callable[..., object]
) -> None:
    trained(connection, settings, trainer, 5)
    tried = {"salt": "s", "control_share": 0.1, "examinee_share": 0.1}
    for hour_, control, examinee in ((hour(1), 0, 1), (hour(2), 2, 3), ("9999-01-01T00:00", 2, 4)):
        arms.begin(
            connection,
            LINEAGE,
            Arms(from_window=hour_, control_step=control, examinee_step=examinee, **tried),
        )

    prune(keep_checkpoints=1)
    assert steps_on_disk(trainer.folder) == [2, 3, 4, 5], "those of 1 ended when 2's began"

    arms.begin(connection, LINEAGE, Arms(from_window=hour(3), salt="none"))
    prune(keep_checkpoints=1)
    assert steps_on_disk(trainer.folder) == [5]


def test_a_pruned_checkpoint_is_refused_by_name_and_what_serves_keeps_serving(
    connection: Connection, settings: Settings, trainer: PeerTrainer, prune: Callable[..., object]
) -> None:
    trained(connection, settings, trainer, 4)
    promote(connection, 4)
    prune()

    with pytest.raises(CheckpointNotFound, match=r"babylon@1 was pruned at .* babylon@4 keeps"):
        promote(connection, 1)
    with pytest.raises(CheckpointNotFound, match="babylon@2 was pruned at"):
        serving.rollback(connection, LINEAGE, reason="a test", actor="test", to=2)
    assert serving.serving(connection, LINEAGE).step == 4


def test_a_dry_run_lists_what_would_go_and_changes_nothing(
    connection: Connection, settings: Settings, trainer: PeerTrainer, prune: Callable[..., object]
) -> None:
    trained(connection, settings, trainer, 4)
    before = kinds(connection)

    announced = prune(dry_run=True)

    assert pruning.with_old_checkpoints(settings) == [LINEAGE]
    assert steps_on_disk(trainer.folder) == [1, 2, 3, 4]
    assert pruned(connection) == []
    assert kinds(connection) == before
    assert announced == prune()
    assert pruning.with_old_checkpoints(settings) == []


def test_answers_of_what_has_served_can_be_scored_again_as_long_as_they_are_fresh(
    connection: Connection,
    make_settings: Callable[..., Settings],
    settings: Settings,
    trainer: PeerTrainer,
) -> None:
    trained(connection, settings, trainer, 1)
    for n in range(2, 8):
        promote(connection, n - 1)
        scored_window(connection, hour(n))
        train_window(settings, trainer, window=hour(n), actor="test")
    promote(connection, 7)
    rescored = make_settings(keep_checkpoints=1, logprobs="exact,rescored", max_staleness_steps=4)

    prune_checkpoints(rescored, lambda: trainer, actor="test")

    assert steps_on_disk(trainer.folder) == [3, 4, 5, 6, 7]


def test_nothing_is_pruned_of_a_lineage_that_does_not_exist(
    prune: Callable[..., PrunedCheckpoints], settings: Settings
) -> None:
    assert prune() == PrunedCheckpoints()
    assert pruning.with_old_checkpoints(settings) == []
