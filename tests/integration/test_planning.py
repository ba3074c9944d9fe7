"""What a step takes of its windows, what it leaves over, and what teaches nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from crowd import crowd
from factories import WINDOW, fill_window
from peer import PeerTrainer
from planned_steps import (
    MANY,
    SOME_TOKENS,
    Make,
    grouped,
    left_over,
    manifest,
    refused,
    state,
    taken,
    train,
    uses,
)
from scored_windows import column, hour, scored_window

from babylon_tasks.db import gauges, reports
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.compared_groups import held_out_set
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    return make_settings(retry_delay_seconds=0, max_group_size=4, step_token_budget=SOME_TOKENS)


def tokens_of_a_group(connection: Connection, make_settings: Make) -> int:
    """What four of the factories' trajectories cost, by a step on an hour of their own."""
    scored_window(connection, hour(1), rewards=MANY[:4])
    assert train(make_settings(max_group_size=4)).action == "committed"
    tokens = grouped(connection)["tokens"]
    assert isinstance(tokens, int)
    return tokens


# --- many groups


def test_what_can_be_compared_and_is_more_than_a_group_holds_becomes_several(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4)
    ids = scored_window(connection, rewards=[n / 10 for n in range(10)])

    assert train(settings).action == "committed"

    groups = taken(connection)
    assert sorted(map(len, groups)) == [3, 3, 4]
    assert sorted(one for group in groups for one in group) == sorted(ids)
    assert [group["part"] for group in manifest(connection)["groups"]] == [0, 1, 2]
    assert refused(connection) == {}
    assert state(connection) == ("trained", None)


def test_a_step_takes_groups_up_to_its_budget_and_the_rest_waits_for_the_next(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY)

    assert train(settings).action == "committed"

    first = [one for group in taken(connection) for one in group]
    assert 0 < len(first) <= 8
    assert state(connection) == ("scored", None)
    assert left_over(connection) == len(ids) - len(first) == grouped(connection)["left_over"]
    figures = gauges.read(connection, "babylon", settings.lease_seconds)
    assert (figures.left_over, figures.oldest_due) == (len(ids) - len(first), 0.0)
    assert reports.system_state(connection, "babylon").oldest_due is None
    assert grouped(connection)["tokens"] <= SOME_TOKENS
    assert refused(connection) == {}

    outcomes = [train(settings).action for _ in range(20)]

    assert outcomes.index("idle") == outcomes.count("committed")
    assert uses(connection) == dict.fromkeys(ids, "trained")
    assert state(connection) == ("trained", None)
    assert left_over(connection) == 0
    kinds = Counter(column(connection, "SELECT kind FROM training.events"))
    assert (kinds["trained_in_part"], kinds["trained"]) == (outcomes.count("committed"), 1)


def test_a_group_that_is_larger_than_the_budget_is_a_step_of_its_own(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4, step_token_budget=1)
    scored_window(connection, rewards=MANY[:8])

    assert [train(settings).action for _ in range(3)] == ["committed", "committed", "idle"]
    assert state(connection) == ("trained", None)


def test_a_group_that_fits_the_rest_of_the_budget_exactly_is_taken(
    connection: Connection, make_settings: Make
) -> None:
    tokens = tokens_of_a_group(connection, make_settings)
    settings = make_settings(max_group_size=4, step_token_budget=2 * tokens)
    scored_window(connection, hour(2), rewards=MANY[:8])

    train(settings)

    assert len(taken(connection)) == 2
    assert state(connection, hour(2)) == ("trained", None)


def test_the_hours_of_a_step_share_its_budget(connection: Connection, make_settings: Make) -> None:
    tokens = tokens_of_a_group(connection, make_settings)
    settings = make_settings(max_group_size=4, step_token_budget=3 * tokens)
    for number in (2, 3):
        scored_window(connection, hour(number), rewards=MANY[:8])

    assert train(settings).windows == [hour(2), hour(3)]
    assert len(taken(connection)) == 3
    assert left_over(connection, hour(3)) == 4


