"""Which of a group's trajectories a supervised step learns from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from babylon_tasks.dataset.better_part import better_part, why_left_out
from babylon_tasks.records import LlmCall


class One(Struct, frozen=True):
    """A scored trajectory."""

    trajectory_id: str
    reward: float


def members(*rewards: float) -> list[One]:
    return [One(f"t-{n}", reward) for n, reward in enumerate(rewards)]


def chosen(share: float, *rewards: float) -> list[float]:
    return [one.reward for one in better_part(members(*rewards), share)]


def test_the_best_quarter_of_eight_are_two() -> None:
    assert chosen(0.25, 0.1, 0.9, 0.3, 0.8, 0.2, 0.7, 0.0, 0.6) == [0.9, 0.8]


@pytest.mark.parametrize(("count", "best"), [(2, 1), (3, 1), (11, 2), (12, 3)])
def test_a_share_is_rounded_down_but_the_best_one_always_counts(count: int, best: int) -> None:
    assert len(chosen(0.25, *range(count))) == best


def test_a_share_that_no_float_can_be_exactly_is_not_rounded_below_it() -> None:
    assert len(chosen(0.29, *range(100))) == 29  # .29 * 100 is 28.999999999999996


def test_what_earned_no_more_than_the_mean_is_no_better_part() -> None:
    """Where nearly all earned the same, a share of them is no better than the rest."""
    assert chosen(0.5, 1.0, 1.0, 1.0, 0.0) == [1.0, 1.0]
    assert chosen(1.0, 0.0, 0.0, 0.0, 1.0) == [1.0]


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2), st.randoms())
def test_the_order_of_the_rows_does_not_matter(rewards: list[float], random: object) -> None:
    listed = members(*rewards)
    shuffled = list(listed)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert better_part(listed, 0.4) == better_part(shuffled, 0.4)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, None),
        ({"carries": "tools"}, "tools"),
        ({"carries": "images"}, "images"),
        ({"response": " \n"}, "no_answer"),
        ({"finish_reason": "length"}, "cut_off"),
        ({"finish_reason": "stop"}, None),
    ],
)
def test_nobody_should_learn_to_answer_with_half_an_answer_or_none(
    fields: dict[str, str], why: str | None
) -> None:
    call = LlmCall(**{"model": "m", "messages": (), "response": "Yes", "temperature": 1.0} | fields)

    assert why_left_out(call) == why
