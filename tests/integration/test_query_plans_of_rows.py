"""What beat asks each minute about one hour's rows does not read the rows of all other hours."""

from __future__ import annotations

from typing import Any

import pytest
from factories import insert_trajectories, trajectory
from one_moment import window
from psycopg import sql
from scored_windows import column, hour

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import statement

ROWS = 20_000
HERE = hour(9)
SPAN = {"window": HERE, "start": f"{HERE[:11]}09:00", "end": f"{HERE[:11]}10:00"}
OF_AN_HOUR: dict[str, dict[str, Any]] = {
    "open_and_seal.note_rows": SPAN,
    "open_and_seal.seal": SPAN | {"target": "sealed", "sources": ["open"]},
    "late_rows.reject": {"window": HERE, "limit": 10_000},
}


@pytest.fixture
def rows(connection: Connection) -> Connection:
    """Many hours of rows, some of which name none."""
    insert_trajectories(connection, [trajectory(HERE)])
    names = column(
        connection,
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'trajectories'::regclass"
        " AND attnum > 0 AND NOT attisdropped",
    )
    different = {
        "id": sql.SQL("'t-' || n"),
        "trajectoryId": sql.SQL("'t-' || n"),
        "startTime": sql.SQL("""t."startTime" + n / 100 * interval '1 hour'"""),
        "windowId": sql.SQL("CASE WHEN mod(n, 10) > 0 THEN 'w-' || n / 100 END"),
    }
    columns = [sql.Identifier(str(name)) for name in names]
    values = [
        different.get(str(name), sql.SQL("t.{}").format(sql.Identifier(str(name))))
        for name in names
    ]
    connection.execute(
        sql.SQL("INSERT INTO trajectories ({}) SELECT {} FROM trajectories t,").format(
            sql.SQL(", ").join(columns), sql.SQL(", ").join(values)
        )
        + sql.SQL(" generate_series(1, {}) AS n").format(sql.Literal(ROWS))
    )
    window(connection, 9, "open")
    connection.execute("ANALYZE trajectories")
    return connection


@pytest.mark.parametrize(("name", "parameters"), OF_AN_HOUR.items(), ids=OF_AN_HOUR)
def test_the_rows_of_an_hour_are_found_by_an_index(
    rows: Connection, name: str, parameters: dict[str, Any]
) -> None:
    found = rows.execute("EXPLAIN (COSTS off) " + statement(name), parameters).fetchall()
    text = "\n".join(row[0] for row in found)
    assert "Seq Scan on trajectories" not in text, text


@pytest.mark.parametrize("name", ["open_and_seal.note_rows", "open_and_seal.seal"])
def test_rows_that_name_no_hour_are_found_by_the_index_that_doctor_names(
    rows: Connection, name: str
) -> None:
    rows.execute('CREATE INDEX unnamed ON trajectories ("startTime") WHERE "windowId" IS NULL')
    rows.execute("ANALYZE trajectories")
    found = rows.execute("EXPLAIN (COSTS off) " + statement(name), OF_AN_HOUR[name]).fetchall()
    text = "\n".join(row[0] for row in found)
    assert "on unnamed" in text, text
