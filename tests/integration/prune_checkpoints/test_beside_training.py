"""Pruning and training beside each other: what a step needs stays, and pruning ends no step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from factories import rewrite
from peer import PeerTrainer
from pruned_checkpoints import LINEAGE, promote, trained
from scored_windows import hour, scored_window
from training_steps import work

from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.results import PrunedCheckpoints
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import steps_on_disk


def test_what_a_step_in_work_starts_from_stays(
    connection: Connection, settings: Settings, trainer: PeerTrainer, prune: Callable[..., object]
) -> None:
    trained(connection, settings, trainer, 4)
    promote(connection, 1)
    for step in (2, 3, 4):  # so that nothing but the step in work needs 1
        promote(connection, step)
    serving.rollback(connection, LINEAGE, reason="a test", actor="test", to=1)
    found: list[PrunedCheckpoints] = []

    def meanwhile() -> None:
        for step in (2, 3, 4):
            promote(connection, step)
        forgotten = "DELETE FROM training.promotions WHERE to_step = 1 OR from_step = 1"
        rewrite(connection, "promotions", forgotten)
        found.append(prune(keep_checkpoints=1))  # type: ignore[arg-type]

    scored_window(connection, hour(5))
    trainer.during = meanwhile
    outcome = train_window(settings, trainer, window=hour(5), actor="test")

    assert outcome.action == "committed"
    assert 1 not in found[0].marked
    assert 1 not in found[0].optimizers
    trainer.during = None
    assert 1 in prune(keep_checkpoints=1).marked  # type: ignore[attr-defined]


def test_no_step_is_planned_from_a_checkpoint_that_is_pruned_meanwhile(
    connection: Connection,
    settings: Settings,
    trainer: PeerTrainer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained(connection, settings, trainer, 3)
    promote(connection, 1)
    scored_window(connection, hour(5))
    find = trainer.backend_step

    def meanwhile() -> object:  # the lease is claimed, the step not planned yet
        connection.execute("UPDATE training.checkpoints SET pruned_at = now() WHERE step = 1")
        return find()

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "backend_step", meanwhile)
        with pytest.raises(TrainingError, match="babylon@4 was to start from a checkpoint that"):
            train_window(settings, trainer, window=hour(5), actor="test")

    connection.execute("UPDATE training.checkpoints SET pruned_at = NULL")
    assert train_window(settings, trainer, window=hour(5), actor="test").step == 4


def test_data_of_ended_steps_go_and_those_of_a_step_in_work_stay(
    connection: Connection,
    settings: Settings,
    trainer: PeerTrainer,
    prune: Callable[..., PrunedCheckpoints],
) -> None:
    folder = settings.data_dir / LINEAGE / "steps"
    during: list[list[str]] = []

    def meanwhile() -> None:
        prune()
        during.append([path.name for path in folder.rglob("*.json")])

    trained(connection, settings, trainer, 1)
    scored_window(connection, hour(2))
    trainer.during = meanwhile
    train_window(settings, trainer, window=hour(2), actor="test")

    assert during == [["lease-2.json"]]
    prune()
    assert list(folder.iterdir()) == []


def test_each_task_of_the_gpu_worker_prunes_at_its_end_also_one_that_trains_nothing(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    trained(connection, settings, trainer, 4)

    assert work(settings, trainer).action == "idle"
    assert steps_on_disk(trainer.folder) == [3, 4]

    scored_window(connection, hour(5))
    assert work(settings, trainer, hour(5)).action == "committed"
    assert steps_on_disk(trainer.folder) == [4, 5]


def test_a_step_counts_even_if_nothing_can_be_pruned(
    connection: Connection, settings: Settings, trainer: PeerTrainer, tmp_path: Path
) -> None:
    trained(connection, settings, trainer, 4)
    trainer.folder.rename(tmp_path / "elsewhere")
    trainer.folder.symlink_to(tmp_path / "elsewhere")
    scored_window(connection, hour(5))

    assert work(settings, trainer, hour(5)).action == "committed"
    assert steps_on_disk(trainer.folder) == [1, 2, 3, 4, 5]
