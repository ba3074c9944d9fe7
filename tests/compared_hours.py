"""Hours of seeded agents in arms, with rewards and captured calls, as a comparison finds them."""

from __future__ import annotations

import random

from scored_windows import hour

from babylon_tasks.arms import Arm, Arms, draw
from babylon_tasks.comparison.parameters import ComparisonParameters, MetricParameters
from babylon_tasks.db import arms, comparisons
from babylon_tasks.db.comparisons import Comparison
from babylon_tasks.db.session import Connection
from babylon_tasks.windows import window_start

AGENTS = 100
SALT = "seeded"
PARAMETERS = ComparisonParameters(
    control_share=0.2, examinee_share=0.2, guard=MetricParameters(), min_windows=3
)


def lineage(connection: Connection, name: str = "babylon", *, steps: int = 2) -> None:
    """A lineage whose newest checkpoint serves."""
    connection.execute(
        "INSERT INTO training.lineages (name, base_model, backend, head_step, serving_step)"
        " VALUES (%s, 'm', 'cpu', %s, %s)",
        (name, steps, steps),
    )
    connection.execute(
        "INSERT INTO training.checkpoints (lineage, step, inference_name, uri)"
        " SELECT %s, n, %s || '@' || n, 'x' FROM generate_series(0, %s) AS n",
        (name, name, steps),
    )


def begun(connection: Connection, *, examinee: int | None = None) -> Comparison:
    """A comparison with step 0 from hour 0 on."""
    comparisons.begin(
        connection,
        "babylon",
        anchor_step=0,
        anchor_model=None,
        parameters=PARAMETERS,
        began_window=hour(0),
        actor="test",
    )
    arms.begin(connection, "babylon", arms_of(examinee))
    found = comparisons.running(connection, "babylon")
    assert found is not None
    return found


def arms_of(examinee: int | None = None) -> Arms:
    """Step 0 for every fifth agent, and the examinee for another fifth."""
    return Arms(
        from_window=hour(0),
        salt=SALT,
        control_share=0.2,
        control_step=0,
        examinee_share=0.0 if examinee is None else 0.2,
        examinee_step=examinee,
    )


def compared_hour(
    connection: Connection,
    number: int,
    *,
    serving: float = 0.5,
    control: float = 0.5,
    examinee: float = 0.5,
    tried: int | None = None,
    through_gateway: float = 1.0,
    state: str = "scored",
) -> None:
    """An hour in which the arms' agents have these rewards on average, drawn by its number."""
    window = hour(number)
    starts = window_start(window)
    chance = random.Random(number)
    means = {Arm.SERVING: serving, Arm.CONTROL: control, Arm.EXAMINEE: examinee}
    steps = {Arm.SERVING: 2, Arm.CONTROL: 0, Arm.EXAMINEE: tried}
    names = [f"agent-{one}" for one in range(AGENTS)]
    drawn = [draw(arms_of(tried), name, window) for name in names]
    rewards = [min(1.0, max(0.0, chance.gauss(means[arm], 0.1))) for arm in drawn]
    connection.execute(
        "INSERT INTO training.windows (window_id, starts_at, held_out, state, scored_at, sealed_at)"
        " VALUES (%s, %s, false, %s, now(), now())",
        (window, starts, state),
    )
    connection.execute(
        "INSERT INTO training.scores (trajectory_id, reward_version, window_id, agent_id,"
        " group_key, scorer, scorer_version, reward, components, content_hash)"
        " SELECT %s || name, 1, %s, name, '', 'default', '1', reward, '{}', 'x'"
        " FROM unnest(%s::text[], %s::float8[]) AS one (name, reward)",
        (window, window, names, rewards),
    )
    asked = round(AGENTS * through_gateway)
    connection.execute(
        "SELECT training.make_call_partitions(%s, %s)", (starts.date(), starts.date())
    )
    connection.execute(
        "INSERT INTO training.calls (capture_id, asked_at, window_id, agent, agent_source, client,"
        " lineage, step, arm, system_hash, user_hash, answer_hash, sample_state, sampling,"
        " latency_ms)"
        " SELECT gen_random_uuid(), %s, %s, name, 'header', 'agents', 'babylon', step, arm, '', '',"
        " '', 'complete', '{}', 1 FROM unnest(%s::text[], %s::int[], %s::text[])"
        " AS one (name, step, arm)",
        (
            starts,
            window,
            names[:asked],
            [steps[arm] for arm in drawn[:asked]],
            [str(arm) for arm in drawn[:asked]],
        ),
    )
