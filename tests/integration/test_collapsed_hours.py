"""An hour in which what serves has collapsed needs no detector: agents get the anchor after it."""

from __future__ import annotations

import pytest
from compared_hours import PARAMETERS, assert_replayed, begun, compared_hour, lineage
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
