"""What the tests build on is itself readable by the project's own decoder."""

from __future__ import annotations

import pytest
from factories import (
    Row,
    fill_window,
    insert_outcomes,
    insert_trajectories,
    market_outcome,
    plugin_step,
    step,
    stock_outcome,
    trajectory,
)

from babylon_tasks.db.session import Connection
from babylon_tasks.decode import decode
from babylon_tasks.records import RawTrajectory, Trajectory


@pytest.mark.parametrize("steps", [[step(0), step(1)], [plugin_step(0), plugin_step(1)]])
def test_both_shapes_survive_the_database_and_decode(
    connection: Connection, steps: list[Row]
) -> None:
    [key] = insert_trajectories(connection, [trajectory(steps=steps)])
    row = connection.execute(
        'SELECT "trajectoryId", "agentId", "scenarioId", "stepsJson", length("stepsJson"),'
        ' "finalPnL", "isEvaluation", "isTrainingData" FROM trajectories'
    ).fetchone()
    assert row is not None
    decoded = decode(RawTrajectory(*row))
    assert isinstance(decoded, Trajectory)
    assert decoded.trajectory_id == key
    assert [call.policy_step for call in decoded.calls] == [0, 0]
    assert all(call.logprobs and call.token_ids for call in decoded.calls)


def test_a_filled_window_has_one_trajectory_per_agent(connection: Connection) -> None:
    fill_window(connection, agents=3)
    found = connection.execute('SELECT "agentId", "finalPnL" FROM trajectories ORDER BY 1')
    assert found.fetchall() == [("agent-1", -100.0), ("agent-2", 0.0), ("agent-3", 100.0)]


def test_outcomes_fit_babylons_table(connection: Connection) -> None:
    insert_outcomes(connection, [market_outcome("m-7", "NO"), stock_outcome("ACME", -2.42)])
    found = connection.execute("SELECT count(*) FROM market_outcomes").fetchone()
    assert found == (2,)
