"""An evaluation that is impossible now decides nothing and is tried again."""

from __future__ import annotations

import pytest
from peer import PeerTrainer
from promoted_checkpoints import train
from scored_windows import column, hour, scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.errors import AnotherTrainer, BackendUnavailable, TrainingError
from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.settings import Settings


def test_a_worker_without_the_trainer_decides_nothing_about_a_checkpoint(
    connection: Connection,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    trainer: PeerTrainer,
) -> None:
    scored_window(connection, hour(1))
    train(settings, trainer, 1)

    def another(*_: object) -> None:
        raise AnotherTrainer("another trainer (process 7) is running for lineage babylon")

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "ready", another)
        found = evaluate(settings, trainer, actor="test")

    assert (found.action, found.serving) == ("idle", 0)
    assert "not evaluated, to be retried: another trainer" in found.reason
    assert column(connection, "SELECT count(*) FROM training.promotions") == [0]
    assert evaluate(settings, trainer, actor="test").action == "promoted"


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
    scored_window(connection, hour(1))
    train(settings, trainer, 1)

    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "evaluate", refuse)
        assert evaluate(settings, trainer, actor="test").action == "idle"
    assert column(connection, "SELECT count(*) FROM training.promotions") == [0]
