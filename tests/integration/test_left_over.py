"""Which trajectories of a window are left over, and why a window without any is closed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import insert
from one_moment import alter, lineage, window
from scored_windows import hour, scored_window

from babylon_tasks.db import lineages, scored_trajectories, step_windows, windows
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.scored_trajectories import GroupsOfKey
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_value

HERE, THERE = hour(1), hour(2)


def score(connection: Connection, trajectory: str, reward: float = 0.5, **columns: Any) -> None:
    row = {"trajectory_id": trajectory, "reward_version": 1, "window_id": HERE, "agent_id": "agent"}
    made = {"group_key": "", "scorer": "default", "scorer_version": "1", "components": "{}"}
    insert(connection, "training.scores", [row | made | {"reward": reward} | columns])


def use(connection: Connection, trajectory: str, used_as: str = "trained", **columns: Any) -> None:
    row = {"lineage": "babylon", "trajectory_id": trajectory, "use": used_as, "reward_version": 1}
    insert(connection, "training.consumption", [row | {"window_id": HERE} | columns])


def refuse(connection: Connection, trajectory: str, reason: str = "stale", **columns: Any) -> None:
    row = {"trajectory_id": trajectory, "window_id": HERE, "reward_version": 1, "reason": reason}
    insert(connection, "training.rejections", [row | {"stage": "dataset"} | columns])


@pytest.fixture
def here(moment: Connection) -> Connection:
    """Two lineages and two windows, of which the first is asked about."""
    for name in ("babylon", "another"):
        lineage(moment, name)
    for number in (1, 2):
        window(moment, number)
    return moment


# --- left over

TAKEN: list[tuple[Any, dict[str, Any]]] = [
    (use, {}),
    (use, {"used_as": "too_small"}),
    (use, {"window_id": THERE}),
    (refuse, {}),
]
LEFT: list[tuple[Any, dict[str, Any]]] = [
    (use, {"lineage": "another"}),
    (refuse, {"reward_version": 2}),
    (refuse, {"window_id": THERE}),
    (refuse, {"stage": "score"}),
]


@pytest.mark.parametrize(("how", "columns"), TAKEN + LEFT)
def test_a_trajectory_is_left_over_that_the_lineage_has_not_used_nor_planning_refused(
    connection: Connection, how: Any, columns: dict[str, Any]
) -> None:
    for name in ("babylon", "another"):
        lineage(connection, name)
    taken, kept = scored_window(connection, HERE, rewards=(0.0, 1.0))
    scored_window(connection, THERE, rewards=(0.5,))

    how(connection, taken, **columns)

    left = [kept] if (how, columns) in TAKEN else [kept, taken]
    listed = scored_trajectories.list_unused(connection, HERE, 1, "babylon")
    assert sorted(one.trajectory_id for one in listed) == sorted(left)
    assert all(one.size > 0 for one in listed)
    about = {"window": HERE, "lineage": "babylon"}
    assert fetch_value(connection, "step_windows.left_over", int, **about) == len(left)


def test_scores_of_other_versions_windows_and_keys_are_not_mixed(connection: Connection) -> None:
    lineage(connection)
    (one,) = scored_window(connection, HERE, rewards=(0.25,), key="key")
    score(connection, one, 0.75, reward_version=2, group_key="key")
    score(connection, "gone", 1.0, group_key="key", components=json.dumps({"activity": 0.5}))
    score(connection, "other", group_key="another")
    score(connection, one, window_id=THERE, group_key="key")

    unused = scored_trajectories.list_unused(connection, HERE, 1, "babylon")
    assert {o.activity for o in unused if o.trajectory_id == "other"} == {0.0}
    comparable = scored_trajectories.list_group(connection, HERE, 1, "key")

    assert {(o.trajectory_id, o.reward) for o in unused} == {
        *((one, 0.25), ("gone", 1.0), ("other", 0.5))
    }
    assert {(o.trajectory_id, o.reward, o.activity, o.scorer) for o in comparable} == {
        *((one, 0.25, 1.0, "default 1"), ("gone", 1.0, 0.5, "default 1"))
    }
    assert {o.trajectory_id for o in comparable if o.size == 0} == {"gone"}
    assert len(scored_trajectories.list_group(connection, HERE, 2, "key")) == 1


@pytest.mark.parametrize(("less", "sent"), [(0, True), (1, False)])
def test_text_of_just_the_largest_size_is_sent_and_longer_text_is_not(
    connection: Connection, less: int, sent: bool
) -> None:
    (one,) = scored_window(connection, HERE, rewards=(0.5,))
    size = scored_trajectories.list_unused(connection, HERE, 1, "babylon")[0].size

    row = scored_trajectories.rows(connection, [one], size - less)[one]

    assert (row.steps_json is not None, row.steps_bytes) == (sent, size)


# --- closed


def close(connection: Connection) -> tuple[str, str]:
    """The window's new state, which waits for no other lineage, and the reason."""
    done = {"window_id": HERE, "lineage": "another", "state": "skipped"}
    insert(connection, "training.lineage_windows", [done])
    lease = lineages.claim(connection, "babylon", "somebody", 60)
    assert isinstance(lease, Lease)
    reason = step_windows.close(connection, lease, HERE, actor="test")
    return windows.get(connection, HERE).state, reason


