"""Trained checkpoints, and which of them are pruned."""

from __future__ import annotations

from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import OPTIMIZER

LINEAGE = "babylon"


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
