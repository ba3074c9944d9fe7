"""A group of which only a few earned less is used up without a step, and nothing else changes."""

from __future__ import annotations

import pytest
from factories import WINDOW, action, step
from planned_steps import Make, manifest, state, train, uses
from scored_windows import scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.compared_groups import held_out_set
from babylon_tasks.settings import Settings

SETTLED = (*(0.55,) * 15, 0.0)
FEW_ARE_RIGHT = (*(0.45,) * 15, 1.0)


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    return make_settings(learning_rate=1e-3, final_learning_rate=1e-3)


def test_a_settled_group_is_used_up_and_lowers_the_rate_of_those_that_teach(
    connection: Connection, settings: Settings
) -> None:
    settled = scored_window(connection, rewards=SETTLED, key="archetype=sure")
    few = scored_window(connection, rewards=FEW_ARE_RIGHT, key="archetype=turned")

    assert train(settings).action == "committed"
    assert uses(connection) == {
        **dict.fromkeys(settled, "settled"),
        **dict.fromkeys(few, "trained"),
    }
    assert manifest(connection)["config"]["learning_rate"] == 1e-3 / 2


def test_where_others_of_its_kind_of_question_are_wrong_a_group_teaches(
    connection: Connection, settings: Settings
) -> None:
    sure = scored_window(connection, rewards=SETTLED, key="m-1")
    few = scored_window(connection, rewards=FEW_ARE_RIGHT, key="m-2")

    assert train(settings).action == "committed"
    assert uses(connection) == dict.fromkeys([*sure, *few], "trained")


def test_where_a_question_of_its_kind_was_lost_by_all_alike_a_group_teaches(
    connection: Connection, settings: Settings
) -> None:
    sure = scored_window(connection, rewards=SETTLED, key="m-1")
    lost = scored_window(connection, rewards=(0.5,) * 16, key="m-2")
    connection.execute(
        """UPDATE training.scores SET components = components || '{"decisions": -1}'"""
        " WHERE trajectory_id = ANY (%s)",
        [lost],
    )

    assert train(settings).action == "committed"
    assert uses(connection) == dict.fromkeys(sure, "trained") | dict.fromkeys(lost, "no_spread")


def test_an_hour_of_settled_groups_only_says_so(connection: Connection, settings: Settings) -> None:
    scored_window(connection, rewards=SETTLED)

    assert train(settings).reason == f"{WINDOW}: settled"
    assert state(connection) == ("skipped", "settled")


def test_where_an_action_failed_the_group_teaches(
    connection: Connection, settings: Settings
) -> None:
    stepped = [[step(0)]] * 15 + [[step(0, action=action(success=False))]]
    failed = scored_window(connection, rewards=SETTLED, stepped=stepped)

    assert train(settings).action == "committed"
    assert uses(connection) == dict.fromkeys(failed, "trained")


def test_without_a_share_for_exploration_it_teaches(
    connection: Connection, make_settings: Make
) -> None:
    sure = scored_window(connection, rewards=SETTLED)

    assert train(make_settings(exploration_share=0)).action == "committed"
    assert uses(connection) == dict.fromkeys(sure, "trained")


def test_candidates_are_evaluated_on_settled_groups_too(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, rewards=SETTLED, state="held_out")

    (group,) = held_out_set(connection, settings, actor="test")

    assert len(group.members) == 16
