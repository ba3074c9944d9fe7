"""What lies on disk is what was committed, or it neither serves nor is trained from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db import lineages, trainer_lease, windows
from babylon_tasks.db.lineages import Lineage
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import (
    AnotherTrainer,
    BackendUnavailable,
    CheckpointDamaged,
    TrainingError,
)
from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import CONFIG, OPTIMIZER, WEIGHTS
from babylon_tasks.training.committed import CommittedCheckpoints
from babylon_tasks.training.data_folder import FolderLock

LINEAGE = "babylon"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(
        min_eval_groups=1, retry_delay_seconds=0, promote_without_evaluation=True, lease_seconds=60
    )


@pytest.fixture
def lock(settings: Settings) -> Iterator[FolderLock]:
    made = FolderLock(settings.data_dir, LINEAGE)
    yield made
    made.close()


@pytest.fixture
def trainer(settings: Settings, lock: FolderLock) -> PeerTrainer:
    return PeerTrainer(settings.data_dir, lock=lock)


def train(settings: Settings, trainer: PeerTrainer, n: int) -> TrainOutcome:
    return train_window(settings, trainer, window=hour(n), actor="test")


def promoted(connection: Connection, settings: Settings, trainer: PeerTrainer, steps: int) -> None:
    """Steps 1 to ``steps``, each promoted."""
    for n in range(1, steps + 1):
        scored_window(connection, hour(n))
        assert train(settings, trainer, n).step == n
        assert evaluate(settings, trainer, actor="test").action == "promoted"


def lineage(connection: Connection) -> Lineage:
    found = lineages.get(connection, LINEAGE)
    assert found is not None
    return found


def flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_older(path: Path) -> None:
    path.write_bytes((path.parent.parent / "0001" / path.name).read_bytes() + b" ")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def replace_folder_by_file(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"no folder")


DAMAGES = [
    flip,
    truncate,
    empty,
    replace_by_older,
    replace_by_folder,
    replace_by_dangling_link,
    Path.unlink,
    remove_folder,
    replace_folder_by_file,
]


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_serving_checkpoint_gives_way_to_the_newest_whole_one_on_record(
    connection: Connection,
    settings: Settings,
    trainer: PeerTrainer,
    damage: Callable[[Path], None],
    name: str,
) -> None:
    promoted(connection, settings, trainer, 2)
    damage(trainer.folder / "0002" / name)

    now = serve(settings, trainer)

    assert now.step == 1
    row = connection.execute(
        "SELECT decision, from_step, to_step, reason FROM training.promotions ORDER BY id DESC"
    ).fetchone()
    assert row is not None
    assert row[:3] == ("rollback", 2, 1)
    assert row[3].startswith("checkpoint 2 cannot be loaded: ")
    assert str(trainer.folder / "0002") in row[3]
    assert lineage(connection).trouble == row[3]
    assert column(connection, "SELECT \"modelId\" FROM trained_models WHERE status = 'ready'") == [
        "babylon@1"
    ]
    assert evaluate(settings, trainer, actor="test").action == "idle"  # not promoted again


def test_without_a_whole_one_the_base_model_serves_and_what_was_rolled_back_does_not(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    promoted(connection, settings, trainer, 3)
    serving.rollback(connection, LINEAGE, reason="worse", actor="operator", to=1)
    flip(trainer.folder / "0001" / WEIGHTS)
    truncate(trainer.folder / "0002" / WEIGHTS)

    assert serve(settings, trainer).step == 0
    assert column(connection, "SELECT decision FROM training.promotions ORDER BY id DESC")[0] == (
        "rollback"
    )


def test_a_step_starts_from_the_newest_whole_checkpoint_where_the_backend_can_branch(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    promoted(connection, settings, trainer, 2)
    flip(trainer.folder / "0002" / WEIGHTS)
    scored_window(connection, hour(3))

    outcome = train(settings, trainer, 3)

    assert (outcome.action, outcome.step) == ("committed", 3)
    assert trainer.requests[-1].parent_step == 1
    assert lineage(connection).serving_step == 1
    serve(settings, trainer)
    assert lineage(connection).trouble is None  # nobody needs the damaged one


def test_a_backend_that_cannot_branch_plans_nothing_and_the_window_waits_with_the_reason(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    promoted(connection, settings, trainer, 1)
    trainer.branches = False
    whole = (trainer.folder / "0001" / WEIGHTS).read_bytes()
    flip(trainer.folder / "0001" / WEIGHTS)
    scored_window(connection, hour(2))

    with pytest.raises(CheckpointDamaged, match=r"checkpoint 1 cannot be loaded: .*restored"):
        train(settings, trainer, 2)

    assert windows.get(connection, hour(2)).state == "scored"
    assert column(connection, "SELECT sum(training_tries) FROM training.windows") == [0]
    assert "checkpoint 1 cannot be loaded" in str(lineage(connection).trouble)

    (trainer.folder / "0001" / WEIGHTS).write_bytes(whole)
    assert train(settings, trainer, 2).action == "committed"
    assert lineage(connection).trouble is None


def test_a_step_whose_parent_was_damaged_meanwhile_is_planned_anew_and_uses_up_no_attempt(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    promoted(connection, settings, trainer, 1)
    scored_window(connection, hour(2))
    trainer.falls = "before_writing"
    train(settings, trainer, 2)
    trainer.falls = None
    flip(trainer.folder / "0001" / WEIGHTS)

    failed = train(settings, trainer, 2)
    tries = "SELECT training_tries FROM training.windows WHERE window_id = %s"
    assert column(connection, tries, hour(2)) == [0]
    ended = train(settings, trainer, 2)

    assert "checkpoint 1 cannot be loaded" in str(failed.reason)
    assert (ended.action, ended.step) == ("committed", 2)
    assert trainer.requests[-1].parent_step == 0


def test_a_checkpoint_of_an_earlier_release_is_compared_by_its_weights_alone(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    promoted(connection, settings, trainer, 1)
    connection.execute("UPDATE training.checkpoints SET files = '{}'")
    flip(trainer.folder / "0001" / CONFIG)
    assert serve(settings, trainer).step == 1
    flip(trainer.folder / "0001" / WEIGHTS)
    assert serve(settings, trainer).step == 0


@pytest.mark.parametrize("content", [b"", b'{"step": ', b"\xff\xfe", b"[]"])
def test_the_record_of_a_committed_step_is_needed_by_nobody(
    connection: Connection, settings: Settings, trainer: PeerTrainer, content: bytes
) -> None:
    promoted(connection, settings, trainer, 1)
    (trainer.folder / "0001" / "step.json").write_bytes(content)
    scored_window(connection, hour(2))

    assert serve(settings, trainer).step == 1
    assert train(settings, trainer, 2).step == 2


def test_an_uncommitted_step_without_a_readable_record_is_discarded_and_repeated(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    scored_window(connection, hour(1))
    trainer.falls = "after_writing"
    train(settings, trainer, 1)
    trainer.falls = None
    truncate(trainer.folder / "0001" / "step.json")

    assert train(settings, trainer, 1).action == "committed"
    assert len(trainer.requests) == 2
    assert "checkpoint_discarded" in column(connection, "SELECT kind FROM training.events")


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

    beside = settings.model_copy(update={"data_dir": tmp_path / "copy"})
    with pytest.raises(AnotherTrainer):
        serve(beside, second)
    outcome = train(beside, second, 2)

    assert outcome.action == "busy"
    assert "another trainer" in str(outcome.reason)
    assert second.checked == []  # it was not even started
    assert column(connection, "SELECT attempt FROM training.lineages") == [trained]
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


@pytest.mark.parametrize("anyway", [False, True])
def test_a_worker_without_the_trainer_decides_nothing_about_a_checkpoint(
    connection: Connection,
    settings: Settings,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    trainer: PeerTrainer,
    anyway: bool,
) -> None:
    chosen = settings.model_copy(update={"promote_without_evaluation": anyway})
    scored_window(connection, "2026-01-30T01:00", state="held_out", model="anyone")
    scored_window(connection, hour(1))
    train(chosen, trainer, 1)

    def another(*_: object) -> None:
        raise AnotherTrainer("another trainer (process 7) is running for lineage babylon")

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "ready", another)
        found = evaluate(chosen, trainer, actor="test")

    assert (found.action, found.serving) == ("idle", 0)
    assert "not evaluated, it is tried again: another trainer" in found.reason
    assert column(connection, "SELECT count(*) FROM training.promotions") == [0]
    assert evaluate(chosen, trainer, actor="test").action == "promoted"


@pytest.mark.parametrize(
    "error", [TrainingError("No space left on device"), BackendUnavailable("")]
)
def test_an_evaluation_that_is_impossible_now_is_no_evidence(
    connection: Connection,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    trainer: PeerTrainer,
    error: Exception,
) -> None:
    scored_window(connection, "2026-01-30T01:00", state="held_out", model="anyone")
    scored_window(connection, hour(1))
    train(settings, trainer, 1)

    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "evaluate", refuse)
        assert evaluate(settings, trainer, actor="test").action == "idle"
    assert column(connection, "SELECT count(*) FROM training.promotions") == [0]


def test_a_damaged_newest_checkpoint_is_not_promoted_and_is_evaluated_once_it_is_restored(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    scored_window(connection, hour(1))
    train(settings, trainer, 1)
    whole = (trainer.folder / "0001" / WEIGHTS).read_bytes()
    empty(trainer.folder / "0001" / WEIGHTS)

    found = evaluate(settings, trainer, actor="test")

    assert found.action == "idle"
    assert "checkpoint 1 cannot be loaded" in found.reason
    assert column(connection, "SELECT count(*) FROM training.promotions") == [0]
    (trainer.folder / "0001" / WEIGHTS).write_bytes(whole)
    assert evaluate(settings, trainer, actor="test").action == "promoted"


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


def test_the_optimizers_state_is_part_of_what_was_committed_but_may_be_missing(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    promoted(connection, settings, trainer, 1)
    known = CommittedCheckpoints(trainer.folder)
    known.expect(lineages.checkpoints(connection, LINEAGE))

    assert "committed without optimizer.pt" in str(known.optimizer_damage(1))  # another history's
    (trainer.folder / "0001" / OPTIMIZER).write_bytes(b"state")
    assert known.damage(1) is None
