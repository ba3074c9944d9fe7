"""Members are compared as if the reference had a few members among them."""

from __future__ import annotations

from statistics import fmean, pstdev

import pytest

from babylon_tasks.scoring.comparison import BOUND, as_reward, moments, standings


@pytest.mark.parametrize("reference", [(1.0, 1.5, 2.0, 2.5), (11.0, 12.0, 13.0, 16.0)])
def test_a_reference_of_four_counts_as_its_four_members(reference: tuple[float, ...]) -> None:
    """Near the members or far from them: mean and deviation are those of all together."""
    members = (1.0, 2.0)
    together = (*members, *reference)

    found = standings(members, moments(reference), 0.01)

    mean, deviation = fmean(together), pstdev(together)
    assert found == pytest.approx([(value - mean) / deviation for value in members])


def test_without_a_reference_members_are_compared_with_each_other() -> None:
    assert standings([0.0, 1.0], None, 0.1) == pytest.approx([-1.0, 1.0])


def test_a_reward_stays_in_its_bounds_however_far_the_standing() -> None:
    assert [as_reward(one) for one in (-9.0, -BOUND, 0.0, BOUND, 9.0)] == [0.0, 0.0, 0.5, 1.0, 1.0]
