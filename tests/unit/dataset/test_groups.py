"""Groups: who is compared with whom, and which groups teach nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.dataset.groups import (
    deal,
    is_settled,
    next_size,
    rank,
    reading_order,
    settled_kinds,
    spread,
    teaches_nothing,
)
from babylon_tasks.records import Member
from babylon_tasks.scoring.default import MOST_OF_ACTIVITY


def members(*rewards: float) -> list[Member]:
    return [Member(f"t{number}", reward, ()) for number, reward in enumerate(rewards)]


def test_more_than_a_group_holds_become_several_of_about_the_same_size() -> None:
    assert [len(group) for group in deal(members(*(0.5,) * 17), 16)] == [9, 8]
    assert [len(group) for group in deal(members(*(0.5,) * 16), 16)] == [16]
    assert deal([], 16) == []


def test_few_good_answers_are_spread_over_the_groups() -> None:
    groups = deal(members(*[0.0] * 60, *[1.0] * 4), 16)

    assert [sum(member.reward for member in group) for group in groups] == [1.0] * 4


def test_who_is_in_which_group_has_nothing_to_do_with_the_order_of_the_ids() -> None:
    first = [int(member.trajectory_id[1:]) for member in deal(members(*[0.5] * 640), 16)[0]]

    assert first != sorted(first)
    assert 160 < sum(first) / len(first) < 480


@given(
    st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0]), max_size=40),
    st.integers(2, 6),
    st.integers(0, 2**16),
)
def test_the_groups_do_not_depend_on_the_order_of_reading(
    rewards: list[float], size: int, seed: int
) -> None:
    given = members(*rewards)
    shuffled = random.Random(seed).sample(given, len(given))

    assert deal(given, size) == deal(shuffled, size)


@given(st.lists(st.floats(0, 1), max_size=60), st.integers(2, 6))
def test_each_ends_in_exactly_one_group_and_none_is_alone_that_need_not_be(
    rewards: list[float], size: int
) -> None:
    groups = deal(members(*rewards), size)
    sizes = [len(group) for group in groups]

    places = [member.trajectory_id for group in groups for member in group]
    assert sorted(places) == sorted(f"t{number}" for number in range(len(rewards)))
    assert len(groups) == -(-len(rewards) // size)
    assert not sizes or size >= max(sizes) >= min(sizes) >= max(sizes) - 1


def test_the_keys_of_a_window_are_read_in_an_order_that_no_name_can_choose() -> None:
    keyed = [(f"key-{n:02d}", one) for n, one in enumerate(members(*[0.5] * 20))]
    names = list(reading_order(keyed, 4))

    assert sorted(names) == sorted(name for name, _ in keyed)
    assert names != sorted(names)
    assert list(reading_order(keyed[::-1], 4)) == names


def test_under_each_key_its_groups_follow_each_other_as_they_were_dealt() -> None:
    many, few = members(*[0.0] * 6, *[1.0] * 3), members(0.2, 0.7)
    keyed = [("many", one) for one in many] + [("few", one) for one in few]

    read = reading_order(keyed, 4)

    assert read["many"] == [one for group in deal(many, 4) for one in group]
    assert [sum(one.reward for one in read["many"][at : at + 3]) for at in (0, 3, 6)] == [1.0] * 3
    assert read["few"] == [one for group in deal(few, 4) for one in group]


@pytest.mark.parametrize(
    ("left", "sizes"), [(16, [16]), (17, [9, 8]), (33, [11, 11, 11]), (1, [1]), (2, [2])]
)
def test_the_groups_of_a_key_take_about_equal_parts_of_what_is_left(
    left: int, sizes: list[int]
) -> None:
    taken = []
    while left:
        taken.append(next_size(left, 16))
        left -= taken[-1]

    assert taken == sizes


@pytest.mark.parametrize(
    ("rewards", "activities", "reason"),
    [
        ([0.1, 0.9], [3, 3], None),
        ([0.5], [3], "too_small"),
        ([], [], "too_small"),
        ([0.5, 0.505], [3, 3], "no_spread"),
        ([0.5, 0.505], [3, 40], "only_activity"),
    ],
)
def test_a_group_teaches_only_if_its_answers_earned_different_rewards(
    rewards: list[float], activities: list[float], reason: str | None
) -> None:
    assert teaches_nothing(rewards, activities, 0.01) == reason


@pytest.mark.parametrize(
    ("rewards", "limit", "reason"),
    [
        ([0.5, 0.5], 0.0, "no_spread"),
        ([0.25, 0.5], 0.25, "no_spread"),
        ([0.25, 0.5], 0.2, None),
        ([0.5, 0.500001], 0.0, None),
    ],
)
def test_a_spread_equal_to_the_limit_is_none_even_where_the_limit_is_zero(
    rewards: list[float], limit: float, reason: str | None
) -> None:
    assert teaches_nothing(rewards, [3, 3], limit) == reason


@pytest.mark.parametrize(
    ("best", "worse", "share", "settled"),
    [
        (15, 1, 1 / 16, True),
        (14, 2, 1 / 16, True),
        (13, 3, 1 / 16, False),
        (7, 1, 1 / 16, True),
        (6, 1, 1 / 16, False),  # one of seven is more than an eighth
        (93, 7, 0.035, True),
        (71, 29, 0.145, True),
        (15, 1, 0.0, False),
        (16, 0, 1 / 16, False),  # without spread
    ],
)
def test_a_group_is_settled_where_at_most_twice_a_share_earned_less(
    best: int, worse: int, share: float, *, settled: bool
) -> None:
    assert is_settled([0.6] * best + [0.1] * worse, share) == settled


def test_what_activity_adds_makes_nobody_worse_than_the_best() -> None:
    busy = [0.6 + MOST_OF_ACTIVITY * n / 14 for n in range(15)]

    assert is_settled([*busy, 0.1], 1 / 16)
    assert not is_settled([0.6 - 2 * MOST_OF_ACTIVITY, *busy, 0.1, 0.1], 1 / 16)


@given(
    st.lists(st.floats(0, 0.5), min_size=2, max_size=40),
    st.lists(st.floats(0.521, 1), min_size=1, max_size=20),
    st.floats(0, 0.249),
)
def test_a_group_of_which_a_minority_earned_more_always_teaches(
    others: list[float], more: list[float], share: float
) -> None:
    rewards = others + more[: (len(others) - 1) // 2 + 1]

    assert teaches_nothing(rewards, [3] * len(rewards), 1e-3) is None
    assert not is_settled(rewards, share)


@pytest.mark.parametrize(("worse", "settled"), [(2, True), (3, False)])
def test_a_kind_of_question_is_settled_where_few_of_all_its_answers_earned_less(
    worse: int, *, settled: bool
) -> None:
    sure = [("m-1|archetype=trader", 0.6, False)] * 16
    others = [
        ("m-2|archetype=trader", 0.6 if n < 16 - worse else 0.1, n >= 16 - worse) for n in range(16)
    ]
    wrong = [("m-1|archetype=poster", n / 16, False) for n in range(16)]

    kinds = settled_kinds(sure + others + wrong, 1 / 16)

    assert kinds == ({"archetype=trader"} if settled else set())


def test_where_a_constant_answer_pays_half_of_the_time_nothing_is_settled() -> None:
    pays = [("m-1", 0.6, False)] * 15 + [("m-1", 0.1, True)]
    does_not = [("m-2", 0.4, True)] * 15 + [("m-2", 0.9, False)]

    assert settled_kinds(pays, 1 / 16) == {""}
    assert settled_kinds(pays + does_not, 1 / 16) == set()


def test_where_all_answers_to_a_question_lost_alike_others_of_its_kind_go_on_teaching() -> None:
    pays = [("m-1", 0.6, False)] * 15 + [("m-1", 0.1, True)]
    all_lost = [("m-2", 0.5, True)] * 16

    assert settled_kinds(pays + all_lost, 1 / 16) == set()


def test_the_spread_of_nothing_is_none() -> None:
    assert spread([]) == 0.0


def test_within_a_group_the_order_says_nothing_of_the_reward() -> None:
    for group in deal(members(*[number / 32 for number in range(32)]), 16):
        ids = [one.trajectory_id for one in group]
        assert ids == sorted(ids, key=rank)
        assert [one.reward for one in group] != sorted(one.reward for one in group)
