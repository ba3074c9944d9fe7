"""What lies on disk is what was committed, or it neither serves nor is trained from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from peer import PeerTrainer
from promoted_checkpoints import LINEAGE, lineage, promoted, train
from scored_windows import column, hour, scored_window

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import CONFIG, OPTIMIZER, WEIGHTS, adapter_hash
from babylon_tasks.training.committed import CommittedCheckpoints


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


def test_a_backend_that_cannot_branch_starts_from_the_newest_whole_checkpoint_too(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    trainer.branches = False
    promoted(connection, settings, trainer, 2)
    whole = adapter_hash(trainer.folder / "0001")
    flip(trainer.folder / "0002" / WEIGHTS)
    scored_window(connection, hour(3))

    outcome = train(settings, trainer, 3)

    assert (outcome.action, outcome.step) == ("committed", 3)
    assert outcome.result is not None
    assert outcome.result.base_adapter_hash == whole
    assert trainer.discarded == [(1, (2,))]


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


def test_an_uncommitted_step_without_a_readable_record_is_set_aside_and_repeated(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    scored_window(connection, hour(1))
    trainer.falls = "after_writing"
    train(settings, trainer, 1)
    trainer.falls = None
    truncate(trainer.folder / "0001" / "step.json")

    assert train(settings, trainer, 1).action == "committed"
    assert len(trainer.requests) == 2
    assert "checkpoint_set_aside" in column(connection, "SELECT kind FROM training.events")


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


def test_the_optimizers_state_is_part_of_what_was_committed_but_may_be_missing(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    promoted(connection, settings, trainer, 1)
    known = CommittedCheckpoints(trainer.folder)
    known.expect(lineages.checkpoints(connection, LINEAGE))

    assert "committed without optimizer.pt" in str(known.optimizer_damage(1))  # another history's
    (trainer.folder / "0001" / OPTIMIZER).write_bytes(b"state")
    assert known.damage(1) is None
