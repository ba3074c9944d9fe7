"""The mean paired difference of two checkpoints, its standard error, and the present's weight."""

from __future__ import annotations

import math
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.dataset.held_out import Place
from babylon_tasks.registry.paired_difference import PairedDifference, paired_difference, student


def differ(differences: list[float], places: list[Place]) -> PairedDifference:
    return paired_difference(differences, [0.0] * len(differences), places)


def older(n: int) -> list[Place]:
    return [Place("h0", str(number), newest=False) for number in range(n)]


def newest(n: int) -> list[Place]:
    return [Place("h9", str(number), newest=True) for number in range(n)]


def test_without_strata_it_is_the_paired_t_test() -> None:
    sample = [0.1, -0.05, 0.2, 0.0, 0.03]

    found = differ(sample, older(5))

    assert found.mean == pytest.approx(fmean(sample))
    assert found.error == pytest.approx(stdev(sample) / math.sqrt(5))
    assert (found.degrees, found.questions, found.newest) == (4, 5, 0.0)
    assert found.bound(0.9) == pytest.approx(1.533 * found.error, rel=1e-3)


@pytest.mark.parametrize(
    ("degrees", "quantile", "within"),
    [
        (1, 3.078, 0.04),
        (2, 1.886, 0.006),
        (3, 1.638, 0.001),
        (10, 1.372, 0.001),
        (999, 1.282, 0.001),
    ],
)
def test_students_quantiles_are_those_of_the_tables(
    degrees: int, quantile: float, within: float
) -> None:
    assert student(0.9, degrees) == pytest.approx(quantile, rel=within)


def test_what_is_worth_something_anyway_cancels_out() -> None:
    ours, theirs = [0.9, 0.1, 0.5, 0.3], [0.8, 0.0, 0.4, 0.2]

    found = paired_difference(ours, theirs, older(4))

    assert (found.mean, found.error) == pytest.approx((0.1, 0.0))


def test_groups_that_were_asked_the_same_count_once() -> None:
    twice = [Place("h0", "a", newest=False)] * 2 + [Place("h0", "b", newest=False)]

    found = differ([0.0, 0.2, 0.4], twice)

    assert found.questions == 2
    assert found.mean == pytest.approx(0.25)


def test_the_newest_hours_are_two_thirds_where_there_is_enough_of_them() -> None:
    found = differ([0.3] * 8 + [-0.3] * 8, newest(8) + older(8))

    assert found.newest == pytest.approx(2 / 3)
    assert found.mean == pytest.approx(0.1), "what is right today outweighs what was right before"
    assert found.error == pytest.approx(0), "the strata differ, the questions of each do not"


def test_one_question_of_today_outweighs_four_and_no_more() -> None:
    found = differ([-0.3] + [0.3] * 12, newest(1) + older(12))

    assert found.newest == pytest.approx(4 / 16)


def test_a_gain_of_today_beyond_doubt_is_two_thirds_however_few_questions_show_it() -> None:
    """Once a policy is sure, few groups of an hour have spread: the world before outvoted them."""
    found = differ([0.3, 0.25, 0.35] + [-0.3, -0.25, -0.35] * 20, newest(3) + older(60))

    assert found.newest == pytest.approx(2 / 3)
    assert found.mean == pytest.approx(0.1)


@pytest.mark.parametrize("today", [[0.3], [0.3, -0.1, 0.0], [0.0, 0.0], [-0.3, -0.3]])
def test_what_may_be_chance_or_is_no_gain_weighs_as_ever(today: list[float]) -> None:
    found = differ([*today, *[-0.3] * 60], newest(len(today)) + older(60))

    assert found.newest == pytest.approx(4 * len(today) / (4 * len(today) + 60))


def test_many_questions_of_today_weigh_no_less_than_others() -> None:
    assert differ([0.1] * 12, newest(11) + older(1)).newest == pytest.approx(11 / 12)


def test_of_a_single_question_nothing_is_known_but_the_difference() -> None:
    found = differ([-0.2], newest(1))

    assert (found.mean, found.error, found.degrees, found.bound(0.9)) == (-0.2, 0.0, 0, 0.0)


def test_one_of_each_stratum_is_a_sample_of_two() -> None:
    assert differ([0.1, 0.3], newest(1) + older(1)).degrees == 1


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.integers(0, 20), st.randoms())
def test_the_mean_is_within_the_extremes_whatever_the_order(
    sample: list[float], cut: int, draw: object
) -> None:
    places = (newest(cut) + older(20))[: len(sample)]
    pairs = list(zip(sample, places, strict=True))
    draw.shuffle(pairs)  # type: ignore[attr-defined]

    found = differ(sample, places)
    again = differ([one for one, _ in pairs], [place for _, place in pairs])

    assert min(sample) - 1e-9 <= found.mean <= max(sample) + 1e-9
    assert found.error >= 0
    assert again.mean == pytest.approx(found.mean, abs=1e-9)
    assert again.error == pytest.approx(found.error, abs=1e-9)
