"""What a ramp's comparison concludes is done at once: shares, what serves, and the end."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from compared_hours import (
    EXTERNAL,
    RAMP,
    assert_replayed,
    begun,
    branch,
    lineage,
    served_from,
    taken,
)
from concluded_hours import done, newest, served, until
from msgspec.structs import replace
from scored_windows import column, hour

from babylon_tasks.comparison.parameters import ComparisonParameters
from babylon_tasks.db import comparisons, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")
BETTER = {"serving": 0.8, "examinee": 0.8}
HARM = {"serving": 0.1, "examinee": 0.1}


def test_a_ramp_rises_by_evidence_and_ends_in_a_comparison_with_what_is_proven(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    first = begun(connection, anchor=EXTERNAL, parameters=replace(RAMP, min_windows=2))
    number = 0
    for control in (0.7, 0.5, 0.2):
        number = until(connection, settings, "rise", first=number, serving=0.8)
        examinee = (0.2, 2) if control == 0.2 else (0.0, None)
        assert newest(connection) == (control, EXTERNAL, *examinee)

    until(connection, settings, "proven_gain", first=number, **BETTER)

    begun_again = comparisons.running(connection, "babylon")
    assert begun_again is not None
    assert (begun_again.anchor_step, begun_again.actor) == (2, "comparison")
    assert begun_again.id > first.id
    again = msgspec.json.decode(begun_again.parameters, type=ComparisonParameters)
    assert again == replace(RAMP, min_windows=2, ramp=None)
    assert newest(connection) == (0.1, 2, 0.0, None)
    assert served(connection) == 2


def test_in_mode_proven_what_is_proven_on_a_ramp_serves_instead_of_what_came_after_it(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(promotion_mode="proven")
    lineage(connection, steps=1)
    begun(connection, anchor=EXTERNAL, parameters=replace(RAMP, min_windows=2))
    number = 0
    for _ in range(3):
        number = until(connection, settings, "rise", first=number, serving=0.8)
    assert newest(connection) == (0.2, EXTERNAL, 0.2, 1)
    connection.execute(
        "INSERT INTO training.checkpoints (lineage, step, inference_name, uri)"
        " VALUES ('babylon', 2, 'babylon@2', 'x')"
    )
    connection.execute("UPDATE training.lineages SET head_step = 2, serving_step = 2")

    until(connection, settings, "proven_gain", first=number, **BETTER)

    assert served(connection) == 1
    running = comparisons.running(connection, "babylon")
    assert running is not None
    assert (running.anchor_step, running.anchor_model) == (1, None)


def test_harm_on_a_ramp_sends_the_policy_to_the_floor_and_the_end_of_the_budget_withdraws_it(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    begun(connection, anchor=EXTERNAL, parameters=RAMP)
    number = until(connection, settings, "rise", serving=0.8)
    number = until(connection, settings, "to_floor", first=number, serving=0.1)
    assert newest(connection) == (0.8, EXTERNAL, 0.0, None)
    assert served(connection) == 2

    until(connection, settings, "withdraw", first=number, serving=0.0)

    assert newest(connection) == (1.0, EXTERNAL, 0.0, None)
    ended = comparisons.newest(connection, "babylon")
    assert ended is not None
    assert "the budget is 0.3" in str(ended.ended_why)


def test_what_collapses_on_a_ramp_is_rolled_back_to_what_served_when_nothing_hinted_at_harm(
    connection: Connection, settings: Settings
) -> None:
    trainer = branch(connection, settings)
    served_from(connection, 2, 5)
    comparison = begun(connection, first=5, anchor=EXTERNAL, parameters=RAMP)
    number = until(connection, settings, "rise", first=5, serving=0.8)
    served_from(connection, 3, number - 0.5)  # within the last quiet hour
    after = until(connection, settings, "to_floor", first=number, serving=0.1)

    assert served(connection) == 2
    last = promotions.latest(connection, "babylon")
    assert last is not None
    assert (last.decision, last.from_step, last.to_step, last.actor) == (
        "rollback",
        3,
        2,
        "comparison",
    )
    assert last.figures["windows"] == [hour(one) for one in range(number, after)]
    dead = "SELECT step FROM training.checkpoints WHERE dead_at IS NOT NULL"
    assert column(connection, dead) == [3]
    ready = """SELECT "modelId" FROM trained_models WHERE status = 'ready'"""
    assert column(connection, ready) == ["babylon@2"]
    assert newest(connection) == (0.8, EXTERNAL, 0.0, None)
    assert comparisons.running(connection, "babylon") is not None
    assert done(connection)[-1].startswith("babylon@3 was rolled back to babylon@2; from ")
    assert_replayed(connection, comparison)

    train_window(settings, trainer, window=None, actor="test")

    parent = "SELECT parent_step FROM training.steps ORDER BY id DESC LIMIT 1"
    assert column(connection, parent) == [2]


def test_where_nothing_else_is_left_what_collapsed_serves_on_and_the_record_says_why(
    connection: Connection, settings: Settings
) -> None:
    branch(connection, settings)
    served_from(connection, 2, 5)
    begun(connection, first=5, anchor=EXTERNAL, parameters=RAMP)
    number = until(connection, settings, "rise", first=5, serving=0.8)
    served_from(connection, 3, number - 0.5)
    connection.execute("UPDATE training.checkpoints SET pruned_at = now() WHERE step < 3")

    until(connection, settings, "to_floor", first=number, serving=0.1)

    assert served(connection) == 3
    assert done(connection)[-1].startswith("babylon@3 serves on: all that served before it is ")


def test_what_has_served_all_along_serves_on_at_the_floor(
    connection: Connection, settings: Settings
) -> None:
    branch(connection, settings)
    for step, number in ((1, 0), (2, 1), (3, 2)):
        served_from(connection, step, number)
    begun(connection, first=5, anchor=EXTERNAL, parameters=RAMP)
    number = until(connection, settings, "rise", first=5, serving=0.8)
    until(connection, settings, "to_floor", first=number, serving=0.1)

    assert served(connection) == 3
    assert done(connection)[-1].startswith("babylon@3 serves on, as before there was harm; from ")


def test_a_budget_spent_in_hours_that_are_no_evidence_takes_no_checkpoint_out(
    connection: Connection, settings: Settings
) -> None:
    branch(connection, settings)
    served_from(connection, 2, 5)
    begun(connection, first=5, anchor=EXTERNAL, parameters=RAMP)
    number = until(connection, settings, "rise", first=5, serving=0.8)
    served_from(connection, 3, number - 0.5)
    conclusions = ["pause_comparison"]
    while conclusions[-1] == "pause_comparison":
        one = taken(connection, settings, number, serving=0.1, through_gateway=0.5)
        assert one is not None
        conclusions.append(one.conclusion)
        number += 1

    assert conclusions[-1] == "withdraw"
    assert newest(connection) == (1.0, EXTERNAL, 0.0, None)
    assert served(connection) == 3
    assert (
        column(connection, "SELECT step FROM training.checkpoints WHERE dead_at IS NOT NULL") == []
    )
