"""A trainer works in the folder in which its lineage was trained, or in none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from peer import PeerTrainer
from promoted_checkpoints import LINEAGE, lineage, promoted, train
from scored_windows import column, hour, scored_window

from babylon_tasks.db import trainer_lease
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import AnotherTrainer, BackendUnavailable
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.data_folder import FolderLock


def test_another_folder_is_refused_and_changes_nothing(
    connection: Connection, settings: Settings, trainer: PeerTrainer, tmp_path: Path
) -> None:
    promoted(connection, settings, trainer, 1)
    trainer_lease.release(connection, LINEAGE, str(trainer.ready().lock_name))
    elsewhere = FolderLock(tmp_path / "elsewhere", LINEAGE)
    stranger = PeerTrainer(tmp_path / "elsewhere", lock=elsewhere)
    stranger.url = "http://stranger/v1"
    scored_window(connection, hour(2))

    with pytest.raises(BackendUnavailable, match="do not belong together"):
        serve(settings, stranger)
    with pytest.raises(BackendUnavailable, match="is at step 0 and not 1"):
        train(settings, stranger, 2)

    now = serving.serving(connection, LINEAGE)
    assert (now.step, now.base_url) == (1, trainer.url)
    assert column(connection, "SELECT attempt FROM training.lineages") == [1]  # never claimed
    assert stranger.closed, "else it would go on answering agents"
    assert "do not belong" not in str(lineage(connection).trouble)
    assert "is not the folder in which lineage babylon was trained" in str(
        lineage(connection).trouble
    )
    elsewhere.close()


def test_a_folder_that_was_restored_elsewhere_belongs_by_its_checkpoints(
    connection: Connection, settings: Settings, trainer: PeerTrainer, tmp_path: Path
) -> None:
    promoted(connection, settings, trainer, 1)
    trainer_lease.release(connection, LINEAGE, str(trainer.ready().lock_name))
    shutil.copytree(settings.data_dir / "babylon", tmp_path / "restored" / "babylon")
    lock = FolderLock(tmp_path / "restored", LINEAGE)
    scored_window(connection, hour(2))

    assert train(settings, PeerTrainer(tmp_path / "restored", lock=lock), 2).step == 2
    assert lineage(connection).data_folder == lock.folder_id
    lock.close()


def test_a_lock_on_a_folder_that_was_made_anew_is_no_lock(tmp_path: Path) -> None:
    first = FolderLock(tmp_path / "data", LINEAGE)
    with pytest.raises(AnotherTrainer):
        FolderLock(tmp_path / "data", LINEAGE)
    first.require()

    shutil.rmtree(tmp_path / "data")
    assert not first.replaced()  # nobody else can have a lock there yet
    with pytest.raises(BackendUnavailable, match="was deleted or replaced"):
        first.require()
    second = FolderLock(tmp_path / "data", LINEAGE)

    assert first.replaced()
    assert not second.replaced()
    assert second.folder_id != first.folder_id
    first.close()
    second.close()
