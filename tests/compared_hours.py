"""Hours of seeded agents in arms, with rewards and captured calls, as a comparison finds them."""

from __future__ import annotations

import random

import msgspec
from evaluated_checkpoints import trained
from factories import rewrite
from msgspec.structs import replace
from peer import PeerTrainer
from scored_windows import column, hour

from babylon_tasks.arms import Arm, Arms, draw, in_force
from babylon_tasks.comparison import rule
from babylon_tasks.comparison.observed import ComparedWindow
from babylon_tasks.comparison.parameters import ComparisonParameters, MetricParameters, Ramp
from babylon_tasks.db import arms, comparisons, promotions
from babylon_tasks.db.comparisons import Comparison, ComparisonWindow
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.compare import WindowTaken, compare
from babylon_tasks.registry.serving import promote
from babylon_tasks.settings import Settings
from babylon_tasks.windows import WINDOW, window_start

AGENTS = 100
SALT = "seeded"
PARAMETERS = ComparisonParameters(
    control_share=0.2, examinee_share=0.2, guard=MetricParameters(), min_windows=3
)

EXTERNAL = "groq/qwen"
RAMP = replace(
    PARAMETERS,
    guard=None,
    control_share=0.1,
    ramp=Ramp(shares=(0.2, 0.3, 0.5, 0.8), evidence=(3.0, 1.5, 1.5), min_windows=1, budget=0.3),
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


def branch(connection: Connection, settings: Settings) -> PeerTrainer:
    """Steps 1 to 3, each trained from the one before and promoted."""
    trainer = PeerTrainer(settings.data_dir)
    for n in (1, 2, 3):
        trained(connection, settings, trainer, n)
        promote(connection, "babylon", n, reason="r", figures={}, actor="operator")
    return trainer


def served_from(connection: Connection, step: int, number: float) -> None:
    """As if a checkpoint had been promoted then."""
    moment = window_start(hour(0)) + number * WINDOW
    rewrite(
        connection,
        "promotions",
        "UPDATE training.promotions SET decided_at = %s WHERE to_step = %s",
        (moment, step),
    )


def begun(
    connection: Connection,
    *,
    first: int = 0,
    anchor: int | str = 0,
    examinee: int | None = None,
    parameters: ComparisonParameters = PARAMETERS,
) -> Comparison:
    """A comparison with step 0, or another anchor, from an hour on."""
    step, model = (anchor, None) if isinstance(anchor, int) else (None, anchor)
    comparisons.begin(
        connection,
        "babylon",
        anchor_step=step,
        anchor_model=model,
        parameters=parameters,
        began_window=hour(first),
        actor="test",
    )
    shares = rule.shares(parameters, rule.begin(parameters), examinee=examinee is not None)
    drawn = Arms(
        from_window=hour(first),
        salt=SALT,
        control_share=shares.control,
        control_step=step,
        control_model=model,
        examinee_share=shares.examinee,
        examinee_step=examinee,
    )
    arms.begin(connection, "babylon", drawn)
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
    through_gateway: float = 1.0,
    state: str = "scored",
) -> None:
    """An hour in which the arms' agents have these rewards on average, drawn by its number.

    The arms are those in force in it, and what serves is what serves now.
    """
    window = hour(number)
    starts = window_start(window)
    chance = random.Random(number)
    means = {Arm.SERVING: serving, Arm.CONTROL: control, Arm.EXAMINEE: examinee}
    rows = arms.since(connection, "babylon", window)
    in_it = in_force(rows, window) or Arms(from_window=window, salt=SALT)
    steps = {
        Arm.SERVING: promotions.serving(connection, "babylon").step,
        Arm.CONTROL: in_it.control_step,
        Arm.EXAMINEE: in_it.examinee_step,
    }
    names = [f"agent-{one}" for one in range(AGENTS)]
    drawn = [draw(in_it, name, window) for name in names]
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
        " lineage, step, server, model, arm, system_hash, user_hash, answer_hash, sample_state,"
        " sampling, latency_ms)"
        " SELECT gen_random_uuid(), %s, %s, name, 'header', 'agents', 'babylon', step,"
        " CASE WHEN step IS NULL THEN 'another' END, CASE WHEN step IS NULL THEN %s END, arm,"
        " '', '', '', 'complete', '{}', 1 FROM unnest(%s::text[], %s::int[], %s::text[])"
        " AS one (name, step, arm)",
        (
            starts,
            window,
            in_it.control_model,
            names[:asked],
            [steps[arm] for arm in drawn[:asked]],
            [str(arm) for arm in drawn[:asked]],
        ),
    )


def observed(row: ComparisonWindow) -> ComparedWindow:
    assert row.observation is not None
    return msgspec.json.decode(row.observation, type=ComparedWindow)


def assert_replayed(connection: Connection, comparison: Comparison) -> None:
    """What is recorded is what the rule says of the recorded windows, bit by bit."""
    rows = comparisons.windows(connection, comparison.id)
    parameters = msgspec.json.decode(comparison.parameters, type=ComparisonParameters)
    again = rule.replay(parameters, [observed(row) for row in rows])
    for row, compared in zip(rows, again, strict=True):
        assert row.conclusion == compared.conclusion
        assert (row.state or "").encode() == rule.canonical(compared.state)
        assert (row.evidence or "").encode() == rule.canonical(compared.evidence)


def taken(
    connection: Connection, settings: Settings, number: int, **means: float
) -> WindowTaken | None:
    """The hour, taken by a running comparison as soon as it is over: None if none runs.

    Its conclusion and what follows are dated back to its end.
    """
    last = "SELECT coalesce(max(id), 0) FROM training.arms"
    (before,) = column(connection, last)
    compared_hour(connection, number, **means)
    found = compare(connection, settings)
    date_back(connection, number, after=before)
    return found[0] if found else None


def date_back(connection: Connection, number: int, *, after: object = 0) -> None:
    """As if an hour had been compared at its end: arms count from the next one on."""
    after_it = hour(number + 1)
    rewrite(
        connection,
        "comparison_windows",
        "UPDATE training.comparison_windows SET compared_at = %s WHERE window_id = %s",
        (window_start(after_it), hour(number)),
    )
    rewrite(
        connection,
        "arms",
        "UPDATE training.arms SET from_window = %s WHERE id > %s",
        (after_it, after),
    )
    rewrite(
        connection,
        "promotions",
        "UPDATE training.promotions SET decided_at = %s"
        " WHERE actor = 'comparison' AND decided_at > now() - interval '1 day'",
        (window_start(after_it),),
    )
