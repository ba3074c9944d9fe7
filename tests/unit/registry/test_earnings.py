"""Agents earn less than they did: from which hour on, and when that is only noise."""

from __future__ import annotations

import random

import pytest

from babylon_tasks.registry.earnings import find_drop

BEFORE = [0.79, 0.8, 0.78, 0.8, 0.81, 0.79, 0.8, 0.8]
TURN = f"h{len(BEFORE):02d}"


def hours(*profits: float) -> dict[str, float]:
    return {f"h{n:02d}": profit for n, profit in enumerate(profits)}


@pytest.mark.parametrize(
    "since",
    [[0.2, 0.2], [0.2, 0.22, 0.2, 0.5, 0.5], [0.7, 0.71, 0.7], [0.2] * 24],
    ids=["two hours", "one answer to all", "a little, steadily", "a day"],
)
def test_the_hour_from_which_on_less_is_earned_is_found(since: list[float]) -> None:
    found = find_drop(hours(*BEFORE, *since), 1.0)

    assert found is not None
    assert found.since == TURN
    assert found.before > found.after


@pytest.mark.parametrize("luck", [9.0, -9.0])
def test_one_hour_of_luck_before_it_does_not_hide_it(luck: float) -> None:
    found = find_drop(hours(*BEFORE[:3], luck, *BEFORE[4:], 0.2, 0.2), 1.0)

    assert found is not None
    assert found.since == TURN


@pytest.mark.parametrize(
    "profits",
    [
        [],
        [*BEFORE, 0.2],
        [0.8, 0.8, 0.8, 0.2, 0.2],
        [*BEFORE, 0.77, 0.78, 0.77],
        [*BEFORE, 0.2, 0.2, 0.2, 0.8, 0.8],
        [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.8],
        [*[0.8, 0.2, 0.8, 0.8, 0.2] * 2, 0.2, 0.2],
    ],
    ids=["nothing", "one hour", "too short a past", "too little", "over again", "learning", "luck"],
)
def test_otherwise_nothing_has_fallen(profits: list[float]) -> None:
    assert find_drop(hours(*profits), 1.0) is None


def test_hours_that_only_vary_are_rarely_taken_for_a_drop() -> None:
    draw = random.Random(7)
    runs = [hours(*(draw.gauss(0.5, 0.1) for _ in range(32))) for _ in range(400)]

    assert sum(find_drop(run, 1.0) is not None for run in runs) <= 12


@pytest.mark.parametrize("profit", [1e200, -1e200, float("inf"), -float("inf")])
def test_an_hour_of_any_profit_neither_ends_the_evaluation_nor_is_a_drop(profit: float) -> None:
    assert find_drop(hours(*BEFORE[:7], profit, 0.8, 0.8), 1.0) is None


def test_it_says_in_words_what_was_earned_when() -> None:
    text = "an agent has earned 0.20 an hour since h08, 0.80 before"
    assert str(find_drop(hours(*BEFORE, 0.2, 0.2), 1.0)) == text


def test_what_counts_as_little_follows_the_scale_of_profits() -> None:
    fell = hours(*BEFORE, 0.2, 0.2)
    assert find_drop({window: 1000 * profit for window, profit in fell.items()}, 1000.0)
    assert find_drop(fell, 1000.0) is None
