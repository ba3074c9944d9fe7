"""Planned steps: what the newest manifest took, and what became of every trajectory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from factories import WINDOW
from peer import PeerTrainer
from scored_windows import column

from babylon_tasks.db import windows
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

MANY = [number / 40 for number in range(40)]
SOME_TOKENS = 8 * 45  # of about eight of the factories' trajectories
Make = Callable[..., Settings]


def train(
    settings: Settings, trainer: PeerTrainer | None = None, window: str | None = None
) -> TrainOutcome:
    trainer = trainer or PeerTrainer(settings.data_dir)
    return train_window(settings, trainer, window=window, actor="test")


def manifest(connection: Connection) -> dict[str, Any]:
    """Of the newest step."""
    (found,) = column(connection, "SELECT manifest FROM training.steps ORDER BY id DESC LIMIT 1")
    assert isinstance(found, dict)
    return found


def taken(connection: Connection) -> list[list[str]]:
    """The members of the newest step's groups."""
    groups = manifest(connection)["groups"]
    return [[entry["trajectory_id"] for entry in group["members"]] for group in groups]


def left_over(connection: Connection, window: str = WINDOW) -> object:
    query = "SELECT left_over FROM training.windows WHERE window_id = %s"
    return column(connection, query, window)[0]


def state(connection: Connection, window: str = WINDOW) -> tuple[str, str | None]:
    row = windows.get(connection, window)
    return row.state, row.reason


def uses(connection: Connection) -> dict[str, str]:
    rows = connection.execute("SELECT trajectory_id, use FROM training.consumption").fetchall()
    return dict(rows)


def refused(connection: Connection) -> dict[str, str]:
    rows = connection.execute("SELECT trajectory_id, reason FROM training.rejections").fetchall()
    return dict(rows)


def grouped(connection: Connection) -> dict[str, Any]:
    query = "SELECT detail FROM training.events WHERE kind = 'grouped' ORDER BY id DESC LIMIT 1"
    (found,) = column(connection, query)
    assert isinstance(found, dict)
    return found
