"""Which decisions and evaluations are read of a lineage: its own, the newest, the best."""

from __future__ import annotations

from typing import Any

import pytest
from evidence import settings
from factories import insert, rewrite
from one_moment import alter, lineage
from scored_windows import hour

from babylon_tasks.db import evaluations, promotions
from babylon_tasks.db.session import Connection

SETTINGS = settings()


@pytest.fixture
def two(moment: Connection) -> Connection:
    """Two lineages, ours and another."""
    lineage(moment)
    lineage(moment, "another")
    return moment


def decide(connection: Connection, decision: str, at: str = "now()", **columns: Any) -> None:
    row = {"lineage": "babylon", "decision": decision, "from_step": 0, "to_step": 1}
    insert(
        connection,
        "training.promotions",
        [row | {"reason": "why", "evidence": "{}", "actor": "test"} | columns],
    )
    newest = "id = (SELECT max(id) FROM training.promotions)"
    dated = f"UPDATE training.promotions SET decided_at = {at} WHERE {newest}"  # noqa: S608
    rewrite(connection, "promotions", dated)


def test_what_served_before_is_what_the_newest_promotion_of_the_checkpoint_replaced(
    two: Connection,
) -> None:
    decide(two, "promote", from_step=1, to_step=4)
    decide(two, "promote", from_step=2, to_step=4)
    decide(two, "hold", from_step=9, to_step=4)
    decide(two, "promote", from_step=9, to_step=5)
    decide(two, "promote", from_step=9, to_step=4, lineage="another")

    assert promotions.before(two, "babylon", 4) == 2
    assert promotions.before(two, "babylon", 2) is None
    latest = promotions.latest(two, "babylon")
    assert latest is not None
    assert (latest.decision, latest.from_step, latest.to_step) == ("promote", 9, 5)


def test_a_checkpoint_was_rolled_back_where_a_rollback_led_away_from_it(two: Connection) -> None:
    decide(two, "promote", from_step=1, to_step=2)
    decide(two, "rollback", from_step=3, to_step=1)
    decide(two, "rollback", from_step=1, to_step=0, lineage="another")

    assert [promotions.was_rolled_back(two, "babylon", step) for step in (1, 2, 3)] == [
        False,
        False,
        True,
    ]


def committed_unseen(connection: Connection) -> None:
    """A head that was committed just more than a lease ago, and about which nothing is decided."""
    alter(connection, "lineages", "head_step = 2, serving_step = 1")
    rows = [
        {"lineage": "babylon", "step": step, "uri": "uri", "inference_name": f"babylon@{step}"}
        for step in (1, 2)
    ]
    insert(connection, "training.checkpoints", rows)
    alter(connection, "checkpoints", "created_at = now() - interval '90.001 s'")


@pytest.mark.parametrize(
    "decision",
    [
        None,
        {"from_step": 1, "to_step": 2, "at": "now() - interval '90.001 s'"},
        {"from_step": 0, "to_step": 1},
        {"from_step": 1, "to_step": 2, "lineage": "another"},
    ],
)
def test_a_head_that_nobody_has_decided_about_since_its_commit_is_evaluated(
    two: Connection, decision: dict[str, Any] | None
) -> None:
    committed_unseen(two)
    if decision is not None:
        decide(two, "hold", **decision)

    assert promotions.head_is_unevaluated(two, SETTINGS)
    assert not promotions.head_is_unevaluated(two, settings(lineage="another"))


@pytest.mark.parametrize(
    ("table", "but"),
    [
        ("lineages", "serving_step = 2"),
        ("lineages", "head_step = 3"),
        ("checkpoints", "created_at = now() - interval '90 s'"),
        ("promotions", "from_step = 1, to_step = 2"),
        ("promotions", "from_step = 2, to_step = 1"),
    ],
)
def test_a_head_that_serves_is_new_or_was_decided_about_is_not_evaluated(
    two: Connection, table: str, but: str
) -> None:
    committed_unseen(two)
    decide(two, "rollback", from_step=0, to_step=0)
    alter(two, table, but)

    assert not promotions.head_is_unevaluated(two, SETTINGS)


# --- evaluations


def value(
    connection: Connection, step: int, set_hash: str, *values: float, name: str = "babylon"
) -> None:
    many = len(values)
    evaluations.store(
        connection,
        name,
        step,
        set_hash,
        groups=[(hour(number), "key") for number in range(many)],
        values=values,
        coverage=[0.25] * many,
        entropy=[one / 2 for one in values],
        says=[{"rise": one} for one in values],
        contested=[True] * many,
    )


def test_the_values_of_a_set_are_in_its_order_and_the_first_that_was_stored_counts(
    two: Connection,
) -> None:
    value(two, 1, "set", 0.75, 0.25, 0.5)
    value(two, 1, "set", 0.0)
    value(two, 2, "another set", 1.0)
    value(two, 2, "set", 1.0, name="another")

    found = evaluations.of_set(two, "babylon", "set")

    assert list(found) == [1]
    assert found[1].values == (0.75, 0.25, 0.5)
    assert found[1].entropy == (0.375, 0.125, 0.25)
    assert found[1].says == ({"rise": 0.75}, {"rise": 0.25}, {"rise": 0.5})
    assert found[1].coverage == 0.25
    older = "UPDATE training.evaluations SET group_values = group_values #- '{0,says}'"
    rewrite(two, "evaluations", older)
    assert evaluations.of_set(two, "babylon", "set")[1].says == (), "of an older version"
