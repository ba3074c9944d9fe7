"""Sealed windows to score, and what scoring left in the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from factories import WINDOW, insert

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.results import Scoring
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start

LATER = "2026-01-31T11:00"
MakeSettings = Callable[..., Settings]


def seal(connection: Connection, window: str = WINDOW, **columns: Any) -> None:
    row = {"window_id": window, "starts_at": window_start(window), "held_out": False}
    insert(connection, "training.windows", [{**row, "state": "sealed", **columns}])


def run(settings: Settings, window: str = WINDOW) -> Scoring:
    return score_window(settings, window, actor="test")


def rejections(connection: Connection) -> dict[str, str]:
    return dict(
        connection.execute("SELECT trajectory_id, reason FROM training.rejections").fetchall()
    )


def one(connection: Connection, columns: str, table: str = "training.windows") -> tuple[Any, ...]:
    row = connection.execute(f"SELECT {columns} FROM {table}").fetchone()  # type: ignore[arg-type]  # noqa: S608
    assert row is not None
    return row


def count(connection: Connection, table: str) -> int:
    return int(one(connection, "count(*)", table)[0])


def events(connection: Connection) -> list[str]:
    rows = connection.execute("SELECT kind FROM training.events ORDER BY id").fetchall()
    return [kind for (kind,) in rows]
