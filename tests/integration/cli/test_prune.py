"""``prune``: what it prints, and that it needs no trainer beside the worker's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from command_line import Run, one_contract
from peer import PeerTrainer
from scored_windows import hour, scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import steps_on_disk
from babylon_tasks.training.data_folder import FolderLock

pytestmark = one_contract


@pytest.fixture
def trainer(connection: Connection, settings: Settings) -> Iterator[PeerTrainer]:
    """The worker's, after three steps; it keeps the lock on its folder."""
    lock = FolderLock(settings.data_dir, "babylon")
    trainer = PeerTrainer(settings.data_dir, lock=lock)
    for n in (1, 2, 3):
        scored_window(connection, hour(n))
        assert train_window(settings, trainer, window=hour(n), actor="test").step == n
    yield trainer
    lock.close()


def test_a_dry_run_lists_and_the_command_deletes_beside_the_worker(
    run: Run, connection: Connection, trainer: PeerTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BABYLON_KEEP_CHECKPOINTS", "1")

    connection.execute("UPDATE training.windows SET updated_at = now() - interval '31 days'")

    announced = run("prune", "--dry-run").out
    assert "2 checkpoints would be deleted: 1, 2" in announced
    assert "the rows of 3 windows would be deleted" in announced
    assert steps_on_disk(trainer.folder) == [1, 2, 3]
    document = run("prune", "--json").document
    done, rows = document["checkpoints"], document["rows"]
    assert (rows["windows"], rows["uses"]) == ([hour(1), hour(2), hour(3)], 12)
    assert (done["marked"], done["deleted"]) == ([1, 2], [1, 2])
    assert done["size"] > 0
    assert steps_on_disk(trainer.folder) == [3]

    assert "0 checkpoints were deleted" in run("prune").out
    listed = run("models", "list", "--json").document["models"]
    assert [one["step"] for one in listed if one["pruned_at"]] == [2, 1]
    assert "pruned" in run("models", "list").out
    refused = run("models", "promote", "1")
    assert refused.code == 3
    assert "babylon@1 was pruned at" in refused.err


def test_where_the_checkpoints_are_not_it_is_refused(run: Run, trainer: PeerTrainer) -> None:
    refused = run("prune", BABYLON_DATA_DIR="/nowhere")

    assert refused.code == 1
    assert "/nowhere is not the data folder of lineage" in refused.err
    assert steps_on_disk(trainer.folder) == [1, 2, 3]
