"""Groups: who is compared with whom, and why the others are not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.dataset.freshness import Policies
from babylon_tasks.dataset.groups import Grouped, Rules, WindowGroups, has_spread, rank
from babylon_tasks.records import LlmCall, ScoredTrajectory, Trajectory

WINDOW = "2026-01-31T09:00"
RULES = Rules(max_group_size=4, min_reward_spread=0.01, max_staleness_steps=2, label="exact")
POLICIES = Policies("babylon", "smol", 5, {"babylon@0": 0, "babylon@5": 5})


def call(model: str = "babylon@5", logprobs: tuple[float, ...] | None = (-0.5,)) -> LlmCall:
    question = (("user", "up or down?"),)
    return LlmCall(model, question, "up", 1.0, logprobs=logprobs, token_ids=(7,))


def scored(name: str, reward: float, *calls: LlmCall, key: str = "") -> ScoredTrajectory:
    trajectory = Trajectory(name, "agent", None, None, None, None, (), calls or (call(),))
    return ScoredTrajectory(trajectory, WINDOW, key, reward, 1)


def grouped(*given: ScoredTrajectory, rules: Rules = RULES) -> Grouped:
    groups = WindowGroups(WINDOW, rules, POLICIES)
    for one in given:
        groups.add(one)
    return groups.finish()


def test_trajectories_are_compared_within_their_own_scenario_only() -> None:
    result = grouped(*(scored(f"{key}{n}", n, key=key) for key in "ba" for n in range(2)))

    assert [group.key for group in result.groups] == ["a", "b"]
    assert {member.trajectory_id for member in result.groups[0].members} == {"a0", "a1"}


def test_equal_rewards_teach_nothing_and_are_used_up() -> None:
    result = grouped(scored("a", 0.5), scored("b", 0.505))

    assert result.groups == ()
    assert dict(result.used_up) == {"a": "no_spread", "b": "no_spread"}
    assert result.reason == "no_spread"


def test_a_lonely_trajectory_is_used_up_as_too_small_a_group() -> None:
    assert dict(grouped(scored("a", 0.5)).used_up) == {"a": "too_small"}


def test_a_full_group_names_those_it_had_no_room_for() -> None:
    result = grouped(*(scored(f"t{n}", n / 10) for n in range(10)))

    (group,) = result.groups
    assert len(group.members) == 4
    left = {r.trajectory_id for r in result.rejections if r.reason == "group_full"}
    assert left | {m.trajectory_id for m in group.members} == {f"t{n}" for n in range(10)}
    assert len(left) == 6


def test_a_choice_without_spread_is_given_the_extremes_of_the_group() -> None:
    names = sorted((f"t{n}" for n in range(9)), key=rank)
    rewards = dict.fromkeys(names, 0.5) | {names[-1]: 1.0, names[-2]: 0.0}

    (group,) = grouped(*(scored(name, rewards[name]) for name in names)).groups

    assert {names[-1], names[-2]} < {member.trajectory_id for member in group.members}
    assert len(group.members) == 4


@given(
    st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0]), min_size=1, max_size=12),
    st.integers(0, 2**16),
)
def test_the_groups_do_not_depend_on_the_order_of_reading(rewards: list[float], seed: int) -> None:
    given = [scored(f"t{n}", reward) for n, reward in enumerate(rewards)]
    shuffled = random.Random(seed).sample(given, len(given))

    assert grouped(*given) == grouped(*shuffled)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_every_trajectory_ends_in_exactly_one_place(rewards: list[float]) -> None:
    result = grouped(*(scored(f"t{n}", reward) for n, reward in enumerate(rewards)))

    places = [m.trajectory_id for g in result.groups for m in g.members]
    places += [trajectory_id for trajectory_id, _ in result.used_up]
    places += [rejection.trajectory_id for rejection in result.rejections]
    assert sorted(places) == sorted(f"t{n}" for n in range(len(rewards)))
    assert bool(result.groups) == (max(rewards) - min(rewards) > RULES.min_reward_spread)
    assert all(has_spread(g.members, RULES.min_reward_spread) for g in result.groups)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=12))
def test_reading_in_order_of_rank_may_stop_at_a_full_group(rewards: list[float]) -> None:
    given = sorted(
        (scored(f"t{n}", reward) for n, reward in enumerate(rewards)),
        key=lambda one: rank(one.trajectory.trajectory_id),
    )
    early = WindowGroups(WINDOW, RULES, POLICIES)
    for one in given:
        if early.is_closed(""):
            early.pass_over("", one.trajectory.trajectory_id)
        else:
            early.add(one)

    assert early.finish() == grouped(*given)


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ((call("babylon@2"),), "stale"),
        ((call("babylon@6"),), "future_policy"),
        ((call("qwen/qwen3-32b"),), "other_policy"),
        ((call(logprobs=None),), "no_logprobs"),
        ((call(logprobs=()),), "no_logprobs"),
        ((call("babylon"),), "unknown_policy_step"),
    ],
)
def test_a_trajectory_without_a_call_to_learn_from_is_rejected_with_the_reason(
    calls: tuple[LlmCall, ...], reason: str
) -> None:
    result = grouped(scored("a", 0.1, *calls), scored("b", 0.4), scored("c", 0.9))

    assert [(r.trajectory_id, r.stage, r.reason) for r in result.rejections] == [
        ("a", "dataset", reason)
    ]
    assert len(result.groups[0].members) == 2


def test_single_calls_are_left_out_and_counted_while_the_others_stay() -> None:
    result = grouped(scored("a", 0.1, call(), call("gpt")), scored("b", 0.4))

    assert result.calls_left_out == {"other_policy": 1}
    assert [len(member.calls) for member in result.groups[0].members] == [1, 1]


def test_a_held_out_window_takes_answers_of_any_policy_and_without_logprobs() -> None:
    groups = WindowGroups(WINDOW, RULES, None)
    groups.add(scored("a", 0.1, call("gpt", logprobs=None)))
    groups.add(scored("b", 0.9, call("babylon@0", logprobs=None)))

    assert len(groups.finish().groups[0].members) == 2
