"""What planning makes of the windows it chose: the share that teaches, and the longest row."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir

import pytest

from babylon_tasks.pipeline.groups_on_disk import GroupsOnDisk
from babylon_tasks.pipeline.select_groups import Selection
from babylon_tasks.pipeline.selection_figures import (
    informative_share,
    longest_row,
    nothing_to_learn,
)
from babylon_tasks.records import Group, Member


def selection(*groups: int, used_up: tuple[str, ...] = (), longest: int = 0) -> Selection:
    """Groups of so many members; ``used_up``: the use of each trajectory that teaches nothing."""
    made = GroupsOnDisk(Path(gettempdir()))
    for key, size in enumerate(groups):
        members = tuple(Member(f"{key}-{n}", n / size, ()) for n in range(size))
        made.append(Group("w", str(key), members))
    return Selection(
        window="w",
        reward_version=1,
        groups=made,
        tokens=0,
        longest=longest,
        rejections=(),
        used_up=tuple((f"flat-{n}", use) for n, use in enumerate(used_up)),
        changed=(),
        left=("left-over",) * 100,
        full=False,
        calls_left_out={},
        scorers=("default",),
    )


@pytest.mark.parametrize("use", ["no_spread", "only_activity", "settled"])
def test_trajectories_of_groups_that_teach_nothing_lower_the_share(use: str) -> None:
    assert informative_share([selection(4)], {use: 12}) == 0.25


def test_where_every_group_teaches_the_share_is_one() -> None:
    assert informative_share([selection(4, 3)], {}) == 1.0


def test_trajectories_without_a_comparison_count_on_neither_side() -> None:
    assert informative_share([selection(4)], {"too_small": 12}) == 1.0


def test_the_share_is_that_of_all_windows_together_and_no_mean_of_their_shares() -> None:
    assert informative_share([selection(8), selection(2)], {"no_spread": 6}) == 10 / 16


@pytest.mark.parametrize(("rows", "longest"), [((700, 60), 700), ((700, 0), 0), ((0,), 0)])
def test_the_longest_row_is_known_only_where_it_is_known_of_every_window(
    rows: tuple[int, ...], longest: int
) -> None:
    assert longest_row([selection(2, longest=row) for row in rows]) == longest


@pytest.mark.parametrize(
    ("teach", "flat", "noticed"), [(4, 5, True), (4, 4, False), (0, 2, True), (0, 0, False)]
)
def test_a_window_of_which_most_groups_have_no_spread_is_noticed(
    teach: int, flat: int, noticed: bool
) -> None:
    groups = (teach,) if teach else ()
    found = nothing_to_learn(selection(*groups, used_up=("no_spread",) * flat))

    assert (found is not None) == noticed
    if found is not None:
        assert f"{flat} of {teach + flat} answers" in found["nothing_to_learn"]
        assert "temperature 1" in found["todo"]


@pytest.mark.parametrize(("flat", "noticed"), [(8, False), (9, True)])
def test_a_settled_group_is_compared_and_has_spread(flat: int, *, noticed: bool) -> None:
    used_up = ("no_spread",) * flat + ("settled",) * 8

    assert (nothing_to_learn(selection(used_up=used_up)) is not None) == noticed


def test_what_cannot_be_compared_is_not_said_to_be_without_spread() -> None:
    assert nothing_to_learn(selection(4, used_up=("too_small",) * 12)) is None
