"""An hour in which what serves has collapsed needs no detector: agents get the anchor after it."""

from __future__ import annotations

import pytest
from compared_hours import PARAMETERS, arms_of, assert_replayed, begun, compared_hour, lineage
from factories import insert_trajectories, trajectory
from msgspec.structs import replace
from scored_windows import column, hour

from babylon_tasks.db import comparisons, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.compare import compare
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")
MORE_CALLS = (
    "INSERT INTO training.calls SELECT (jsonb_populate_record(c, jsonb_build_object("
    "'capture_id', gen_random_uuid()))).* FROM training.calls c, generate_series(1, 4)"
)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            "UPDATE training.calls SET step = NULL, server = 'groq', model = 'q'"
            " WHERE arm = 'serving'",
            "the fallback gave 100% of",
        ),
        (
            "UPDATE training.calls SET latency_ms = 4 WHERE arm = 'serving'",
            "4.0 times as long as the anchor",
        ),
    ],
)
def test_what_serves_is_rolled_back_to_the_anchor_by_that_hour(
    connection: Connection, settings: Settings, change: str, why: str
) -> None:
    lineage(connection)
    begun(connection, parameters=replace(PARAMETERS, guard=None))
    compared_hour(connection, 0)
    connection.execute(change)  # type: ignore[call-overload]
    connection.execute(MORE_CALLS)

    (found,) = compare(connection, settings)

    assert found.conclusion == "rollback"
    assert column(connection, "SELECT serving_step FROM training.lineages") == [0]
    last = promotions.latest(connection, "babylon")
    assert last is not None
    assert (last.actor, why in last.reason) == ("comparison", True)
    assert last.figures["windows"] == [hour(0)]
    comparison = comparisons.running(connection, "babylon")
    assert comparison is not None
    assert_replayed(connection, comparison)


def test_fifty_calls_in_each_arm_are_needed(connection: Connection, settings: Settings) -> None:
    lineage(connection)
    begun(connection, parameters=replace(PARAMETERS, guard=None))
    compared_hour(connection, 0)
    connection.execute("UPDATE training.calls SET latency_ms = 9 WHERE arm = 'serving'")

    (found,) = compare(connection, settings)

    assert found.conclusion == "keep"


def refused(connection: Connection, agents: list[str], stage: str, reason: str) -> None:
    """As if a row of each, in hour 0, had been refused when that was scored."""
    window = hour(0)
    ids = insert_trajectories(connection, [trajectory(window, agent) for agent in agents])
    connection.execute(
        "INSERT INTO training.rejections (trajectory_id, window_id, reward_version, stage, reason)"
        " SELECT one, %s, 1, %s, %s FROM unnest(%s::text[]) AS one",
        (window, stage, reason, ids),
    )


def test_agents_of_whom_nothing_can_be_scored_have_no_valid_answers(
    connection: Connection, settings: Settings
) -> None:
    """They have no reward either: an hour in which all of an arm are such has no difference."""
    lineage(connection)
    begun(connection)
    compared_hour(connection, 0)
    connection.execute(MORE_CALLS)
    names = "SELECT DISTINCT agent FROM training.calls WHERE arm = 'serving'"
    served = [str(one) for one in column(connection, names)]
    connection.execute("DELETE FROM training.scores WHERE agent_id = ANY (%s)", (served,))
    refused(connection, served, "decode", "no_steps")

    found = comparisons.agents(connection, "babylon", hour(0), 1, arms_of())
    assert {one.valid for one in found if one.agent in served} == {0.0}
    (taken,) = compare(connection, settings)

    assert taken.conclusion == "rollback"
    assert "0% of the answers of what serves were valid, and 100% of the anchor's" in taken.why


@pytest.mark.parametrize("reason", ["evaluation_row", "not_training_data", "already_used"])
def test_rows_that_are_flagged_say_nothing_of_answers(
    connection: Connection, settings: Settings, reason: str
) -> None:
    lineage(connection)
    compared_hour(connection, 0)
    refused(connection, ["agent-1", "somebody"], "decode", reason)

    found = comparisons.agents(connection, "babylon", hour(0), 1, arms_of())

    valid = {one.agent: one.valid for one in found}
    assert valid["agent-1"] == 1.0
    assert valid.get("somebody") is None
