"""Old checkpoints go; what serves, may serve again, is compared with or trained from stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peer import PeerTrainer
from scored_windows import column, hour, scored_window
from training_steps import kinds

from babylon_tasks.db import lineages, old_checkpoints
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import BackendUnavailable, CheckpointNotFound, TrainingError
from babylon_tasks.pipeline import prune_checkpoints as pruning
from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.pipeline.prune_checkpoints import prune_checkpoints
from babylon_tasks.pipeline.results import PrunedCheckpoints, TrainOutcome
from babylon_tasks.pipeline.start_trainer import start_trainer
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.pipeline.train_and_evaluate import train_and_evaluate
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import OPTIMIZER, WEIGHTS, steps_on_disk
from babylon_tasks.training.data_folder import FolderLock

LINEAGE = "babylon"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(
        min_eval_groups=1, max_eval_groups=3, retry_delay_seconds=0, keep_checkpoints=2
    )


@pytest.fixture
def trainer(settings: Settings) -> Iterator[PeerTrainer]:
    lock = FolderLock(settings.data_dir, LINEAGE)
    yield PeerTrainer(settings.data_dir, lock=lock)
    lock.close()


@pytest.fixture
def prune(settings: Settings, trainer: PeerTrainer) -> Callable[..., PrunedCheckpoints]:
    def call(**changed: object) -> PrunedCheckpoints:
        dry_run = bool(changed.pop("dry_run", False))
        chosen = settings.model_copy(update=changed)
        return prune_checkpoints(chosen, lambda: trainer, actor="test", dry_run=dry_run)

    return call


def trained(connection: Connection, settings: Settings, trainer: PeerTrainer, steps: int) -> None:
    """Steps 1 to ``steps``, each held, with some state of an optimizer beside the weights."""
    for n in range(1, steps + 1):
        scored_window(connection, hour(n))
        outcome = train_window(settings, trainer, window=hour(n), actor="test")
        assert outcome.step == n
        (trainer.folder / f"{n:04d}" / OPTIMIZER).write_bytes(b"moments")


def promote(connection: Connection, step: int) -> None:
    serving.promote(connection, LINEAGE, step, reason="a test", figures={}, actor="test")


def pruned(connection: Connection) -> list[object]:
    return column(
        connection,
        "SELECT step FROM training.checkpoints WHERE pruned_at IS NOT NULL ORDER BY step",
    )


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
    connection.execute(
        "UPDATE training.evaluations SET set_hash = 'easier windows', value = 0.95 WHERE step = 3"
    )

    prune(keep_checkpoints=1)

    assert steps_on_disk(trainer.folder) == [1, 2, 5]


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

    with pytest.raises(BackendUnavailable, match="is not the folder that holds the checkpoints"):
        prune()

    assert pruned(connection) == []


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
        connection.execute("DELETE FROM training.promotions WHERE to_step = 1 OR from_step = 1")
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


def work(settings: Settings, trainer: PeerTrainer, window: str | None = None) -> TrainOutcome:
    """What a message on queue gpu leads to."""
    outcome, _ = train_and_evaluate(
        settings,
        trainer,
        window=window,
        actor="test",
        on_training=lambda _: None,
        on_evaluation=lambda _: None,
    )
    return outcome


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


def test_nothing_is_pruned_of_a_lineage_that_does_not_exist(
    prune: Callable[..., PrunedCheckpoints], settings: Settings
) -> None:
    assert prune() == PrunedCheckpoints()
    assert pruning.with_old_checkpoints(settings) == []
