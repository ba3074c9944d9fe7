"""Windows that count as one."""

from __future__ import annotations

import random

import pytest
from compared_windows import Crowd, hour
from msgspec.structs import replace

from babylon_tasks.comparison.blocks import block_for, trials
from babylon_tasks.comparison.contrast import Contrast, combine
from babylon_tasks.comparison.observed import ArmResult, ComparedWindow, Stratum
from babylon_tasks.comparison.parameters import ComparisonParameters
from babylon_tasks.comparison.rule import begin, compare, replay


def seen(number: int, serving: float, examinee: float, n: int) -> ComparedWindow:
    arms = Stratum(*(ArmResult(n, mean, 0.04) for mean in (serving, 0.5, examinee)))
    return ComparedWindow(window=hour(number), reward=(arms,))


def test_17_the_windows_of_a_block_count_as_one_window_of_their_mean() -> None:
    single, blocks = ComparisonParameters(), ComparisonParameters(block=4)
    one = compare(single, begin(single), seen(1, 0.45, 0.55, 80)).state.reward
    state = begin(blocks)
    for number, off in enumerate((-0.03, 0.01, 0.03, -0.01), start=1):
        # The spread of the first window is what a single window is measured with.
        state = compare(blocks, state, seen(number, 0.45 + off, 0.55 + off, 20)).state
        state = replace(state, reward=replace(state.reward, spread=begin(blocks).reward.spread))
        if number < 4:
            assert state.reward.harm.slow == begin(blocks).reward.harm.slow
            assert state.reward.harm.fast != begin(blocks).reward.harm.fast
    assert state.reward.harm.slow == pytest.approx(one.harm.slow, rel=1e-9)
    for name in ("margin", "gain", "worse"):
        wanted = getattr(one.trial, name)
        assert getattr(state.reward.trial, name) == pytest.approx(wanted, rel=1e-9)


def test_strata_and_windows_are_weighed_by_their_size_not_by_their_arms() -> None:
    """Where the better stratum has more of one arm, the pooled means would differ by nothing."""
    combined = combine([Contrast(0.1, 3.0), Contrast(-0.1, 1.0)])
    assert combined == Contrast(pytest.approx(0.05), 4.0)
    unlike = (
        Stratum(ArmResult(90, 0.8, 0.01), ArmResult(10, 0.8, 0.01), name="rich"),
        Stratum(ArmResult(10, 0.2, 0.01), ArmResult(90, 0.2, 0.01), name="poor"),
    )
    parameters = ComparisonParameters()
    found = compare(parameters, begin(parameters), ComparedWindow(window=hour(1), reward=unlike))
    assert found.evidence.reward.measured.serving == pytest.approx(0)


@pytest.mark.parametrize(
    ("agents", "correlation", "among"),
    [(500, 0.0, {1, 4}), (5000, 0.0, {1}), (5000, 0.5, {4, 12}), (5000, 0.9, {12})],
)
def test_the_block_follows_what_hours_did_to_frozen_arms(
    agents: int, correlation: float, among: set[int]
) -> None:
    parameters = ComparisonParameters(alpha=0.001)
    crowd = Crowd(random.Random(3), agents=agents, correlation=correlation)
    compared = list(replay(parameters, (crowd.window(0.0, 0.0) for _ in range(500))))
    differences = trials(compared)
    assert sum(map(len, differences)) == 500
    assert block_for(differences, 0.02) in among


def test_too_few_windows_choose_no_block() -> None:
    assert block_for([[0.1] * 40], 0.02) == 1


def test_few_agents_whose_hours_are_independent_are_compared_hour_by_hour() -> None:
    """Their noise is thirty times what hours do: by the mean alone half of them look alike."""
    chosen = []
    for seed in range(40):
        crowd = Crowd(random.Random(seed), agents=50, control=0.2, examinee=0.2)
        arms = [crowd.window(0.0, 0.0).reward[0] for _ in range(100)]
        differences = [one.examinee.mean - one.control.mean for one in arms if one.examinee]
        chosen.append(block_for([differences], 0.02))
    assert chosen.count(1) >= 36
