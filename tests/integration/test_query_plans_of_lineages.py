"""With several lineages, what beat and planning ask reads only windows in work, too."""

from __future__ import annotations

from typing import Any

import pytest

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import statement

pytestmark = pytest.mark.contract(None)

MINE = {"lineage": "babylon"}
OF_WINDOWS_IN_WORK: dict[str, dict[str, Any]] = {
    "due_windows.pick_to_recover": {"again": 54, **MINE},
    "due_windows.pick_to_train": {"again": 54, "limit": 100, **MINE},
    "due_windows.scored": {"first": None, "limit": 100, **MINE},
    "gauges.left_over": MINE,
    "gauges.oldest_due": MINE,
    "lineage_windows.for_all": {"window": "2026-01-31T09:00", **MINE},
    "lineage_windows.waits_for_no_one": {"limit": 50},
    "progress.of_window": {"window": "2026-01-31T09:00", **MINE},
    "reports.oldest_due": MINE,
    "step_windows.outdated": {"hours": 48, "limit": 50, **MINE},
}


@pytest.fixture
def two_lineages(connection: Connection) -> Connection:
    """Years of windows that both lineages have trained, and two days of scored ones."""
    connection.execute(
        """
        INSERT INTO training.windows (window_id, starts_at, held_out, state, scored_at, sealed_at)
        SELECT to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:00'), hour, false,
               CASE WHEN hour > '2026-01-29 09:00Z' THEN 'scored' ELSE 'trained' END, hour, hour
        FROM generate_series('2026-01-31 09:00Z'::timestamptz - interval '60000 hours',
                             '2026-01-31 09:00Z', '1 hour') AS hour
        """
    )
    connection.execute(
        "INSERT INTO training.lineages (name, base_model, backend)"
        " VALUES ('babylon', 'm', 'cpu'), ('other', 'm', 'cpu')"
    )
    connection.execute(
        "INSERT INTO training.lineage_windows (window_id, lineage, state)"
        " SELECT window_id, name, state FROM training.windows, training.lineages"
    )
    for table in ("windows", "lineages", "lineage_windows"):
        connection.execute(f"VACUUM ANALYZE training.{table}")  # type: ignore[arg-type]
    return connection


def test_windows_in_work_are_found_without_what_lineages_have_ended(
    two_lineages: Connection,
) -> None:
    for name, parameters in OF_WINDOWS_IN_WORK.items():
        rows = two_lineages.execute("EXPLAIN (COSTS off) " + statement(name), parameters).fetchall()
        text = "\n".join(row[0] for row in rows)
        assert "Seq Scan on windows" not in text, text
        assert "Seq Scan on lineage_windows" not in text, text
