"""Rows that Babylon has moved to another hour, and that were scored there once more."""

from __future__ import annotations

from babylon_tasks.db.session import Connection


def moved_to(connection: Connection, ids: list[str], window: str | None) -> None:
    connection.execute(
        'UPDATE trajectories SET "windowId" = %s, "usedInTraining" = false'
        ' WHERE "trajectoryId" = ANY (%s)',
        (window, ids),
    )


def scored_in(connection: Connection, trajectory_id: str, window: str, reward: float) -> None:
    """Scored once more, in an hour that Babylon has moved it to."""
    connection.execute(
        "INSERT INTO training.scores (trajectory_id, reward_version, window_id, agent_id,"
        " group_key, scorer, scorer_version, reward, components)"
        " VALUES (%s, 1, %s, 'agent', '', 'default', '1', %s, '{}')",
        (trajectory_id, window, reward),
    )
