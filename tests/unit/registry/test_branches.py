"""What leads to nothing that agents use is a dead branch."""

from __future__ import annotations

import pytest

from babylon_tasks.registry.branches import others

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
