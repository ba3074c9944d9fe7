"""A window's state follows from what its rows had in them."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from evidence import shown
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.pipeline.window_summary import WindowSummary
from babylon_tasks.reasons import Reason
from babylon_tasks.settings import Settings


def settings(**values: Any) -> Settings:
    return Settings(
        DATABASE_URL="postgresql://nobody@127.0.0.1:1/none",
        WANDB_API_KEY=None,
        **values,
    )


def ends_as(
    *members: tuple[str, str, float],
    held_out: bool = False,
    waits_for: int = 0,
    used: int = 0,
    busy: float = 0.0,
    **values: Any,
) -> tuple[str, str | None]:
    summary = WindowSummary(used)
    for number, (agent, group, reward) in enumerate(members):
        summary.add(agent, group, reward, busy * number)
    result = summary.result(settings(**values), held_out=held_out, waits_for=waits_for)
    return str(result.state), result.reason


def test_two_agents_with_different_rewards_make_a_window() -> None:
    assert ends_as(("a", "", 0.2), ("b", "", 0.4)) == ("scored", None)


def test_nothing_usable() -> None:
    assert ends_as() == ("skipped", "nothing_usable")
    assert ends_as(held_out=True) == ("skipped", "nothing_usable")


def test_one_agent_alone_is_too_few() -> None:
    assert ends_as(("a", "", 0.2), ("a", "", 0.4)) == ("skipped", "too_few_agents")
    assert ends_as(("a", "", 0.2), ("b", "", 0.4), min_agents=3) == ("skipped", "too_few_agents")


def test_equal_rewards_within_every_group_teach_nothing() -> None:
    equal = [("a", "x", 0.2), ("b", "x", 0.2), ("a", "y", 0.9), ("b", "y", 0.9)]
    assert ends_as(*equal) == ("skipped", "no_spread")


def test_groups_that_differ_in_activity_only_say_so() -> None:
    assert ends_as(("a", "", 0.5), ("b", "", 0.5), busy=0.1) == ("skipped", "only_activity")


def test_nothing_is_given_up_while_outcomes_are_to_come() -> None:
    assert ends_as(("a", "", 0.2), ("b", "", 0.4), waits_for=1) == ("scored", None)
    assert ends_as(("a", "", 0.5), ("b", "", 0.5), waits_for=1) == ("scored", "no_spread")
    assert ends_as(("a", "", 0.5), waits_for=1, held_out=True) == ("held_out", "too_few_agents")
    assert ends_as(waits_for=2) == ("scored", "nothing_usable")
    assert ends_as(waits_for=2, held_out=True) == ("held_out", "nothing_usable")
    assert ends_as(waits_for=2, used=3) == ("scored", "nothing_usable")


def test_what_is_left_of_a_window_that_steps_have_used_is_no_reason_to_skip_it() -> None:
    assert ends_as(("a", "", 0.2), ("a", "", 0.4), used=14) == ("scored", None)
    assert ends_as(("a", "", 0.5), ("b", "", 0.5), used=14) == ("trained", "no_spread")
    assert ends_as(used=16) == ("trained", None)


def test_what_steps_have_used_is_in_the_figures_and_makes_nothing_of_the_rest() -> None:
    summary = WindowSummary(3)
    summary.add("a", "", 0.9, 0.0, used=True)
    summary.add("b", "", 0.5, 0.0)
    summary.reject(Reason.NO_EVIDENCE, used=True)
    summary.reject(Reason.BAD_SHAPE)

    result = summary.result(settings(), held_out=False, waits_for=0)

    assert (result.state, result.reason) == ("trained", "no_spread")
    assert (result.reward_mean, result.reward_std) == (pytest.approx(0.7), pytest.approx(0.2))
    # One of the used ones is gone: it has the reward that it was used with.
    assert (result.agents, result.scored, result.used) == (2, 3, 2)
    assert (result.trajectories, sum(result.rejected.values())) == (5, 2)


def test_one_group_with_spread_is_enough() -> None:
    mixed = [("a", "x", 0.2), ("b", "x", 0.2), ("a", "y", 0.8), ("b", "y", 0.9)]
    assert ends_as(*mixed) == ("scored", None)


def test_a_held_out_window_is_never_offered_for_training() -> None:
    assert ends_as(("a", "", 0.2), ("b", "", 0.4), held_out=True) == ("held_out", None)


@given(st.lists(st.floats(0, 1), min_size=1))
def test_mean_and_deviation_are_those_of_the_rewards(rewards: list[float]) -> None:
    summary = WindowSummary()
    for reward in rewards:
        summary.add("a", "", reward, 0.0)
    result = summary.result(settings(), held_out=False, waits_for=0)
    assert result.reward_mean == pytest.approx(statistics.fmean(rewards), abs=1e-9)
    assert result.reward_std == pytest.approx(statistics.pstdev(rewards), abs=1e-9)


def test_profit_and_the_share_of_right_bets_are_of_those_that_have_them_rewarded_or_not() -> None:
    summary = WindowSummary()
    for profit, right, wrong in ((10.0, 2, 1), (-4.0, 0, 0), (None, 0, 1)):
        summary.add_evidence(shown(profit=profit, right=right, wrong=wrong))
    summary.add("agent", "", 0.5, 0.0)

    result = summary.result(settings(), held_out=False, waits_for=0)

    assert (result.profit_mean, result.right_share) == (3.0, 0.5)
    assert (result.agents, result.scored, result.trajectories) == (1, 1, 1)
    nothing = WindowSummary().result(settings(), held_out=False, waits_for=0)
    assert (nothing.profit_mean, nothing.right_share, nothing.reward_mean) == (None, None, None)
