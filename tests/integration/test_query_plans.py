"""Asking which steps a window was part of reads the index on their windows, not every step."""

from __future__ import annotations

import pytest

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import statement

pytestmark = pytest.mark.contract(None)

STEPS = 5000
WINDOW = "2026-01-31T09:00"


@pytest.fixture
def steps(connection: Connection) -> Connection:
    """A lineage with thousands of steps; one of them has ``WINDOW``."""
    connection.execute(
        "INSERT INTO training.lineages (name, base_model, backend) VALUES ('babylon', 'm', 'cpu')"
    )
    connection.execute(
        "INSERT INTO training.windows (window_id, starts_at, held_out)"
        " VALUES (%s, '2026-01-31T09:00Z', false)",
        [WINDOW],
    )
    connection.execute(
        """
        INSERT INTO training.steps (lineage, base_step, target_step, state, attempt, backend,
                                    windows, manifest_hash, manifest)
        SELECT 'babylon', n, n + 1, 'committed', 1, 'cpu',
               ARRAY[CASE n WHEN 7 THEN %s ELSE 'w-' || n END, 'v-' || n], 'h', '{}'
        FROM generate_series(0, %s - 1) AS n
        """,
        [WINDOW, STEPS],
    )
    connection.execute("ANALYZE training.steps")
    return connection


@pytest.mark.parametrize(
    "name",
    [
        "progress.of_window",
        "reports.events_of_window",
        "reports.evaluations_of_window",
        "reports.steps_of_window",
        "steps.step_of_window",
    ],
)
def test_the_steps_of_a_window_are_found_by_their_index(steps: Connection, name: str) -> None:
    plan = steps.execute(
        "EXPLAIN (COSTS off) " + statement(name), {"window": WINDOW, "lineage": "babylon"}
    ).fetchall()
    text = "\n".join(row[0] for row in plan)

    assert "Bitmap Index Scan on steps_windows" in text, text
    assert "Seq Scan on steps" not in text, text
