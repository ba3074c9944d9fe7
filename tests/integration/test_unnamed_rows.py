"""`doctor` names the index that Babylon's table needs where many rows name no window."""

from __future__ import annotations

import pytest
from factories import insert_trajectories, trajectory
from psycopg import sql

from babylon_tasks.cli import babylon_checks
from babylon_tasks.db.session import Connection

UNNAMED = 3
INDEX = 'CREATE INDEX ON trajectories ("startTime") WHERE "windowId" IS NULL'


def found(connection: Connection) -> list[str | None]:
    return [one.todo for one in babylon_checks.rows(connection) if one.outcome == "warn"]


def test_doctor_names_the_index_that_many_unnamed_rows_need(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(babylon_checks, "_MANY", UNNAMED)
    insert_trajectories(connection, [trajectory(None) for _ in range(UNNAMED - 1)])
    assert found(connection) == []

    insert_trajectories(connection, [trajectory(None)])
    (todo,) = found(connection)
    assert todo is not None
    advised = todo.partition("`")[2].partition("`")[0]
    assert advised == INDEX.replace("INDEX", "INDEX CONCURRENTLY")

    connection.execute(sql.SQL(INDEX))
    assert found(connection) == []
