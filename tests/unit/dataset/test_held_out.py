"""The evaluation set: informative groups only, and slow to change."""

from __future__ import annotations

from babylon_tasks.dataset.held_out import order, set_hash
from babylon_tasks.records import Group, Member

GROUPS = [(f"2026-01-31T{n:02d}:00", "", 0.5) for n in range(20)]


def test_groups_without_spread_are_left_out() -> None:
    assert order([("w1", "", 0.0), ("w2", "", 0.5)], 1e-6) == [("w2", "")]


def test_a_new_group_displaces_at_most_one_of_the_chosen() -> None:
    before = order(GROUPS[:-1], 0.1)[:8]
    after = order(GROUPS, 0.1)[:8]

    assert len(set(before) - set(after)) <= 1


def test_the_order_does_not_depend_on_the_order_of_the_rows() -> None:
    assert order(GROUPS, 0.1) == order(reversed(GROUPS), 0.1)


def test_the_set_is_named_by_its_content() -> None:
    group = Group("w", "", (Member("a", 0.0, ()), Member("b", 1.0, ())))
    other = Group("w", "", (Member("a", 0.1, ()), Member("b", 1.0, ())))

    assert set_hash([group]) == set_hash([group])
    assert len({set_hash([group]), set_hash([other]), set_hash([])}) == 3


def test_the_newest_windows_come_first() -> None:
    groups = [("2026-01-31T09:00", key, 0.5) for key in "abc"] + [("2026-01-31T10:00", "d", 0.5)]
    assert order(groups, 0.1)[0] == ("2026-01-31T10:00", "d")