def test_a_window_is_closed_for_what_befell_most_of_it(here: Connection) -> None:
    for trajectory, used_as in (("a", "too_small"), ("b", "too_small"), ("c", "trained")):
        use(here, trajectory, used_as)
    refuse(here, "d", "no_logprobs")

    assert close(here) == ("trained", "too_small")


def test_of_reasons_that_befell_as_many_the_first_by_name_is_given(here: Connection) -> None:
    use(here, "a", "too_small")
    refuse(here, "b", "stale")

    assert close(here) == ("skipped", "stale")


def test_what_another_lineage_window_version_or_stage_has_to_say_closes_no_window(
    here: Connection,
) -> None:
    for number in range(3):
        use(here, f"a-{number}", "no_spread", lineage="another")
        use(here, f"b-{number}", "trained", lineage="another")
        use(here, f"c-{number}", "no_spread", window_id=THERE)
        use(here, f"d-{number}", "trained", window_id=THERE)
        refuse(here, f"e-{number}", "deleted", window_id=THERE)
        refuse(here, f"f-{number}", "deleted", reward_version=2)
        refuse(here, f"g-{number}", "deleted", stage="score")
    use(here, "h", "only_activity")

    assert close(here) == ("skipped", "only_activity")


@pytest.mark.parametrize(("used_as", "marked"), [("trained", None), ("too_small", "rows changed")])
def test_of_a_closed_window_nothing_is_left_and_one_that_is_trained_is_not_scored_anew(
    here: Connection, used_as: str, marked: str | None
) -> None:
    alter(here, "windows", "left_over = 3, rescore = 'rows changed'")
    use(here, "a", used_as)

    close(here)

    found = "SELECT left_over, rescore FROM training.windows ORDER BY window_id"
    assert here.execute(found).fetchall() == [(0, marked), (3, "rows changed")]


def test_a_window_of_which_nothing_is_known_was_not_trainable(here: Connection) -> None:
    assert close(here) == ("skipped", "nothing_trainable")


# --- held out


def test_held_out_groups_are_of_the_newest_held_out_windows_that_wait_for_nothing(
    moment: Connection,
) -> None:
    states = {
        1: "held_out",
        2: "held_out",
        3: "held_out",
        4: "scored",
        5: "held_out",
    }
    for number, state in states.items():
        name = window(moment, number, state)
        for trajectory, reward in (("a", 0.25), ("b", 1.0)):
            score(moment, f"{trajectory}-{number}", reward, window_id=name, group_key="key")
    alter(moment, "windows", "waits_until = now()")
    later = "UPDATE training.windows SET waits_until = now() + interval '1 ms' WHERE window_id = %s"
    moment.execute(later, [hour(5)])
    score(moment, "c-3", 0.0, window_id=hour(3), group_key="key")
    score(moment, "d-3", 0.0, window_id=hour(3), group_key="alone")
    score(moment, "e-3", 0.0, window_id=hour(3), group_key="key", reward_version=2)

    found = scored_trajectories.held_out_groups(moment, 2)

    assert sorted(found, key=lambda group: group.window) == [
        GroupsOfKey(hour(2), 1, "key", 2, 0.75),
        GroupsOfKey(hour(3), 1, "key", 3, 1.0),
    ]
