"""A replay works on copies of the checkpoints that it needs; the lineage's are only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from babylon_tasks.step_records import CommittedCheckpoint
from babylon_tasks.training.checkpoints import (
    CONFIG,
    OPTIMIZER,
    WEIGHTS,
    hash_files,
    newest_step,
    steps_on_disk,
)
from babylon_tasks.training.replay_folder import ReplayFolder

LINEAGE = Path("babylon") / "models" / "babylon" / "checkpoints"


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoints 1 and 2 of a lineage, and a temporary directory of the test's own."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    for step in (1, 2):
        folder = tmp_path / "data" / LINEAGE / f"{step:04d}"
        folder.mkdir(parents=True)
        for name in (WEIGHTS, CONFIG, OPTIMIZER):
            (folder / name).write_text(f"{name} of {step}")
    return tmp_path / "data"


def committed(data_dir: Path) -> list[CommittedCheckpoint]:
    folders = sorted((data_dir / LINEAGE).iterdir())
    return [CommittedCheckpoint(int(one.name), None, hash_files(one)) for one in folders]


def replay_folder(data_dir: Path, known: list[CommittedCheckpoint]) -> ReplayFolder:
    return ReplayFolder(data_dir, "babylon", "babylon", known)


def test_what_a_trainer_does_to_its_copy_does_not_reach_the_lineages_files(data_dir: Path) -> None:
    before = committed(data_dir)
    with replay_folder(data_dir, before) as folder:
        folder.take(2)
        assert hash_files(folder.checkpoint(2)) == before[1].files
        (folder.checkpoint(2) / OPTIMIZER).unlink()
        (folder.checkpoint(2) / WEIGHTS).write_text("other")
        path = folder.path

    assert committed(data_dir) == before
    assert not path.exists()


def test_a_checkpoint_that_is_pruned_gone_or_damaged_is_missing(data_dir: Path) -> None:
    known = committed(data_dir)
    with replay_folder(data_dir, known[1:]) as folder:
        assert folder.missing(0) is None
        assert folder.missing(1) == "checkpoint 1 is pruned"
        assert folder.missing(2) is None
        (data_dir / LINEAGE / "0002" / WEIGHTS).write_text("flipped")
        assert "is not what was committed" in (folder.missing(2) or "")
        assert folder.original(2) is None
        (data_dir / LINEAGE / "0002" / WEIGHTS).unlink()
        assert "No such file" in (folder.missing(2) or "")


def test_the_optimizers_state_counts_only_as_it_was_committed(data_dir: Path) -> None:
    with replay_folder(data_dir, committed(data_dir)) as folder:
        assert (folder.has_optimizer(0), folder.has_optimizer(1)) == (True, True)
        (data_dir / LINEAGE / "0001" / OPTIMIZER).write_text("another's")
        (data_dir / LINEAGE / "0002" / OPTIMIZER).unlink()
        assert (folder.has_optimizer(1), folder.has_optimizer(2)) == (False, False)
        folder.take(2, optimizer=False)
        assert sorted(path.name for path in folder.checkpoint(2).iterdir()) == [CONFIG, WEIGHTS]


def test_a_checkpoint_that_was_committed_without_a_state_has_all_of_it(data_dir: Path) -> None:
    """A supervised step leaves none; what lies there now is not its."""
    (data_dir / LINEAGE / "0001" / OPTIMIZER).unlink()
    with replay_folder(data_dir, committed(data_dir)) as folder:
        (data_dir / LINEAGE / "0001" / OPTIMIZER).write_text("another's")
        assert folder.has_optimizer(1)
        folder.take(1)
        assert sorted(path.name for path in folder.checkpoint(1).iterdir()) == [CONFIG, WEIGHTS]


def test_numbers_in_between_are_stood_in_for(data_dir: Path) -> None:
    """A step from checkpoint 1 whose number is 5: those between were held."""
    with replay_folder(data_dir, committed(data_dir)) as folder:
        folder.take(1)
        folder.stand_in(4)
        folder.stand_in(4)
        assert newest_step(folder.checkpoint(1).parent) == 4
        assert steps_on_disk(folder.checkpoint(1).parent) == [1, 4]
