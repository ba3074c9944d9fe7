"""An hour that was scored anew is compared with all its agents, those that steps had used included.

What is used is mostly what serves has answered: its arm alone would lose agents.
"""

from __future__ import annotations

import pytest
from compared_hours import arms_of, begun, compared_hour, lineage
from scored_windows import hour

from babylon_tasks.comparison.agents import AgentHour
from babylon_tasks.db import comparisons
from babylon_tasks.db.session import Connection

pytestmark = pytest.mark.contract("today")


def test_whom_a_step_had_used_before_an_hour_was_scored_anew_counts_with_the_earlier_reward(
    connection: Connection,
) -> None:
    lineage(connection)
    begun(connection)
    for number in (0, 1):
        compared_hour(connection, number)
    before = {one.agent: one for one in active(connection, 1)}
    for number in (0, 1):
        scored_anew(connection, hour(number), used=("agent-1", "agent-2"), rejected="agent-3")

    after = {one.agent: one for one in active(connection, 1, version=2)}

    kept = {f"agent-{n}" for n in range(100)} - {"agent-3"}
    for agent in kept:
        anew = agent not in ("agent-1", "agent-2")
        assert after[agent].reward == (1.0 if anew else before[agent].reward)
        assert after[agent].past == (1.0 if anew else before[agent].past)
    assert (after["agent-3"].reward, after["agent-3"].past) == (None, None)
    assert comparisons.asking(connection, "babylon").rewarded == 99


def active(connection: Connection, number: int, *, version: int = 1) -> list[AgentHour]:
    return comparisons.agents(connection, "babylon", hour(number), version, arms_of())


def scored_anew(
    connection: Connection, window: str, *, used: tuple[str, ...], rejected: str
) -> None:
    """A second reward version: all earn 1, but for who is used or rejected."""
    left_out = [*used, rejected]
    connection.execute(
        "INSERT INTO training.scores (trajectory_id, reward_version, window_id, agent_id,"
        " group_key, scorer, scorer_version, reward, components, content_hash)"
        " SELECT trajectory_id, 2, window_id, agent_id, '', '', '', 1, '{}', '' FROM"
        " training.scores WHERE window_id = %s AND agent_id <> ALL (%s)",
        (window, left_out),
    )
    connection.execute(
        "INSERT INTO training.rejections (trajectory_id, window_id, reward_version, stage, reason)"
        " SELECT trajectory_id, window_id, 2, 'score', 'no_evidence' FROM training.scores"
        " WHERE window_id = %s AND agent_id = %s",
        (window, rejected),
    )
    connection.execute(
        "UPDATE training.windows SET reward_version = 2 WHERE window_id = %s", (window,)
    )
