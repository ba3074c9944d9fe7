"""A checkpoint that cannot be verified is kept apart: it neither serves nor is trained from."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from factories import WINDOW
from peer import PeerTrainer
from scored_windows import column, hour, scored_window
from scoring_runs import MakeSettings
from training_steps import kinds, peer, state, train

from babylon_tasks.db import set_aside
from babylon_tasks.db.reports import system_state
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.prune_checkpoints import prune_checkpoints
from babylon_tasks.pipeline.results import PrunedCheckpoints
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import WEIGHTS, steps_on_disk
from babylon_tasks.training.data_folder import FolderLock

pytestmark = pytest.mark.contract("today")


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=9)


def folder_of(trainer: PeerTrainer) -> Path:
    return trainer.folder.with_name("set-aside")


def prune(settings: Settings, trainer: PeerTrainer, *, all_: bool) -> PrunedCheckpoints:
    return prune_checkpoints(settings, lambda: trainer, actor="test", all_set_aside=all_)


def test_a_step_whose_tokens_are_not_counted_fails_and_its_checkpoint_is_kept(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    trainer = peer(settings, falls="uncounted")

    ended = train(settings, trainer, WINDOW)

    assert ended.action == "failed"
    assert "no number of trained tokens" in str(ended.reason)
    assert trainer.backend_step().step == 0
    [kept] = folder_of(trainer).iterdir()
    assert (kept / WEIGHTS).exists()
    assert "checkpoint_set_aside" in kinds(connection)
    assert "checkpoint_discarded" not in kinds(connection)
    [aside] = system_state(connection, "babylon").set_aside
    assert (aside.step, aside.folder) == (1, kept.name)
    assert "no number of trained tokens" in aside.why


def test_the_next_step_gets_the_number_and_starts_from_what_is_verified(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    train(settings, peer(settings, falls="uncounted"), WINDOW)
    successor = peer(settings)

    ended = train(settings, successor, WINDOW)

    assert (ended.action, ended.step) == ("committed", 1)
    [request] = successor.requests
    assert (request.base_step, request.parent_step) == (0, 0)
    assert len(list(folder_of(successor).iterdir())) == 1


@pytest.mark.parametrize("how", ["idle", "diverges"])
def test_what_is_surely_worth_nothing_is_not_kept(
    connection: Connection, settings: Settings, how: str
) -> None:
    scored_window(connection)

    train(settings, peer(settings, falls=how), WINDOW)

    assert not folder_of(peer(settings)).exists()
    assert set_aside.kept(connection, "babylon") == []


def test_at_wandb_it_stays_and_no_step_is_planned_until_it_is_deleted(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    trainer = peer(settings, falls="uncounted", remote=True, branches=False)

    assert train(settings, trainer, WINDOW).action == "failed"
    trainer.falls = None
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"checkpoint 1 at W&B is set aside .*prune --set"):
            train(settings, trainer, WINDOW)

    assert steps_on_disk(trainer.folder) == [1], "nothing is deleted by itself"
    assert len(set_aside.kept(connection, "babylon")) == 1
    assert state(connection) == "scored"
    assert len(trainer.requests) == 1


def test_at_wandb_a_command_deletes_it(connection: Connection, settings: Settings) -> None:
    scored_window(connection)
    trainer = peer(settings, falls="uncounted", remote=True, branches=False)
    train(settings, trainer, WINDOW)

    assert prune(settings, trainer, all_=False).set_aside == []
    assert prune(settings, trainer, all_=True).set_aside == [1]

    assert trainer.deleted == [(1,)]
    assert set_aside.kept(connection, "babylon") == []


def test_at_wandb_its_number_is_the_next_ones_though_nobody_noted_that_it_is_gone(
    connection: Connection, settings: Settings
) -> None:
    """The command was killed after W&B had deleted it, or W&B's answer to it was lost."""
    scored_window(connection)
    trainer = peer(settings, falls="uncounted", remote=True, branches=False)
    train(settings, trainer, WINDOW)
    shutil.rmtree(trainer.folder / "0001")
    trainer.falls = None

    assert train(settings, trainer, WINDOW).action == "committed"

    assert set_aside.kept(connection, "babylon") == []
    connection.execute("UPDATE training.set_aside SET deleted_at = NULL")  # an earlier release
    assert prune(settings, trainer, all_=True).set_aside == []
    assert trainer.deleted == [], "it is another checkpoint now"
    assert set_aside.kept(connection, "babylon") == []


def test_retention_keeps_as_many_as_of_other_checkpoints(
    connection: Connection, make_settings: MakeSettings
) -> None:
    settings = make_settings(retry_delay_seconds=0, max_attempts=9, keep_checkpoints=2)
    with closing(FolderLock(settings.data_dir, "babylon")) as lock:
        trainer = peer(settings, falls="uncounted", lock=lock)
        scored_window(connection)
        for _ in range(3):
            train(settings, trainer, WINDOW)
        oldest, *others = sorted(one.name for one in folder_of(trainer).iterdir())

        found = prune(settings, trainer, all_=False)

        assert found.set_aside == [1]
        assert found.size > 0
        assert sorted(one.name for one in folder_of(trainer).iterdir()) == others
        assert oldest not in {one.folder for one in set_aside.kept(connection, "babylon")}

        (folder_of(trainer) / "0001-unfinished-1").mkdir()  # of ART's, which has no row
        assert prune(settings, trainer, all_=False).set_aside == []
        assert prune(settings, trainer, all_=True).set_aside == [1, 1, 1]
        assert list(folder_of(trainer).iterdir()) == []


def test_a_foreign_checkpoint_is_kept_apart_too(connection: Connection, settings: Settings) -> None:
    scored_window(connection, hour(1))
    train(settings, peer(settings, falls="after_writing"), hour(1))
    record = peer(settings).folder / "0001" / "step.json"
    record.write_text("torn")

    assert train(settings, peer(settings), hour(1)).action == "committed"

    [aside] = set_aside.kept(connection, "babylon")
    assert "no record of how it was made" in aside.why
    assert column(connection, "SELECT state FROM training.steps") == ["committed"]
