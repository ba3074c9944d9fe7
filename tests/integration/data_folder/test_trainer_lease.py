"""A lineage has one trainer at a time, whatever was copied."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from peer import PeerTrainer
from promoted_checkpoints import LINEAGE, promoted, train
from scored_windows import column, hour, scored_window

from babylon_tasks.db import trainer_lease
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import AnotherTrainer
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.data_folder import FolderLock


@pytest.mark.parametrize("trained", [0, 1])
def test_a_copy_of_the_folder_has_no_second_trainer(
    connection: Connection, settings: Settings, trainer: PeerTrainer, tmp_path: Path, trained: int
) -> None:
    promoted(connection, settings, trainer, trained)
    serve(settings, trainer)
    shutil.copytree(settings.data_dir, tmp_path / "copy")
    lock = FolderLock(tmp_path / "copy", LINEAGE)
    second = PeerTrainer(tmp_path / "copy", lock=lock)
    second.url = "http://second/v1"
    scored_window(connection, hour(2))
    claims = column(connection, "SELECT attempt FROM training.lineages")

    beside = settings.model_copy(update={"data_dir": tmp_path / "copy"})
    with pytest.raises(AnotherTrainer):
        serve(beside, second)
    outcome = train(beside, second, 2)

    assert outcome.action == "busy"
    assert "another trainer" in str(outcome.reason)
    assert second.checked == []  # it was not even started
    assert column(connection, "SELECT attempt FROM training.lineages") == claims
    assert serving.serving(connection, LINEAGE).base_url == trainer.url
    lock.close()


def test_the_trainers_lease_passes_on_at_its_end_and_a_former_holder_learns_of_it(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    serve(settings, trainer)
    name = str(trainer.ready().lock_name)

    assert not trainer_lease.take(connection, LINEAGE, "other:1", 60, folder_id="other")
    connection.execute("UPDATE training.lineages SET trainer_until = now() - interval '1 second'")
    assert trainer_lease.renew(connection, LINEAGE, name, 60)  # nobody else wanted it
    connection.execute("UPDATE training.lineages SET trainer_until = now() - interval '1 second'")
    assert trainer_lease.take(connection, LINEAGE, "other:1", 60, folder_id="other")
    assert not trainer_lease.renew(connection, LINEAGE, name, 60)


def test_a_trainer_that_ends_frees_no_lease_but_its_own(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    serve(settings, trainer)
    name = str(trainer.ready().lock_name)

    trainer_lease.release(connection, LINEAGE, "other:1")
    assert not trainer_lease.take(connection, LINEAGE, "third:1", 60, folder_id="third")

    trainer_lease.release(connection, LINEAGE, name)
    assert trainer_lease.take(connection, LINEAGE, "third:1", 60, folder_id="third")
