"""Training steps on a peer trainer, for tests of who claims, runs and commits them."""

from __future__ import annotations

from typing import Any

import pytest
from factories import WINDOW
from peer import PeerTrainer
from scored_windows import column, scored_window

from babylon_tasks.db import lineages, steps, windows
from babylon_tasks.db.consumption import Use
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline import train as pipeline
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.pipeline.train_and_evaluate import train_and_evaluate
from babylon_tasks.pipeline.warm_start import WarmStart, warm_start
from babylon_tasks.settings import Settings
from babylon_tasks.step_records import StepResult

RESULT = StepResult(1, 3, 12, "new", "old", "file:///1", "babylon@1", "hash", {"loss/train": 0.5})


def train(settings: Settings, trainer: PeerTrainer, window: str | None = None) -> TrainOutcome:
    return train_window(settings, trainer, window=window, actor="test")


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


def warm(settings: Settings, **how: Any) -> WarmStart:
    """Plan a supervised step."""
    asked = {"since": None, "top_share": 0.25, "dry_run": False, "actor": "test", **how}
    return warm_start(settings, **asked)


def peer(settings: Settings, **how: Any) -> PeerTrainer:
    return PeerTrainer(settings.data_dir, **how)


def kinds(connection: Connection) -> list[object]:
    return column(connection, "SELECT kind FROM training.events ORDER BY id")


def state(connection: Connection, window: str = WINDOW) -> str:
    return windows.get(connection, window).state


def planned_step(connection: Connection, settings: Settings, owner: str = "one") -> Any:
    """A claim and a planned step on one scored window."""
    ids = scored_window(connection)
    lineages.ensure(connection, settings)
    lease = lineages.claim(connection, "babylon", owner, 30)
    assert lease is not None
    step = steps.plan(
        connection,
        lease,
        backend="cpu",
        windows={WINDOW: 1},
        manifest=b'{"a": 1}',
        manifest_hash="hash",
        uses=[Use(one, 1, WINDOW, "trained") for one in ids],
        actor="test",
    )
    return lease, step, ids


def crash_before_commit(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ends between its last but one statement and the commit."""

    def end(*_: Any, **__: Any) -> None:
        raise SystemExit(1)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "commit_step", end)
        with pytest.raises(SystemExit):
            train(settings, peer(settings), WINDOW)


def expire(connection: Connection) -> None:
    connection.execute("UPDATE training.lineages SET lease_until = now() - interval '1 second'")
