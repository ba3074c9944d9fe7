"""Files of old checkpoints go, whatever a crash left; nothing outside of the data folder does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from peer import PeerTrainer
from pruned_checkpoints import LINEAGE, pruned, trained

from babylon_tasks.db import lineages, old_checkpoints
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import BackendUnavailable, TrainingError
from babylon_tasks.pipeline.prune_checkpoints import prune_checkpoints
from babylon_tasks.pipeline.results import PrunedCheckpoints
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import OPTIMIZER, WEIGHTS, steps_on_disk


def test_what_a_crash_left_marked_or_half_deleted_goes_the_next_time(
    connection: Connection,
    settings: Settings,
    trainer: PeerTrainer,
    prune: Callable[..., PrunedCheckpoints],
) -> None:
    trained(connection, settings, trainer, 5)
    old_checkpoints.mark(connection, LINEAGE, newest=2, answered=[], actor="test")
    half = trainer.folder / ".pruned-0001"
    (trainer.folder / "0001").rename(half)
    (half / WEIGHTS).unlink()
    half_again = trainer.folder / ".pruned-0002"
    half_again.mkdir()
    (half_again / "left").touch()

    found = prune()

    assert found.marked == []
    assert found.deleted == [2, 3]
    assert sorted(path.name for path in trainer.folder.iterdir()) == ["0004", "0005"]


def test_a_copy_that_was_restored_goes_again(
    connection: Connection, settings: Settings, trainer: PeerTrainer, prune: Callable[..., object]
) -> None:
    trained(connection, settings, trainer, 4)
    prune()
    (trainer.folder / "0001").mkdir()
    (trainer.folder / "0001" / WEIGHTS).touch()

    prune()

    assert steps_on_disk(trainer.folder) == [3, 4]


def test_a_link_goes_and_what_it_leads_to_stays(
    connection: Connection,
    settings: Settings,
    trainer: PeerTrainer,
    prune: Callable[..., object],
    tmp_path: Path,
) -> None:
    trained(connection, settings, trainer, 4)
    elsewhere = tmp_path / "another disk"
    elsewhere.mkdir()
    for step in ("0001", "0003"):  # pruned, and only without its optimizer's state
        (trainer.folder / step).rename(elsewhere / step)
        (trainer.folder / step).symlink_to(elsewhere / step)
    (trainer.folder / "0002" / "link").symlink_to(elsewhere)

    prune()

    assert not (trainer.folder / "0001").is_symlink()
    assert (trainer.folder / "0003").is_symlink()
    for step in ("0001", "0003"):
        assert (elsewhere / step / WEIGHTS).exists()
        assert (elsewhere / step / OPTIMIZER).exists()


def test_a_folder_that_leads_out_of_the_data_folder_is_refused_by_name(
    connection: Connection,
    settings: Settings,
    trainer: PeerTrainer,
    prune: Callable[..., object],
    tmp_path: Path,
) -> None:
    trained(connection, settings, trainer, 4)
    trainer.folder.rename(tmp_path / "elsewhere")
    trainer.folder.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(BackendUnavailable, match=f"leads out of .*{tmp_path / 'elsewhere'}"):
        prune()

    assert pruned(connection) == []
    assert steps_on_disk(trainer.folder) == [1, 2, 3, 4]


def test_another_data_folder_is_refused_and_nothing_is_marked(
    connection: Connection, settings: Settings, trainer: PeerTrainer, prune: Callable[..., object]
) -> None:
    trained(connection, settings, trainer, 4)
    (settings.data_dir / f"{LINEAGE}.folder-id").write_text("0" * 32)

    with pytest.raises(BackendUnavailable, match="is not the data folder of lineage"):
        prune()

    assert pruned(connection) == []


def test_checkpoints_that_are_elsewhere_are_deleted_by_the_trainer_and_again_after_a_crash(
    connection: Connection,
    settings: Settings,
    trainer: PeerTrainer,
    prune: Callable[..., PrunedCheckpoints],
) -> None:
    trained(connection, settings, trainer, 5)
    lineages.announce(connection, LINEAGE, backend="serverless", base_url=trainer.url)

    def lost() -> PeerTrainer:
        raise TrainingError("W&B does not answer")

    with pytest.raises(TrainingError):
        prune_checkpoints(settings, lost, actor="test")
    assert pruned(connection) == [1, 2, 3]
    assert prune(dry_run=True).deleted == [1, 2, 3]
    assert trainer.deleted == []

    prune()
    prune()

    assert trainer.deleted == [(1, 2, 3)]
    assert steps_on_disk(trainer.folder) == [1, 2, 3, 4, 5], "no files here are touched"
