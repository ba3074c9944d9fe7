"""Windows as scoring leaves them, for tests of what comes after it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from factories import WINDOW, exact_call, insert, insert_trajectories, step, trajectory

from babylon_tasks.db import scored_trajectories
from babylon_tasks.db.session import Connection
from babylon_tasks.decode import content_hash
from babylon_tasks.windows import window_start

REWARDS = (0.0, 0.25, 0.75, 1.0)


def hour(number: int) -> str:
    """The nth hour of a day long past."""
    return f"{WINDOW[:11]}{number:02d}:00"


def scored_window(
    connection: Connection,
    window: str = WINDOW,
    rewards: Sequence[float] = REWARDS,
    *,
    key: str = "",
    state: str = "scored",
    model: str = "babylon@0",
    calls: Sequence[dict[str, object]] | None = None,
    policy_step: int | None = None,
    activities: Sequence[float] | None = None,
    stepped: Sequence[Sequence[dict[str, object]]] = (),
) -> list[str]:
    """One group of a window, an agent for each reward; called again, it adds another group.

    ``calls``: those of each trajectory, one a step. ``stepped``: each trajectory's own steps.
    """
    made = exact_call("YES", model=model, policy_step=policy_step)
    steps = [step(number, [call], window=window) for number, call in enumerate(calls or [made])]
    rows = [
        trajectory(window, f"agent-{number}", stepped[number] if stepped else steps)
        for number, _ in enumerate(rewards)
    ]
    ids = insert_trajectories(connection, rows)
    recorded = scored_trajectories.rows(connection, ids, 1_000_000)
    connection.execute(
        "INSERT INTO training.windows (window_id, starts_at, held_out, state, sealed_at, scored_at)"
        " VALUES (%s, %s, %s, %s, now(), now()) ON CONFLICT DO NOTHING",
        (window, window_start(window), state == "held_out", state),
    )
    insert(
        connection,
        "training.scores",
        [
            {
                "trajectory_id": trajectory_id,
                "reward_version": 1,
                "window_id": window,
                "agent_id": f"agent-{number}",
                "group_key": key,
                "scorer": "default",
                "scorer_version": "1",
                "reward": reward,
                "components": json.dumps({"activity": activity}),
                "content_hash": content_hash(recorded[trajectory_id]),
            }
            for number, (trajectory_id, reward, activity) in enumerate(
                zip(ids, rewards, activities or [1.0] * len(rewards), strict=True)
            )
        ],
    )
    return ids


def column(connection: Connection, query: str, *parameters: object) -> list[object]:
    """The first column of a query."""
    return [row[0] for row in connection.execute(query, parameters).fetchall()]  # type: ignore[arg-type]
