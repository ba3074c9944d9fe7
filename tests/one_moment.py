"""Rows for tests that hold one condition of a statement against each; see fixture ``moment``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from factories import insert, rewrite
from scored_windows import hour

from babylon_tasks.db.session import Connection
from babylon_tasks.states import WindowState
from babylon_tasks.windows import window_start

LATER = "now() + interval '1 ms'"
EARLIER = "now() - interval '1 ms'"


def window(connection: Connection, number: int, state: str = "scored", but: str = "") -> str:
    """A window of an hour of that day; ``but``: assignments that make it unlike the others."""
    name = hour(number)
    row = {"window_id": name, "starts_at": window_start(name), "held_out": False, "state": state}
    insert(connection, "training.windows", [row])
    if but:
        statement = f"UPDATE training.windows SET {but} WHERE window_id = %s"  # noqa: S608
        connection.execute(statement, [name])  # type: ignore[arg-type]
    return name


def lineage(connection: Connection, name: str = "babylon", **columns: Any) -> None:
    row = {"name": name, "base_model": "base", "backend": "cpu", **columns}
    insert(connection, "training.lineages", [row])


def alter(connection: Connection, table: str, assignments: str) -> None:
    change = f"UPDATE training.{table} SET {assignments}"  # noqa: S608
    if table == "promotions":
        rewrite(connection, table, change)
    else:
        connection.execute(change)  # type: ignore[arg-type]


def step(connection: Connection, windows: Sequence[str] = (), **columns: Any) -> None:
    """A running step of the lineage, from its base model."""
    row = {"lineage": "babylon", "base_step": 0, "target_step": 1, "attempt": 1, "backend": "cpu"}
    planned = {"windows": list(windows), "manifest_hash": "hash", "manifest": "{}"}
    insert(connection, "training.steps", [row | planned | {"state": "running"} | columns])


def states_but(*kept: str) -> list[str]:
    return [f"state = '{state}'" for state in WindowState if state not in kept]
