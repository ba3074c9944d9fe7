"""Whether what pays is long: rewards and lengths of a step's answers, inside the groups."""

from __future__ import annotations

import pytest
from recorded import call, group

from babylon_tasks.dataset.answer_lengths import answer_figures, supervised_figures
from babylon_tasks.records import Group, LlmCall
from babylon_tasks.step_metrics import (
    ANSWER_TOKENS,
    BETTER_ANSWER_TOKENS,
    LEARNING_RATE,
    LENGTH_CORRELATION,
    REWARD,
    REWARD_DEVIATION,
    WORSE_ANSWER_TOKENS,
)


def answer(tokens: int) -> LlmCall:
    return call("", token_ids=tuple(range(tokens)))


def groups_of(*groups: list[tuple[int, float]]) -> list[Group]:
    return [group([(answer(tokens), reward) for tokens, reward in one]) for one in groups]


def test_rewards_are_described_as_art_describes_them() -> None:
    found = answer_figures(groups_of([(1, 0.0), (1, 1.0)], [(1, 0.5), (1, 0.5)]))

    assert found[REWARD] == 0.5
    assert found[REWARD_DEVIATION] == 0.25  # 0.5 and 0


def test_long_answers_that_pay_correlate_with_reward_and_short_ones_against_it() -> None:
    pays = answer_figures(groups_of([(10, 0.0), (20, 0.5), (30, 1.0)]))
    costs = answer_figures(groups_of([(30, 0.0), (20, 0.5), (10, 1.0)]))

    assert pays[LENGTH_CORRELATION] == pytest.approx(1)
    assert costs[LENGTH_CORRELATION] == pytest.approx(-1)
    assert (pays[BETTER_ANSWER_TOKENS], pays[WORSE_ANSWER_TOKENS]) == (30, 10)
    assert (costs[BETTER_ANSWER_TOKENS], costs[WORSE_ANSWER_TOKENS]) == (10, 30)
    assert pays[ANSWER_TOKENS] == 20


def test_a_group_of_long_answers_that_earns_more_is_no_correlation() -> None:
    found = answer_figures(
        groups_of([(10, 0.1), (12, 0.2), (12, 0.1), (10, 0.2)], [(90, 0.9), (92, 1.0)] * 2)
    )
    within = answer_figures(groups_of([(10, 0.1), (12, 0.2), (12, 0.1), (10, 0.2)]))

    assert within[LENGTH_CORRELATION] == pytest.approx(0)
    assert found[LENGTH_CORRELATION] == pytest.approx(0.5)  # of the second group's own pairs


def test_all_answers_of_a_trajectory_count_and_the_servers_count_where_there_are_no_ids() -> None:
    counted = call("", token_ids=None, logprobs=None, completion_tokens=7)
    found = answer_figures([group([([answer(3), answer(4)], 1.0), (counted, 0.0)])])

    assert found[ANSWER_TOKENS] == 7


def test_what_is_not_known_or_cannot_be_computed_is_absent() -> None:
    unknown = call("", token_ids=None, logprobs=None, completion_tokens=None)
    found = answer_figures([group([(unknown, 1.0), (unknown, 0.0)])])
    equal = answer_figures(groups_of([(5, 0.0), (5, 1.0)]))

    assert set(found) == {REWARD, REWARD_DEVIATION}
    assert LENGTH_CORRELATION not in equal
    assert answer_figures([]) == {}


def test_a_supervised_step_has_lengths_and_its_rate_and_nothing_that_compares() -> None:
    unknown = call("", token_ids=None, logprobs=None, completion_tokens=None)
    groups = [*groups_of([(10, 1.0)], [(20, 0.9)]), group([(unknown, 1.0)])]

    assert supervised_figures(groups, 0.002) == {LEARNING_RATE: 0.002, ANSWER_TOKENS: 15}
    assert supervised_figures([], 0.002) == {LEARNING_RATE: 0.002}