def test_the_hours_of_a_step_are_listed_in_order_whichever_was_asked_for(
    connection: Connection, make_settings: Make
) -> None:
    for number in (1, 2, 3):
        scored_window(connection, hour(number))

    found = train(make_settings(max_windows_per_step=2), window=hour(3))

    assert found.windows == [hour(1), hour(3)]


def test_every_key_is_used_before_any_is_used_again(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, rewards=MANY, key="many")
    scored_window(connection, rewards=MANY[:4], key="few")

    train(settings)

    assert sorted(group["key"] for group in manifest(connection)["groups"]) == ["few", "many"]


def test_where_the_hour_that_was_asked_for_teaches_nothing_no_other_is_trained(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, hour(1), rewards=[0.5] * 4)
    scored_window(connection, hour(2), rewards=MANY[:4])

    ended = train(settings, window=hour(1))

    assert (ended.action, ended.windows) == ("skipped", [hour(1)])
    assert state(connection, hour(2)) == ("scored", None)


def test_hours_that_no_step_has_seen_come_before_what_steps_left_over(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4, step_token_budget=1, max_windows_per_step=1)
    for number in (1, 2):
        scored_window(connection, hour(number), rewards=MANY[:8])
    order = [train(settings).windows for _ in range(2)]
    scored_window(connection, hour(3), rewards=MANY[:4])
    order += [train(settings).windows for _ in range(3)]

    # Of what is left over, the newest first: it is the likeliest to be fresh.
    assert order == [[hour(1)], [hour(2)], [hour(3)], [hour(2)], [hour(1)]]


def test_an_hour_of_which_a_part_would_do_no_more_does_not_join_the_step(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4, step_token_budget=1)
    for number in (1, 2):
        scored_window(connection, hour(number), rewards=MANY[:4])

    assert train(settings).windows == [hour(1)]
    assert state(connection, hour(2)) == ("scored", None)
    assert left_over(connection, hour(2)) == 0


def test_a_part_of_an_hour_joins_a_step_that_has_room_for_it(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, hour(1), rewards=MANY[:4])
    scored_window(connection, hour(2), rewards=MANY)

    assert train(settings).windows == [hour(1), hour(2)]
    assert (state(connection, hour(1))[0], state(connection, hour(2))[0]) == ("trained", "scored")


def test_the_same_rows_make_the_same_plan(connection: Connection, settings: Settings) -> None:
    scored_window(connection, rewards=MANY)
    hashes = []
    for _ in range(2):
        train(settings, PeerTrainer(settings.data_dir, falls="refuses"))
        hashes += column(connection, "SELECT manifest_hash FROM training.steps ORDER BY id")[-1:]

    assert hashes[0] == hashes[1]


# --- groups that teach nothing


def test_equal_groups_are_used_up_beside_those_that_teach(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4)
    flat = scored_window(connection, rewards=[0.5] * 4, key="flat")
    busy = scored_window(connection, rewards=[0.5] * 4, key="busy", activities=[1, 2, 3, 4])
    lone = scored_window(connection, rewards=[0.5], key="lone")
    steep = scored_window(connection, key="steep")

    assert train(settings).action == "committed"
    assert uses(connection) == {
        **dict.fromkeys(flat, "no_spread"),
        **dict.fromkeys(busy, "only_activity"),
        **dict.fromkeys(lone, "too_small"),
        **dict.fromkeys(steep, "trained"),
    }
    (advice,) = column(connection, "SELECT detail FROM training.events WHERE kind = 'advice'")
    assert isinstance(advice, dict)
    assert f"8 of {8 + len(steep)} answers earned the same" in advice["nothing_to_learn"]


def test_an_hour_in_which_only_activity_differs_says_so(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, rewards=[0.5] * 4, activities=[1, 2, 3, 4])

    assert train(settings).reason == f"{WINDOW}: only_activity"


