"""What leads to nothing that agents use is a dead branch."""

from __future__ import annotations

import pytest

from babylon_tasks.dataset.checkpoint_tree import path
from babylon_tasks.registry.branches import others, passed_over

# 2 serves; 3 was refused, 4 is on trial and came before 5.
PARENTS = {1: 0, 2: 1, 3: 2, 4: 2, 5: 4, 6: 0}


@pytest.mark.parametrize(
    ("leaves", "dead"),
    [
        ([2], {3, 4, 5, 6}),
        ([2, 4], {3, 5, 6}),
        ([5], {3, 6}),
        ([0], {1, 2, 3, 4, 5, 6}),
    ],
)
def test_all_but_the_ways_to_the_leaves_are_others(leaves: list[int], dead: set[int]) -> None:
    assert others(leaves, PARENTS) == dead


@pytest.mark.parametrize(
    ("serving", "served", "left_behind"),
    [
        (0, {0}, set()),
        (2, {0, 2}, set()),
        (5, {0, 2, 5}, {3}),
        (5, {0, 2, 3, 5}, set()),
        (6, {0, 6}, {1, 2, 3, 4, 5}),
        (6, {0, 2, 6}, {1, 3, 4, 5}),
    ],
    ids=["none", "none of its own", "beside it", "it had served", "all", "what came from it never"],
)
def test_a_later_step_serves_instead_of_those_that_never_did(
    serving: int, served: set[int], left_behind: set[int]
) -> None:
    undecided = PARENTS.keys() - {serving}
    undecided -= set(path(serving, PARENTS))

    assert passed_over(undecided, serving, served) == left_behind
