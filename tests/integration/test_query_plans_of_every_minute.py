"""What beat and planning ask each minute does not read every window and step that is finished."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import statement

pytestmark = pytest.mark.contract(None)

LINEAGE = "babylon"
WINDOW = "2026-01-31T09:00"
NEW = datetime(2026, 1, 31, 9, tzinfo=UTC)

OF_UNFINISHED: dict[str, dict[str, Any]] = {
    "open_and_seal.due_to_seal": {"max_open": 7200, "limit": 200},
    "due_windows.pick_to_train": {"again": 54, "limit": 100, "lineage": LINEAGE},
    "due_windows.scored": {"first": None, "limit": 100, "lineage": LINEAGE},
    "gauges.left_over": {"lineage": LINEAGE},
    "gauges.oldest_due": {"lineage": LINEAGE},
    "step_windows.outdated": {"hours": 48, "limit": 100, "lineage": LINEAGE},
}
# The same for those that wait, were scored lately or are named, and for the newest of all.
OF_SOME: dict[str, dict[str, Any]] = {
    "comparisons.asking": {"lineage": LINEAGE},
    "due_windows.pick_to_recover": {"again": 54, "lineage": LINEAGE},
    "gauges.rewards": {},
    "late_rows.to_check": {"hours": 48, "again": 300, "limit": 4, "older": 1},
    "open_and_seal.held_out_from": {"window": WINDOW, "newest": WINDOW, "min_spread": 0.01},
    "open_and_seal.known": {"windows": [WINDOW]},
    "open_and_seal.newest_by": {"moment": NEW.replace(year=2999)},  # all were open by then
    "reward_versions.due": {"again": 54, "limit": 50},
    "reward_versions.next_waiting": {},
    "reward_versions.waiting": {},
    "scored_trajectories.held_out_groups": {"windows": 50},
    "step_windows.outdated": {"hours": 48, "limit": 100, "lineage": LINEAGE},
}
OF_LINEAGE: dict[str, dict[str, Any]] = {
    "due_windows.pick_to_recover": {"again": 54, "lineage": LINEAGE},
    "gauges.evaluation": {"lineage": LINEAGE, "step": 7},
    "gauges.lineage": {"lineage": LINEAGE, "lease": 60},
    "gauges.newest_step": {"lineage": LINEAGE},
    "promotions.head_is_unevaluated": {"lineage": LINEAGE, "seconds": 60},
    "reports.step_in_work": {"lineage": LINEAGE},
    "steps.committed_after": {"lineage": LINEAGE, "after": 4990, "limit": 100},
    "steps.unfinished": {"lineage": LINEAGE},
}


@pytest.fixture
def years(connection: Connection) -> Connection:
    """Two years of trained windows with their steps and scores, and a few windows in work."""
    connection.execute(
        """
        INSERT INTO training.windows (window_id, starts_at, held_out, state, scored_at, sealed_at,
                                      reward_std)
        SELECT to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:00'), hour, false,
               'trained', hour, hour, 0.1
        FROM generate_series(%(new)s::timestamptz - interval '20000 hours', %(new)s, '1 hour')
             AS hour
        """,
        {"new": NEW},
    )
    connection.execute(
        """
        UPDATE training.windows w SET state = (ARRAY['open', 'sealed', 'scored', 'held_out'])[n]
        FROM (SELECT window_id, row_number() OVER (ORDER BY starts_at DESC) AS n
              FROM training.windows ORDER BY starts_at DESC LIMIT 4) AS newest
        WHERE w.window_id = newest.window_id
        """
    )
    connection.execute(
        "INSERT INTO training.lineages (name, base_model, backend) VALUES (%s, 'm', 'cpu')",
        [LINEAGE],
    )
    connection.execute(
        """
        WITH step AS (
            INSERT INTO training.steps (lineage, base_step, target_step, state, attempt, backend,
                                        windows, manifest_hash, manifest)
            SELECT %(lineage)s, n, n + 1, 'committed', 1, 'cpu', ARRAY['w-' || n], 'h', '{}'
            FROM generate_series(0, 4999) AS n
            RETURNING id, target_step
        ), checkpoint AS (
            INSERT INTO training.checkpoints (lineage, step, step_id, uri, inference_name)
            SELECT %(lineage)s, target_step, id, '', '' FROM step
        )
        INSERT INTO training.evaluations (lineage, step, set_hash, windows, groups, value, coverage,
                                          entropy, group_values)
        SELECT %(lineage)s, target_step, 'h', '{}', 1, 0, 0, 0, '[]' FROM step
        """,
        {"lineage": LINEAGE},
    )
    connection.execute(
        """
        INSERT INTO training.scores (trajectory_id, reward_version, window_id, agent_id, group_key,
                                     scorer, scorer_version, reward, components)
        SELECT 't-' || n, 1, w.window_id, 'agent', '', 'default', '2', 0.5, '{}'
        FROM training.windows w, generate_series(1, 2) AS n
        WHERE w.starts_at > %(new)s - interval '5000 hours'
        """,
        {"new": NEW},
    )
    connection.execute("VACUUM ANALYZE training.windows")
    for table in ("steps", "checkpoints", "evaluations", "scores", "lineages"):
        connection.execute(f"ANALYZE training.{table}")  # type: ignore[arg-type]
    return connection


def plan(connection: Connection, name: str, parameters: dict[str, Any]) -> str:
    rows = connection.execute("EXPLAIN (COSTS off) " + statement(name), parameters).fetchall()
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize(("name", "parameters"), OF_UNFINISHED.items(), ids=OF_UNFINISHED)
def test_windows_in_work_are_found_without_the_finished_ones(
    years: Connection, name: str, parameters: dict[str, Any]
) -> None:
    text = plan(years, name, parameters)
    assert "windows_unfinished" in text or "windows_states" in text, text
    assert "Seq Scan on windows" not in text, text


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("due_windows.pick_to_score", {"again": 54, "limit": 1}),
        ("expired_claims.expired_scoring", {"limit": 100}),
    ],
)
def test_what_is_to_be_scored_is_found_without_what_is_scored_and_waits(
    years: Connection, name: str, parameters: dict[str, Any]
) -> None:
    """After each window of a backlog, while the scored ones wait for a step."""
    years.execute("UPDATE training.windows SET state = 'scored' WHERE state = 'trained'")
    years.execute("VACUUM ANALYZE training.windows")

    text = plan(years, name, parameters)
    assert "windows_to_score" in text, text
    assert "windows_unfinished" not in text, text


@pytest.mark.parametrize(("name", "parameters"), OF_SOME.items(), ids=OF_SOME)
def test_some_windows_are_found_without_the_others(
    years: Connection, name: str, parameters: dict[str, Any]
) -> None:
    text = plan(years, name, parameters)
    assert "Seq Scan on windows" not in text, text
    assert "Seq Scan on scores" not in text, text


@pytest.mark.parametrize(("name", "parameters"), OF_LINEAGE.items(), ids=OF_LINEAGE)
def test_the_newest_of_a_lineage_is_found_without_the_older_ones(
    years: Connection, name: str, parameters: dict[str, Any]
) -> None:
    text = plan(years, name, parameters)
    for table in ("steps", "checkpoints", "evaluations"):
        assert f"Seq Scan on {table}" not in text, text