def test_what_is_left_over_and_can_teach_nothing_more_ends_its_hour_with_the_reason(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY)
    train(settings)
    connection.execute(
        "UPDATE training.scores SET reward = 0.5 WHERE trajectory_id <> ALL (%s)",
        ([*uses(connection)],),
    )

    assert train(settings).reason == f"{WINDOW}: no_spread"
    assert state(connection) == ("trained", "no_spread")
    assert left_over(connection) == 0
    assert set(uses(connection)) == set(ids)


# --- age


def test_an_hour_too_far_behind_the_newest_is_ended_and_each_of_it_is_named(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_staleness_hours=10)
    old = scored_window(connection, hour(1), rewards=MANY[:4])
    scored_window(connection, hour(12), rewards=MANY[:4])

    assert train(settings).windows == [hour(12)]
    assert refused(connection) == dict.fromkeys(old, "stale")
    assert state(connection, hour(1)) == ("skipped", "stale")


def test_what_is_left_over_of_an_hour_that_grows_too_old_is_named(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_staleness_hours=10, max_group_size=4, step_token_budget=1)
    ids = scored_window(connection, hour(1), rewards=MANY[:8])
    train(settings)
    scored_window(connection, hour(12), rewards=MANY[:4])

    train(settings)

    assert state(connection, hour(1)) == ("trained", "stale")
    assert left_over(connection, hour(1)) == 0
    assert set(refused(connection)) | set(uses(connection)) >= set(ids)


# --- evaluation


def test_a_held_out_hour_of_many_agents_gives_several_groups(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4, min_eval_groups=3)
    scored_window(connection, rewards=MANY, state="held_out", model="anyone")

    groups = held_out_set(connection, settings, actor="test")

    assert [len(group.members) for group in groups] == [4] * 10
    assert groups == held_out_set(connection, settings, actor="test")
    assert len({one.trajectory_id for group in groups for one in group.members}) == 40


# --- thousands of agents


@pytest.mark.contract("today")
def test_of_an_hour_of_four_thousand_agents_every_trajectory_is_accounted_for(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(lookback_hours=1_000_000, grace_seconds=0)
    ids = crowd(connection, 4000, strangers=37)
    discover(settings, actor="test")
    score_window(settings, WINDOW, actor="test")
    connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = ANY (%s)', [ids[:5]])
    connection.execute(
        'UPDATE trajectories SET "isEvaluation" = true WHERE "trajectoryId" = ANY (%s)',
        [ids[5:12]],
    )
    trainer = PeerTrainer(settings.data_dir)

    left: list[Any] = []
    while train(settings, trainer).action == "committed":
        left.append(left_over(connection))
        used, named = uses(connection), refused(connection)
        assert not set(used) & set(named)
        assert len(used) + len(named) + left[-1] == 4000
        assert grouped(connection)["tokens"] <= settings.step_token_budget
        sizes = [len(group) for group in taken(connection)]
        assert 2 <= min(sizes) <= max(sizes) <= settings.max_group_size
        assert sum(sizes) > 200 or left[-1] == 0

    assert left == sorted(left, reverse=True)
    assert len(left) > 5
    assert left[-1] == 0
    assert Counter(refused(connection).values()) == {
        "other_policy": 37,
        "deleted": 5,
        "evaluation_row": 7,
    }
    assert set(uses(connection)) | set(refused(connection)) == set(ids)
    # A third was right and its profits differ: hardly a group teaches nothing.
    assert Counter(uses(connection).values())["trained"] > 3900
    assert state(connection) == ("trained", None)


def test_the_calendars_first_hour_teaches_once_somebody_backfills_it(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(held_out_share=0)
    first = "0001-01-01T00:00"
    fill_window(connection, first)
    found = discover(settings, actor="test", since=window_start(first))
    assert (found.opened, found.sealed) == ([first], [first])

    score_window(settings, first, actor="test")
    assert train(settings).action == "committed"

    assert state(connection, first) == ("trained", None)
