"""A lineage with its own trainer, and agents of it, for tests of two in one database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from factories import WINDOW
from peer import PeerTrainer
from scored_windows import column, scored_window

from babylon_tasks.db import windows
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

NAMES = ("babylon", "other")
Make = Callable[..., Settings]


class Lineage:
    """A lineage with its own settings, data folder and trainer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = settings.lineage
        self.trainer = self.peer()

    def peer(self, **how: object) -> PeerTrainer:
        return PeerTrainer(self.settings.data_dir, self.name, **how)  # type: ignore[arg-type]

    def train(self, window: str | None = None, trainer: PeerTrainer | None = None) -> TrainOutcome:
        trainer = trainer or self.trainer
        return train_window(self.settings, trainer, window=window, actor="test")

    def state(self, connection: Connection, window: str = WINDOW) -> str:
        return windows.get(connection, window, lineage=self.name).state


def agents_of(connection: Connection, name: str, window: str = WINDOW) -> list[str]:
    """A scored group of the lineage's agents."""
    return scored_window(connection, window, key=name, model=f"{name}@0")


def used_by(connection: Connection, name: str) -> set[object]:
    query = "SELECT trajectory_id FROM training.consumption WHERE lineage = %s AND use = 'trained'"
    return set(column(connection, query, name))


def silence(connection: Connection, name: str) -> None:
    """Nobody has served or trained the lineage for long."""
    ago = timedelta(days=8)
    connection.execute(
        "UPDATE training.lineages SET updated_at = now() - %s WHERE name = %s", (ago, name)
    )
