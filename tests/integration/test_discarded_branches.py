"""What was refused is gone from a backend that trains on from its newest checkpoint.

W&B gives the number of what was deleted again; on a disk the parent's copy takes it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.arms import Arms
from babylon_tasks.db import arms, lineages, old_checkpoints
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import CheckpointNotFound, TrainingError
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training import checkpoints

LINEAGE = "babylon"
NAMES = "wandb-artifact:///e/p/{lineage}:step{step}"
Begin = Callable[..., PeerTrainer]


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=9)


@pytest.fixture(params=["serverless", "local"])
def begin(settings: Settings, request: pytest.FixtureRequest) -> Begin:
    remote = request.param == "serverless"

    def make(**how: str) -> PeerTrainer:
        names = {"names": NAMES} if remote else {}
        return PeerTrainer(settings.data_dir, branches=False, remote=remote, **names, **how)

    return make


@pytest.fixture
def refused(connection: Connection, settings: Settings, begin: Begin) -> PeerTrainer:
    """Step 1 serves, step 2 was refused by hand, and there is another hour."""
    trainer = begin()
    for n in (1, 2):
        scored_window(connection, hour(n))
        assert train(settings, trainer).step == n
        if n == 1:
            serving.promote(connection, LINEAGE, 1, reason="r", figures={}, actor="operator")
    serving.refuse(connection, LINEAGE, 2, reason="it says nothing", actor="operator")
    scored_window(connection, hour(3))
    return trainer


def train(settings: Settings, trainer: PeerTrainer) -> TrainOutcome:
    return train_window(settings, trainer, window=None, actor="test")


def rows(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT step, coalesce(backend_step, step), dead_at IS NOT NULL, discarded_at IS NOT NULL,"
        " inference_name FROM training.checkpoints WHERE step > 0 ORDER BY step"
    ).fetchall()


def numbers(trainer: PeerTrainer, *steps: int) -> tuple[int, ...]:
    """What W&B calls these steps, since the second was discarded."""
    return tuple(step - 1 for step in steps) if trainer.remote else steps


def weights(trainer: PeerTrainer, step: int) -> str | None:
    return checkpoints.adapter_hash(trainer.folder / f"{step:04d}")


def test_the_next_step_starts_from_what_serves(
    connection: Connection, settings: Settings, refused: PeerTrainer
) -> None:
    serves = weights(refused, 1)

    outcome = train(settings, refused)

    assert (outcome.step, outcome.windows) == (3, [hour(2), hour(3)])
    assert outcome.result is not None
    assert outcome.result.base_adapter_hash == serves
    assert refused.discarded == [(1, (2,))]
    number = 2 if refused.remote else 3
    name = refused.names.format(lineage=LINEAGE, step=number)
    assert [row[:4] for row in rows(connection)] == [
        (1, 1, False, False),
        (2, 2, True, True),
        (3, number, False, False),
    ]
    assert rows(connection)[2][4] == name
    assert lineages.inference_names(connection, LINEAGE)[name] == 3
    again = lineages.names_come_again(connection, LINEAGE)
    assert list(again) == ([name] if refused.remote else [])
    assert violations(connection, settings) == []
    discarded = "SELECT detail FROM training.events WHERE kind = 'checkpoint_discarded'"
    assert [one["step"] for one in column(connection, discarded)] == [2]  # type: ignore[index]
    with pytest.raises(CheckpointNotFound, match="babylon@2 was pruned"):
        serving.promote(connection, LINEAGE, 2, reason="r", figures={}, actor="operator")


def test_the_next_ones_go_on_from_there(
    connection: Connection, settings: Settings, refused: PeerTrainer
) -> None:
    """Step 4 goes on from 3; with a rollback to 1 both are discarded, and 5 starts from it."""
    train(settings, refused)
    serving.promote(connection, LINEAGE, 3, reason="r", figures={}, actor="operator")
    scored_window(connection, hour(4))
    third = weights(refused, 2 if refused.remote else 3)
    fourth = train(settings, refused)
    assert fourth.result is not None
    assert fourth.result.base_adapter_hash == third
    serving.rollback(connection, LINEAGE, reason="harm", actor="operator", to=1)
    scored_window(connection, hour(5))

    fifth = train(settings, refused)

    assert (fifth.step, fifth.windows) == (5, [hour(n) for n in (2, 3, 4, 5)])
    assert fifth.result is not None
    assert fifth.result.base_adapter_hash == weights(refused, 1)
    assert refused.discarded == [(1, (2,)), (1, numbers(refused, 4, 3))]
    assert [row[1] for row in rows(connection)] == (
        [1, 2, 2, 3, 2] if refused.remote else [1, 2, 3, 4, 5]
    )
    assert violations(connection, settings) == []


@pytest.mark.parametrize("falls", ["before_discarding", "discarding", "after_discarding"])
def test_a_worker_that_is_killed_over_a_discard_leaves_it_to_the_next(
    connection: Connection, settings: Settings, begin: Begin, refused: PeerTrainer, falls: str
) -> None:
    train(settings, refused)
    serving.promote(connection, LINEAGE, 3, reason="r", figures={}, actor="operator")
    scored_window(connection, hour(4))
    train(settings, refused)
    serving.rollback(connection, LINEAGE, reason="harm", actor="operator", to=1)
    scored_window(connection, hour(5))

    with pytest.raises(TrainingError, match="SIGKILL"):
        train(settings, begin(falls=falls))
    assert column(connection, "SELECT max(target_step) FROM training.steps") == [4]
    successor = begin()
    outcome = train(settings, successor)

    assert successor.discarded == [(1, numbers(successor, 4, 3))]
    assert (outcome.action, outcome.step) == ("committed", 5)
    assert outcome.result is not None
    assert outcome.result.base_adapter_hash == weights(successor, 1)
    discarded = "SELECT count(*) FROM training.events WHERE kind = 'checkpoint_discarded'"
    assert column(connection, discarded) == [3], "each one is on record once"
    assert violations(connection, settings) == []


def test_the_folder_that_the_next_step_starts_from_is_not_pruned(
    connection: Connection, settings: Settings, refused: PeerTrainer
) -> None:
    """On a disk it has the number of what was discarded."""
    refused.falls = "refuses"
    assert train(settings, refused).action == "failed"
    assert old_checkpoints.pruned(connection, LINEAGE) == []
    refused.falls = None
    assert train(settings, refused).step == 3
    assert old_checkpoints.pruned(connection, LINEAGE) == [2]


def test_nothing_is_discarded_that_nobody_has_decided_about(
    connection: Connection, settings: Settings, begin: Begin
) -> None:
    trainer = begin()
    for n in (1, 2):
        scored_window(connection, hour(n))
        last = train(settings, trainer)

    assert last.action == "idle"
    assert "babylon@1 neither serves nor is refused" in str(last.reason)
    assert "models promote 1` or `models refuse 1` decides" in str(last.reason)
    assert trainer.discarded == []
    serving.refuse(connection, LINEAGE, 1, reason="r", actor="operator")
    assert train(settings, trainer).step == 2
    assert trainer.discarded == [(0, (1,))]


def test_what_an_arm_has_is_not_discarded(
    connection: Connection, settings: Settings, refused: PeerTrainer
) -> None:
    trial = Arms(from_window="2026-01-01T00:00", salt="s", examinee_share=0.1, examinee_step=2)
    arms.begin(connection, LINEAGE, trial)

    waiting = train(settings, refused)

    assert waiting.action == "idle"
    assert "babylon@2 is in an arm" in str(waiting.reason)
    assert refused.discarded == []
    arms.begin(connection, LINEAGE, Arms(from_window="2026-01-01T00:00", salt="s"))
    assert train(settings, refused).step == 3
