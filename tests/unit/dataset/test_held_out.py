"""The evaluation set: informative groups only, and slow to change."""

from __future__ import annotations

import pytest

from babylon_tasks.dataset.groups import rank
from babylon_tasks.dataset.held_out import order, set_hash
from babylon_tasks.records import Group, Member

GROUPS = [(f"2026-01-31T{n:02d}:00", "", 4, 0.5) for n in range(20)]


@pytest.mark.parametrize(("limit", "kept"), [(0.0, ["w2", "w3"]), (0.25, ["w3"]), (0.5, [])])
def test_what_has_no_more_spread_than_the_limit_is_left_out(limit: float, kept: list[str]) -> None:
    found = order([("w1", "", 4, 0.0), ("w2", "", 4, 0.25), ("w3", "", 4, 0.5)], 16, limit)

    assert sorted(window for window, _, _ in found) == kept


def test_a_new_group_displaces_at_most_one_of_the_chosen() -> None:
    before = order(GROUPS[:-1], 16, 0.1)[:8]
    after = order(GROUPS, 16, 0.1)[:8]

    assert len(set(before) - set(after)) <= 1


def test_the_order_does_not_depend_on_the_order_of_the_rows() -> None:
    assert order(GROUPS, 16, 0.1) == order(reversed(GROUPS), 16, 0.1)


def test_one_hour_of_many_agents_is_enough_for_several_groups() -> None:
    assert order([("w", "", 4000, 0.5)], 16, 0.1)[:3] == [("w", "", 0), ("w", "", 1), ("w", "", 2)]


def test_each_question_is_used_before_any_is_used_again() -> None:
    found = order([("w1", "a", 40, 0.5), ("w2", "b", 17, 0.5)], 16, 0.1)

    assert found == [("w2", "b", 0), ("w1", "a", 0), ("w2", "b", 1), ("w1", "a", 1), ("w1", "a", 2)]


def test_the_set_is_named_by_its_content() -> None:
    group = Group("w", "", (Member("a", 0.0, ()), Member("b", 1.0, ())))
    other = Group("w", "", (Member("a", 0.1, ()), Member("b", 1.0, ())))

    assert set_hash([group]) == set_hash([group])
    assert len({set_hash([group]), set_hash([other]), set_hash([])}) == 3


def test_the_newest_windows_come_first() -> None:
    groups = [("2026-01-31T09:00", key, 4, 0.5) for key in "abc"]
    groups.append(("2026-01-31T10:00", "d", 4, 0.5))
    assert order(groups, 16, 0.1)[0] == ("2026-01-31T10:00", "d", 0)


def test_within_a_window_no_name_of_a_key_can_choose_to_come_first() -> None:
    keys = [f"market=m-{n}" for n in range(20)]
    found = [key for _, key, _ in order([("w", key, 4, 0.5) for key in keys], 16, 0.1)]
    assert found == sorted(keys, key=lambda key: rank(f"w\0{key}"))
    assert found != sorted(keys)
