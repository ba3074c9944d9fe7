"""Steps that are trained and promoted, for tests of what then happens on disk."""

from __future__ import annotations

from peer import PeerTrainer
from scored_windows import hour, scored_window

from babylon_tasks.db import lineages
from babylon_tasks.db.lineages import Lineage
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

LINEAGE = "babylon"


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
