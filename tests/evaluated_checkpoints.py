"""Checkpoints and held-out windows, for tests of what the gate decides."""

from __future__ import annotations

from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.pipeline.results import GateResult
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

LINEAGE = "babylon"


def held_out_windows(connection: Connection, number: int = 3) -> None:
    for n in range(number):
        scored_window(connection, f"2026-01-30T{n:02d}:00", state="held_out", model="anyone")


def trained(connection: Connection, settings: Settings, trainer: PeerTrainer, n: int) -> None:
    scored_window(connection, hour(n))
    outcome = train_window(settings, trainer, window=hour(n), actor="test")
    assert outcome.action == "committed"


def evaluated(settings: Settings, trainer: PeerTrainer) -> GateResult:
    return evaluate(settings, trainer, actor="test")


def statuses(connection: Connection) -> list[object]:
    return column(connection, 'SELECT status FROM trained_models ORDER BY "modelId"')


def decisions(connection: Connection) -> list[object]:
    return column(connection, "SELECT decision FROM training.promotions ORDER BY id")
