"""Agents earn less than they did: from which hour on, and when that is only noise."""

from __future__ import annotations

import random

import pytest

from babylon_tasks.registry.earnings import find_drop

BEFORE = [0.79, 0.8, 0.78, 0.8, 0.81, 0.79, 0.8, 0.8]
TURN = f"h{len(BEFORE):02d}"


def hours(*rewards: float) -> dict[str, float]:
    return {f"h{n:02d}": reward for n, reward in enumerate(rewards)}


@pytest.mark.parametrize(
    "since",
    [[0.2, 0.2], [0.2, 0.22, 0.2, 0.5, 0.5], [0.7, 0.71, 0.7], [0.2] * 24],
    ids=["two hours", "one answer to all", "a little, steadily", "a day"],
)
def test_the_hour_from_which_on_less_is_earned_is_found(since: list[float]) -> None:
    found = find_drop(hours(*BEFORE, *since))

    assert found is not None
    assert found.since == TURN
    assert found.before > found.after


@pytest.mark.parametrize(
    "rewards",
    [
        [],
        [*BEFORE, 0.2],
        [0.8, 0.8, 0.8, 0.2, 0.2],
        [*BEFORE, 0.77, 0.78, 0.77],
        [*BEFORE, 0.2, 0.2, 0.2, 0.8, 0.8],
        [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.8],
    ],
    ids=["nothing yet", "one hour", "too short a past", "too little", "over again", "learning"],
)
def test_otherwise_nothing_has_fallen(rewards: list[float]) -> None:
    assert find_drop(hours(*rewards)) is None


def test_hours_that_only_vary_are_rarely_taken_for_a_drop() -> None:
    draw = random.Random(7)
    runs = [hours(*(draw.gauss(0.5, 0.1) for _ in range(32))) for _ in range(400)]

    assert sum(find_drop(run) is not None for run in runs) <= 12


def test_it_says_in_words_what_was_earned_when() -> None:
    text = "agents have earned 0.20 since h08, 0.80 before"
    assert str(find_drop(hours(*BEFORE, 0.2, 0.2))) == text
