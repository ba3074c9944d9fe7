"""Members are compared as if the reference had a few members among them."""

from __future__ import annotations

from statistics import fmean, pstdev

import pytest

from babylon_tasks.scoring.comparison import moments, standings


@pytest.mark.parametrize("reference", [(1.0, 1.5, 2.0, 2.5), (11.0, 12.0, 13.0, 16.0)])
def test_a_reference_of_four_counts_as_its_four_members(reference: tuple[float, ...]) -> None:
    """Near the members or far from them: mean and deviation are those of all together."""
    members = (1.0, 2.0)
    together = (*members, *reference)

    found = standings(members, moments(reference), 0.01)

    mean, deviation = fmean(together), pstdev(together)
    assert found == pytest.approx([(value - mean) / deviation for value in members])
